"""What the exit code of a command means; the README's table says the same."""

from __future__ import annotations

from enum import IntEnum

from exporter.results import Report, Status

__all__ = ["Exit", "FailOn", "of_report"]


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    MODEL_FAILED = 1
    BAD_CALL = 2
    GITHUB_REFUSED = 3
    BUG = 4
    INTERRUPTED = 130
    TERMINATED = 143


FailOn = str
"""``tolerance``: any model that isn't proven right fails the run; ``error``: only one without a result; ``never``."""

_FAILING: dict[FailOn, frozenset[Status]] = {
    "tolerance": frozenset({Status.FAILED, Status.ERROR, Status.CANCELLED}),
    "error": frozenset({Status.ERROR, Status.CANCELLED}),
    "never": frozenset(),
}


def of_report(report: Report, fail_on: FailOn) -> Exit:
    """The exit code for a report under ``--fail-on``; the report's own status stays what it is."""
    failing = _FAILING[fail_on]
    statuses = {model.status for model in report.models} | {
        result.status for model in report.models for result in model.formats
    }
    return Exit.MODEL_FAILED if statuses & failing else Exit.OK
