"""What the exit code of a command means; the README's table says the same."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.results import Report

__all__ = ["Exit", "of_report"]


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    MODEL_FAILED = 1
    BAD_CALL = 2
    GITHUB_REFUSED = 3
    BUG = 4
    INTERRUPTED = 130
    TERMINATED = 143


_FAILING = {
    "tolerance": frozenset({"failed", "error", "cancelled"}),
    "error": frozenset({"error", "cancelled"}),
    "never": frozenset[str](),
}


def of_report(report: Report, fail_on: str) -> Exit:
    """The exit code for a report.

    Args:
        fail_on: ``tolerance``: a model out of tolerance is enough; ``error``: only one without a result; or ``never``.
    """
    statuses = {report.status.value, *(model.status.value for model in report.models)}
    statuses.update(result.status.value for model in report.models for result in model.formats)
    return Exit.MODEL_FAILED if statuses & _FAILING[fail_on] else Exit.OK
