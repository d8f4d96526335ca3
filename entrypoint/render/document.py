"""A report as Markdown: the comment on a pull request, the job summary, the check, and ``export-report.md``.

The same facts every time, verdict first, then evidence; only the room differs. Everything that is not written in this
module goes through `entrypoint.render.escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from entrypoint.render import budget, facts, outputs, remarks, tables, units
from entrypoint.render.budget import Extent, Limit
from entrypoint.render.context import CommentContext
from entrypoint.render.escape import code, fence, html_code, html_prose, key, link, prose, shell
from entrypoint.render.facts import ICONS, Row
from entrypoint.render.tables import Column, Table
from exporter.results import ModelResult, OutputComparison, Report, Status

__all__ = ["check", "comment", "markdown", "marker", "summary"]

# More rows of what passed than this, and they wait behind a fold.
_OPEN_ROWS = 20
_NOTES = 20
_VERSIONS = 20
_LINES_OF_LOG = 20
_REASON = 240
_MESSAGE = 4_000

_Said = TypeVar("_Said")


def marker(key_: str) -> str:
    """The first line of a comment that belongs to `key_`.

    A comment is ours when it is by us and its body *starts* with this; further down the text may be foreign.
    """
    return f"<!-- export-action:report key={key(key_)} v=1 -->"


def comment(report: Report, context: CommentContext, limit: Limit = budget.COMMENT) -> str:
    """The comment on a pull request; starts with `marker` of the context's key."""
    first = marker(context.key) + "\n"
    page = _Page(report, context, _COMMENT)
    return budget.fit(lambda extent: first + page.draw(extent), page.loud, limit)


def summary(report: Report, context: CommentContext, limit: Limit = budget.SUMMARY) -> str:
    """The job summary."""
    page = _Page(report, context, _SUMMARY)
    return budget.fit(page.draw, page.loud, limit)


def check(report: Report, context: CommentContext, limit: Limit = budget.CHECK) -> str:
    """The text of a check run."""
    page = _Page(report, context, _SUMMARY)
    return budget.fit(page.draw, page.loud, limit)


def markdown(report: Report) -> str:
    """``export-report.md``: everything, laid out to be read as it is as well."""
    return _Page(report, None, _FILE).draw(Extent())


@dataclass(frozen=True)
class _Layout:
    """How a page is laid out: for readers of the page, whose columns are narrow, or for readers of the file.

    `line` separates the lines of a cell, `space` is a blank at which no line should be broken.
    """

    heading: str
    table: Table
    line: str
    space: str


_COMMENT = _Layout("###", tables.compact, "<br>", "\u00a0")
_SUMMARY = _Layout("##", tables.compact, "<br>", "\u00a0")
_FILE = _Layout("#", tables.aligned, " ", " ")


class _Page:
    """One report on its way to Markdown; `draw` gives as much of it as asked for."""

    def __init__(self, report: Report, context: CommentContext | None, layout: _Layout) -> None:
        self._report = report
        self._context = context or CommentContext(key="")
        self._placed = context is not None
        self._layout = layout
        self._verdict = facts.verdict(report)
        self._table = layout.table
        rows = facts.rows(report)
        self._failures = [row for row in rows if not row.quiet]
        self._passed = [row for row in rows if row.quiet]
        # Several renderings may be tried before one fits; their rows and details are the same.
        self._cells_of = _once(self._cells)
        self._details_of = _once(self._details)

    @property
    def loud(self) -> int:
        """How many rows there are that somebody should look at."""
        return len(self._failures)

    def draw(self, extent: Extent) -> str:
        """The Markdown, ending in a newline."""
        return "\n\n".join(block for block in self._blocks(extent) if block) + "\n"

    def _blocks(self, extent: Extent) -> Iterator[str]:
        yield f"{self._layout.heading} {self._verdict.icon} {self._verdict.text}"
        yield _bullets(self._notes())
        yield self._left_out(extent)
        failures = self._failures[: extent.failing_rows]
        passed = self._passed if extent.passing_rows else []
        unfolded = passed if len(passed) <= _OPEN_ROWS else []
        if failures or unfolded:
            yield self._rows([*failures, *unfolded])
        for row in failures[: extent.failing_details]:
            yield self._details_of(row)
        if passed and not unfolded:
            yield _fold(f"{ICONS[Status.PASSED]} passed: {units.count(len(passed), 'artifact')}", self._rows(passed))
        if passed and extent.passing_details:
            yield self._evidence(passed)
        if extent.passing_rows:
            yield self._unchanged()
        yield self._footer()

    def _notes(self) -> list[str]:
        notes = (*self._report.notes, *self._context.notes)
        return remarks.first(_NOTES, map(prose, notes))

    def _left_out(self, extent: Extent) -> str:
        """One sentence about what this rendering does not show; empty when it shows everything."""
        missing: list[str] = []
        if self._passed and not extent.passing_rows:
            missing.append(f"{units.count(len(self._passed), 'artifact')} that passed")
        elif self._passed and not extent.passing_details:
            missing.append("details of what passed")
        shown = self.loud if extent.failing_rows is None else min(extent.failing_rows, self.loud)
        if shown < self.loud:
            missing.append(f"{self.loud - shown:,} of {units.count(self.loud, 'row')} that did not pass")
        detailed = shown if extent.failing_details is None else min(extent.failing_details, shown)
        if detailed < shown:
            missing.append(f"details of {shown - detailed:,} of {shown:,} that did not pass")
        if not extent.passing_rows and self._report.unchanged:
            missing.append("what is unchanged")
        if not missing:
            return ""
        where = link("the artifacts of this run", self._context.artifacts_url or self._context.run_url)
        return f"Too long to show here: {'; '.join(missing)}. `export-report.md` in {where} has everything."

    # The table

    def _rows(self, rows: Sequence[Row]) -> str:
        columns = [
            Column("Verdict"),
            Column("Model"),
            Column("Format"),
            Column("Worst error", numeric=True),
            Column("Tolerance", numeric=True),
            Column("Size", numeric=True),
            Column("Time", numeric=True),
        ]
        baseline = self._context.baseline
        if baseline is not None:
            columns.insert(6, Column("Change", numeric=True))
        cells = [self._cells_of(row) for row in rows]
        return self._table(columns, cells)

    def _cells(self, row: Row) -> list[str]:
        size = row.result.bytes if row.result else 0
        cells = [
            self._status(row),
            self._model(row.model),
            prose(facts.format_label(row.result)) if row.result else units.NOTHING,
            self._worst(row.worst),
            outputs.tolerance(facts.tolerance(row)),
            self._unbroken(units.size(size)),
            self._unbroken(units.seconds(row.result.seconds if row.result else row.model.seconds)),
        ]
        baseline = self._context.baseline
        if baseline is not None:
            before = baseline.sizes.get((row.model.name, row.result.format)) if row.result else None
            cells.insert(6, self._unbroken(units.change(size, before)))
        return cells

    def _status(self, row: Row) -> str:
        words = self._unbroken(f"{_icon(row)} ") + facts.status_words(row)
        if row.problem is not None and row.problem.kind not in ("", row.status.value):
            words += f": {prose(row.problem.kind, 60)}"
        return words + (", **WRONG** at other sizes" if facts.wrong_sizes(row.result) else "")

    def _unbroken(self, text: str) -> str:
        return text.replace(" ", self._layout.space)

    def _named(self, name: str, model: str) -> str:
        # Only where the name says something that the model's own name doesn't.
        return code(model) if model.rsplit("/", 1)[-1] == name else f"{code(name)}{self._layout.line}{code(model)}"

    def _model(self, model: ModelResult) -> str:
        revision = facts.revision(model)
        named = self._named(model.name, model.model)
        return f"{named} {self._unbroken('@ ')}{code(revision, 40)}" if revision else named

    def _worst(self, comparison: OutputComparison | None) -> str:
        if comparison is None:
            return units.NOTHING
        error = "not comparable" if comparison.max_abs is None else units.error(comparison.max_abs)
        if times := facts.rounding(comparison):
            error += f" ({self._unbroken(times)})"
        return f"{code(comparison.output, 60)}{self._layout.line}{error}"

    # The evidence

    def _details(self, row: Row) -> str:
        if row.status is Status.CANCELLED:
            return ""
        reason = facts.reason(row)
        body = [block for block in self._detail_blocks(row) if block]
        if not reason and not body:
            return ""
        what = f" {html_prose(facts.format_label(row.result))}" if row.result else ""
        title = f"{_icon(row)} {row.status.value}: <b>{html_code(row.model.name)}{what}</b>"
        if reason:
            title += f": {html_prose(reason, _REASON)}"
        body.append("Reproduce it:\n\n" + fence(_commands(row), "sh", _MESSAGE))
        body.append("\\\n".join(line for line in (_checkpoint(row.model), self._versions()) if line))
        return _fold(title, "\n\n".join(block for block in body if block))

    def _detail_blocks(self, row: Row) -> Iterator[str]:
        problem = row.problem
        if problem is not None and len(problem.message) > _REASON:
            yield prose(problem.message, _MESSAGE)
        if problem is not None and problem.hint:
            yield f"**What to do:** {prose(problem.hint, _MESSAGE)}"
        yield outputs.of_row(row, self._table)
        yield _bullets(remarks.of_row(row))
        if problem is not None and problem.log:
            yield "Last lines of its log:\n\n" + fence(problem.log[-_LINES_OF_LOG:])

    def _evidence(self, rows: Sequence[Row]) -> str:
        body = [outputs.of_rows(rows, self._table), _bullets(remarks.of_rows(rows))]
        first = rows[0].model
        body.append("Reproduce one of them:\n\n" + fence([shell(*facts.command(first))], "sh", _MESSAGE))
        body.append(self._versions())
        return _fold("Details of what passed", "\n\n".join(block for block in body if block))

    def _unchanged(self) -> str:
        entries = self._report.unchanged
        if not entries:
            return ""
        cells = [
            [
                self._unbroken(f"{ICONS[entry.status]} {entry.status.value}"),
                self._named(entry.name, entry.model),
                code(entry.since) if entry.since else units.NOTHING,
            ]
            for entry in entries
        ]
        table = self._table([Column("Last verdict"), Column("Model"), Column("From")], cells)
        if not self._failures and not self._passed and len(entries) <= _OPEN_ROWS:
            return table
        return _fold(f"Unchanged: {units.count(len(entries), 'model')}", table)

    # The end

    def _versions(self) -> str:
        versions = [prose(f"{name} {version}", 60) for name, version in self._report.versions.items()]
        return f"Versions: {', '.join(versions[:_VERSIONS])}" if versions else ""

    def _footer(self) -> str:
        if not self._placed:
            return self._versions()
        context = self._context
        parts: list[str] = []
        commit = context.head_sha or self._report.commit
        if commit:
            parts.append(f"Commit {code(commit[:7] if commit.isalnum() else commit, 60)}")
        if context.run_url:
            parts.append(link(f"run {prose(context.run_label, 40)}".rstrip(), context.run_url))
        if context.artifacts_url:
            parts.append(link("artifacts", context.artifacts_url))
        if context.baseline is None:
            parts.append("no baseline to compare sizes with")
        else:
            parts.append(f"sizes compared with {link(code(context.baseline.label), context.baseline.url)}")
        if self._report.seconds:
            parts.append(f"took {units.seconds(self._report.seconds)}")
        return f"<sub>{' · '.join(parts)}</sub>"


def _once(say: Callable[[Row], _Said]) -> Callable[[Row], _Said]:
    """`say`, computed once for a row: for as long as the row lives, its identity is the key."""
    said: dict[int, _Said] = {}

    def remembered(row: Row) -> _Said:
        if id(row) not in said:
            said[id(row)] = say(row)
        return said[id(row)]

    return remembered


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _fold(title: str, body: str) -> str:
    """A folded block; `title` is HTML, `body` is Markdown."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _icon(row: Row) -> str:
    return ICONS[row.status] if row.quiet or row.status is not Status.PASSED else ICONS[Status.UNVERIFIED]


def _commands(row: Row) -> list[str]:
    replay = facts.replay(row.validation) if row.validation else ()
    return [shell(*words) for words in (facts.command(row.model), replay) if words]


def _checkpoint(model: ModelResult) -> str:
    said = f"Checkpoint: {code(model.model)}"
    if model.commit:
        said += f" at {code(model.commit, 60)}"
    if model.revision and model.revision != model.commit:
        said += f", which was {code(model.revision, 60)}"
    return said + (f", as {prose(model.task, 60)}" if model.task else "")
