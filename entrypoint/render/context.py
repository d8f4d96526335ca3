"""What a rendering needs besides the report: where it is shown, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.results import Report

__all__ = ["Baseline", "CommentContext"]


@dataclass(frozen=True)
class Baseline:
    """Sizes to compare with.

    Attributes:
        label: What it is, for people: ``main@def5678``, ``release v1.2.0``.
        sizes: Bytes of an artifact by name of the model and format.
        url: Page of the run or release; empty where there is none.
    """

    label: str
    sizes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    url: str = ""

    @classmethod
    def of(cls, report: Report, label: str, url: str = "") -> Baseline:
        """The sizes that `report` holds."""
        sizes = {(model.name, result.format): result.bytes for model in report.models for result in model.formats}
        return cls(label, sizes, url)


@dataclass(frozen=True)
class CommentContext:
    """Where a comment or summary stands. What is empty is left out.

    Attributes:
        key: Tells this use of the action from others on the same pull request.
        head_sha: Commit the report is about.
        run_url: Page of the workflow run; `run_label` is its name (``#42``).
        artifacts_url: Page with the artifacts to download.
        baseline: What sizes are compared with; None: there is none.
        notes: What else the reader must know, such as ``not published: ...``; one sentence each.
    """

    key: str
    head_sha: str = ""
    run_url: str = ""
    run_label: str = ""
    artifacts_url: str = ""
    baseline: Baseline | None = None
    notes: tuple[str, ...] = ()
