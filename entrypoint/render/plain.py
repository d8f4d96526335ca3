"""A run as plain lines for a CI log: what happens while it happens, each model's log in a folded group, a last table.

Every line is safe to print: nothing in it is a command except the groups made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TextIO

from entrypoint.render import facts, units
from entrypoint.render.columns import COLUMNS, cells, what
from entrypoint.render.escape import log_line, visible
from entrypoint.render.facts import Row
from entrypoint.workflow import END_GROUP, group
from exporter.pipeline.events import Event, ModelFinished, StepFinished, StepStarted
from exporter.results import ModelResult, Report, Status

__all__ = ["Progress", "lines", "model_lines"]


def lines(report: Report) -> list[str]:
    """The end of a run: a row per model and format, then the verdict, which is where people look."""
    titles = [title.upper() for title, _ in COLUMNS]
    return [
        *_columns([titles, *map(cells, facts.rows(report))]),
        "",
        *(log_line(note) for note in report.notes),
        log_line(facts.verdict(report).text),
    ]


def model_lines(result: ModelResult) -> list[str]:
    """What there is to read about one model: its log in a group, then why it did not pass, outside the fold."""
    rows = facts.rows(Report(status=result.status, models=(result,)))
    title = f"{visible(result.name)}: {result.status.value}"
    title += f" in {units.seconds(result.seconds)}" if result.seconds else ""
    log = [line for row in rows for line in _log(row)]
    reasons = [_reason(row) for row in rows if not row.quiet]
    if not log:
        return [log_line(title), *reasons]
    return [group(title), *(log_line(line) for line in log), END_GROUP, *reasons]


class Progress:
    """Writes the events of a run to a log, each call as whole lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Write what `event` says."""
        print(*_event_lines(event), sep="\n", file=self._stream, flush=True)


def _event_lines(event: Event) -> list[str]:
    if isinstance(event, ModelFinished):
        return model_lines(event.result)
    said = f"{visible(event.model)}: {visible(event.step)}"
    if isinstance(event, StepStarted):
        return [log_line(f"{said} ({visible(event.detail)})" if event.detail else said)]
    return [log_line(_finished(said, event))]


def _finished(said: str, event: StepFinished) -> str:
    said += f": {event.status.value} in {event.seconds:,.1f} s"
    return f"{said}: {visible(event.message)}" if event.message else said


def _log(row: Row) -> Iterator[str]:
    if row.result is not None:
        for attempt in row.result.attempts:
            said = f"{attempt.engine}: {attempt.status.value} in {units.seconds(attempt.seconds)}"
            yield f"{said}: {attempt.message}" if attempt.message else said
    if row.validation is not None:
        yield from row.validation.log
    if row.problem is not None:
        yield from row.problem.log
    yield from row.result.notes if row.result else row.model.notes


def _reason(row: Row) -> str:
    status = row.status.value if row.status is not Status.PASSED else "WARNING"
    said = f"{what(row)}: {status}: {visible(facts.reason(row))}".removesuffix(": ")
    hint = visible(row.problem.hint) if row.problem else ""
    return log_line(f"{said} {hint}".rstrip())


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = [
        [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, (_, numeric) in zip(row, widths, COLUMNS, strict=True)
        ]
        for row in table
    ]
    return [log_line("  ".join(cells).rstrip()) for cells in padded]
