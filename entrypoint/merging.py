"""The commands about reports that exist already: `report`, `publish` and `verify`, outside of a workflow's step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from entrypoint import assets, conversion, publishing, render
from entrypoint.exits import Exit, of_report
from entrypoint.render.escape import visible
from entrypoint.reports import Merged, find_reports, merge
from exporter.pipeline.files import make_folder
from exporter.results import ExportError

__all__ = ["merge_reports", "publish_reports", "verify_reports"]


def merge_reports(paths: Sequence[Path], output: Path, fail_on: str) -> Exit:
    """Write one report of all that are in `paths` to the folder `output`, and show it.

    Raises:
        ExportError: There is none.
    """
    merged = _merged(paths)
    make_folder(output)
    conversion.save(merged.report, output)
    conversion.show_result(merged.report)
    return of_report(merged.report, fail_on)


def publish_reports(paths: Sequence[Path], repository: str, tag: str) -> Exit:
    """Publish every artifact that passed in the reports of `paths`.

    Raises:
        ExportError: There is no report, no token, or a file is not what was judged.
    """
    from entrypoint.github.client import connect
    from entrypoint.github.errors import ApiError, CannotPublish

    merged = _merged(paths)
    if of_report(merged.report, "tolerance") is not Exit.OK:
        raise ExportError(
            "not-passed",
            "Not everything in these reports passed, and only what passed is published.",
            "Leave the models that failed out of the manifest, or repair them, and run again.",
        )
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or ""
    edition = publishing.Edition(tag, merged.report, merged.models, render.markdown(merged.report), "")
    with connect(token, repository, os.environ.get("GITHUB_API_URL") or "https://api.github.com") as client:
        try:
            published = publishing.publish_edition(client, edition, Path.cwd())
        except (ApiError, CannotPublish) as error:
            click.echo(visible(f"{error.problem.message} {error.problem.hint}"), err=True)
            return Exit.GITHUB_REFUSED
    for asset in published.assets:
        click.echo(f"{asset.action:<9} {asset.name}")
    click.echo(published.url)
    return Exit.OK


def verify_reports(paths: Sequence[Path]) -> Exit:
    """Hold every file that the reports in `paths` name against its hash, and say which differ.

    Raises:
        ExportError: There is no report.
    """
    found, problems = find_reports(paths)
    count, differences = assets.compare(merge(found).models)
    for said in (*problems, *(f"{difference.path} {difference.message}" for difference in differences)):
        click.echo(visible(said), err=True)
    if differences or problems:
        click.echo(f"{len(differences):,} of {count:,} files are not what was judged.")
        return Exit.MODEL_FAILED
    click.echo(f"All {count:,} files are what was judged." if count else "The reports name no files.")
    return Exit.OK


def _merged(paths: Sequence[Path]) -> Merged:
    found, problems = find_reports(paths)
    return merge(found, problems)
