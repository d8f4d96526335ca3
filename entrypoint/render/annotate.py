"""A report as annotations on the lines of the manifest, few enough for the runner to keep them all."""

from collections.abc import Sequence
from typing import Literal

from entrypoint.render import facts, units
from entrypoint.render.escape import shorten, visible
from entrypoint.render.facts import Row
from entrypoint.workflow import Annotation
from exporter.results import Report, Status

__all__ = ["PER_LEVEL", "annotations"]

# The runner keeps ten of each level from a step and 4,096 characters of a message; more vanish without a word. Four are
# for what the step has to say for itself: a comment, a release or an output that GitHub refused, a token left behind.
PER_LEVEL = 6
_MESSAGE = 4_000
_REASON = 700
_TITLE = 200

_Level = Literal["error", "warning"]


def annotations(report: Report) -> list[Annotation]:
    """One annotation for each model that needs attention, worst first, at most `PER_LEVEL` errors and warnings."""
    by_model: dict[str, list[Row]] = {}
    for row in facts.rows(report):
        if not row.quiet and row.status is not Status.CANCELLED:  # an interrupted run is not the manifest's fault
            by_model.setdefault(row.model.name, []).append(row)
    errors = [rows for rows in by_model.values() if rows[0].status in (Status.FAILED, Status.ERROR)]
    warnings = [rows for rows in by_model.values() if rows[0].status not in (Status.FAILED, Status.ERROR)]
    return [*_annotations("error", errors), *_annotations("warning", warnings)]


def _annotations(level: _Level, models: Sequence[Sequence[Row]]) -> list[Annotation]:
    if len(models) <= PER_LEVEL:
        return [_annotation(level, rows) for rows in models]
    shown = [_annotation(level, rows) for rows in models[: PER_LEVEL - 1]]
    rest = len(models) - len(shown)
    return [*shown, Annotation(level, "Model export", f"and {units.count(rest, 'more model')}; see the job summary")]


def _annotation(level: _Level, rows: Sequence[Row]) -> Annotation:
    model = rows[0].model
    lines = [_line(row) for row in rows]
    hint = next((row.problem.hint for row in rows if row.problem and row.problem.hint), "")
    lines += [visible(hint)] if hint else []
    source = model.source
    return Annotation(
        level,
        title=shorten(f"{visible(model.name)}: {_word(rows[0])}", _TITLE),
        message=shorten("\n".join(shorten(line, _REASON) for line in lines), _MESSAGE),
        file=visible(source.path) if source else "",
        line=source.line if source else 0,
        column=source.column if source else 0,
    )


def _word(row: Row) -> str:
    return "WRONG at other sizes" if row.status is Status.PASSED else facts.status_words(row)


def _line(row: Row) -> str:
    said = visible(facts.reason(row)) or row.status.value
    return f"{visible(facts.format_label(row.result))}: {said}" if row.result else said
