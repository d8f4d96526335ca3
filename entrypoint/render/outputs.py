"""The evidence as tables: a line for each output that was compared."""

from __future__ import annotations

from collections.abc import Sequence

from entrypoint.render import facts, units
from entrypoint.render.escape import code, prose
from entrypoint.render.facts import ICONS, OutputSummary, Row
from entrypoint.render.tables import Column, Table
from exporter.results import OutputComparison, Tolerance

__all__ = ["of_row", "of_rows", "tolerance"]

_COMPARED = (
    Column("Output"),
    Column("Shape"),
    Column("Max abs", numeric=True),
    Column("Max rel", numeric=True),
    Column("Tolerance", numeric=True),
)
_OF_ROW = (Column("Verdict"), *_COMPARED, Column("Worst at"), Column("Cases failed", numeric=True))
_OF_ROWS = (Column("Model"), Column("Format"), *_COMPARED, Column("Cases", numeric=True))


def of_row(row: Row, table: Table) -> str:
    """Every output of one artifact, with the place where it is worst; empty when nothing was compared."""
    cells = [
        [
            f"{ICONS[summary.worst.status]} {summary.worst.status.value}",
            *_compared(summary.worst),
            _worst_at(summary),
            f"{summary.failed} of {summary.cases}",
        ]
        for summary in _summaries(row)
    ]
    return table(_OF_ROW, cells) if cells else ""


def of_rows(rows: Sequence[Row], table: Table) -> str:
    """Every output of several artifacts; empty when nothing was compared."""
    cells = [
        [code(row.model.name), _format(row), *_compared(summary.worst), str(summary.cases)]
        for row in rows
        for summary in _summaries(row)
    ]
    return table(_OF_ROWS, cells) if cells else ""


def tolerance(applied: Tolerance | None) -> str:
    """A tolerance and where it came from, as a cell."""
    if applied is None:
        return units.NOTHING
    return f"{units.error(applied.atol)} {facts.tolerance_source(applied)}"


def _compared(worst: OutputComparison) -> list[str]:
    return [
        code(worst.output),
        _shape(worst),
        units.error(worst.max_abs),
        units.error(worst.max_rel),
        tolerance(worst.tolerance),
    ]


def _format(row: Row) -> str:
    return prose(facts.format_label(row.result)) if row.result else units.NOTHING


def _summaries(row: Row) -> tuple[OutputSummary, ...]:
    return facts.output_summaries(row.validation) if row.validation else ()


def _shape(comparison: OutputComparison) -> str:
    shape = f"{units.shape(comparison.shape)} {prose(comparison.dtype, 40)}"
    if comparison.shape == comparison.reference_shape and comparison.dtype == comparison.reference_dtype:
        return shape
    expected = f"{units.shape(comparison.reference_shape)} {prose(comparison.reference_dtype, 40)}"
    return f"{shape}, expected {expected}"


def _worst_at(summary: OutputSummary) -> str:
    worst = summary.worst
    said = code(summary.case.case, 60)
    if worst.worst_index:
        said += f" [{', '.join(map(str, worst.worst_index))}]"
    if worst.expected is not None and worst.actual is not None:
        said += f": expected {worst.expected:.6g}, got {worst.actual:.6g}"
    return said
