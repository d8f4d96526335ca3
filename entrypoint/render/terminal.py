"""A run in a terminal: what every model is doing right now, and at the end a table of verdicts.

The only module that imports rich. Text goes in as `Text`, never as markup, so that brackets of others stay brackets.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from entrypoint.render import facts, units
from entrypoint.render.columns import COLUMNS, cells, name, what
from entrypoint.render.escape import shell, visible
from entrypoint.render.facts import Row
from exporter.pipeline.events import Event, ModelFinished, StepFinished, StepStarted
from exporter.results import ModelResult, Report, Status

__all__ = ["Progress", "closing", "table"]

_STYLES = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.ERROR: "bold red",
    Status.UNVERIFIED: "yellow",
    Status.CANCELLED: "yellow",
}
_LINES_OF_LOG = 20


def table(report: Report) -> Table:
    """A row per model and format, failures first."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for title, numeric in COLUMNS:
        drawn.add_column(title, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in facts.rows(report):
        verdict, *rest = cells(row)
        drawn.add_row(Text(verdict, style=_style(row)), *map(Text, rest))
    return drawn


def closing(report: Report) -> RenderableType:
    """What stays on the screen when a run has ended: the table, the reasons, and the verdict as the last line."""
    verdict = facts.verdict(report)
    parts: list[RenderableType] = [Text(), table(report)] if report.models else []
    parts += [_reason(row) for row in facts.rows(report) if not row.quiet]
    parts += [Text(visible(note)) for note in report.notes]
    return Group(*parts, Text(), Text(verdict.text, style=_STYLES[verdict.status]))


def _style(row: Row) -> str:
    return _STYLES[row.status] if row.quiet or row.status is not Status.PASSED else _STYLES[Status.UNVERIFIED]


def _reason(row: Row) -> RenderableType:
    said = Text(f"\n{what(row)}: ", style="bold")
    said.append(facts.status_words(row), style=_style(row))
    reason, hint = visible(facts.reason(row)), visible(row.problem.hint) if row.problem else ""
    lines = [Text(part) for part in (reason, hint) if part]
    lines += [Text(visible(line), style="dim") for line in (row.problem.log[-_LINES_OF_LOG:] if row.problem else ())]
    if row.status is not Status.CANCELLED:
        lines.append(Text(visible(shell(*facts.command(row.model))), style="dim"))
    return Group(said, Padding(Group(*lines), (0, 0, 0, 2)))


class Progress:
    """Draws the events of a run: one line for each model at work, a line that stays for each that is done."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        """`total` is the number of models; the console defaults to stderr, which leaves stdout to results."""
        self._console = console or Console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[step]}", markup=False, style="dim"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._working: dict[str, TaskID] = {}
        self._done = 0
        self._total = total
        self._overall = self._bars.add_task("", total=total, step="")
        self._count()

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show what `event` says."""
        if isinstance(event, StepStarted):
            self._step(event)
        elif isinstance(event, ModelFinished):
            self._finish(event.result)
        elif event.status not in (Status.PASSED, Status.CANCELLED):
            self._console.print(_failed_step(event))

    def _step(self, event: StepStarted) -> None:
        step = visible(event.step) + (f" ({visible(event.detail)})" if event.detail else "")
        task = self._working.get(event.model)
        if task is None:
            self._working[event.model] = self._bars.add_task(name(event.model), total=None, step=step)
        else:
            self._bars.update(task, step=step)

    def _count(self) -> None:
        self._bars.update(self._overall, description=f"{self._done:,} of {units.count(self._total, 'model')}")

    def _finish(self, result: ModelResult) -> None:
        task = self._working.pop(result.name, None)
        if task is not None:
            self._bars.remove_task(task)
        self._done += 1
        self._count()
        line = Text(f"{result.status.value:<10} ", style=_STYLES[result.status])
        line.append(name(result.name), style="bold")
        line.append(f"  {units.seconds(result.seconds)}" if result.seconds else "", style="dim")
        self._console.print(line)


def _failed_step(event: StepFinished) -> Text:
    said = Text(f"{event.status.value:<10} ", style=_STYLES[event.status])
    said.append(f"{name(event.model)}: {visible(event.step)}")
    return said.append(f": {visible(event.message)}" if event.message else "", style="dim")
