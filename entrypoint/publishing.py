"""The assets of a release: a zip file for each artifact that passed, and the report."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint import assets
from entrypoint.reports import Placed
from exporter.pipeline.workspace import REPORT_FILE
from exporter.results import Report

if TYPE_CHECKING:
    from entrypoint.github.client import Client
    from entrypoint.github.releases import Published, ReleaseNotes

__all__ = ["Edition", "publish_edition"]

# v1.2.0-rc.1 is a prerelease by the rules of https://semver.org.
_PRERELEASE = re.compile(r"v?\d+(\.\d+)*-.+")


@dataclass(frozen=True)
class Edition:
    """What goes into a release.

    Attributes:
        notes: Markdown for a release that has to be made.
        commit: Where the tag goes, should it not exist.
    """

    tag: str
    report: Report
    models: Sequence[Placed]
    notes: str
    commit: str

    def release_notes(self) -> ReleaseNotes:
        """Title and text for a release that has to be made."""
        from entrypoint.github.releases import ReleaseNotes

        return ReleaseNotes(self.tag, self.notes, bool(_PRERELEASE.fullmatch(self.tag)), self.commit)


def publish_edition(client: Client, edition: Edition, output: Path) -> Published:
    """Bring an edition into the release of its tag; packed in a temporary folder of `output`, for its disk.

    Raises:
        CannotPublish: With the reason, and what to change.
        ExportError: A file is not what was judged.
    """
    from entrypoint.github.releases import AssetFile, asset_name, publish_assets

    with tempfile.TemporaryDirectory(prefix=".publish-", dir=output) as scratch:
        packed = assets.pack(edition.models, Path(scratch))
        report = Path(scratch) / REPORT_FILE
        report.write_text(edition.report.to_json(), encoding="utf-8")
        files = [AssetFile(each.path, asset_name(each.title)) for each in packed]
        files.append(AssetFile(report, REPORT_FILE))
        return publish_assets(client, edition.tag, files, edition.release_notes())
