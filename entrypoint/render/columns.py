"""The table of verdicts without markup, for a terminal and for a log: titles, and a row's cells made visible."""

from __future__ import annotations

from entrypoint.render import facts, units
from entrypoint.render.escape import shorten, visible
from entrypoint.render.facts import Row
from exporter.results import OutputComparison

__all__ = ["COLUMNS", "cells", "name", "what"]

# Title, and whether the column holds numbers, which stand at the right.
COLUMNS = (
    ("Verdict", False),
    ("Model", False),
    ("Format", False),
    ("Worst error", True),
    ("Tolerance", True),
    ("Size", True),
    ("Time", True),
)
_NAME = 60


def name(text: str) -> str:
    """A name on one line and not wider than a column may be."""
    return shorten(visible(text), _NAME)


def what(row: Row) -> str:
    """The model and format that a row is about."""
    return name(row.model.name) + (f", {name(facts.format_label(row.result))}" if row.result else "")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, in the order of `COLUMNS`."""
    tolerance = facts.tolerance(row)
    return (
        facts.status_words(row) + (", WRONG at other sizes" if facts.wrong_sizes(row.result) else ""),
        name(row.model.name),
        name(facts.format_label(row.result)) if row.result else units.NOTHING,
        _worst(row.worst),
        f"{units.error(tolerance.atol)} {facts.tolerance_source(tolerance)}" if tolerance else units.NOTHING,
        units.size(row.result.bytes if row.result else 0),
        units.seconds(row.result.seconds if row.result else row.model.seconds),
    )


def _worst(worst: OutputComparison | None) -> str:
    if worst is None:
        return units.NOTHING
    if worst.max_abs is None:
        return f"{name(worst.output)} not comparable"
    said = f"{name(worst.output)} {units.error(worst.max_abs)}"
    times = facts.rounding(worst)
    return f"{said} ({times})" if times else said
