"""What else there is to know about a row, besides its numbers: a sentence each, as inline Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from entrypoint.render import facts, units
from entrypoint.render.escape import code, prose
from entrypoint.render.facts import Row
from exporter.results import FormatResult, Status, Tolerance, Validation

__all__ = ["first", "of_row", "of_rows"]

_REMARKS = 20


def first(number: int, items: Iterable[str]) -> list[str]:
    """The first so many, and a word when there are more; those are not even made."""
    found = list(islice(items, number + 1))
    return [*found[:number], "and more"] if len(found) > number else found


def of_row(row: Row) -> list[str]:
    """Remarks on one row and its model."""
    return first(_REMARKS, chain(_remarks(row), map(prose, row.model.notes)))


def of_rows(rows: Sequence[Row]) -> Iterator[str]:
    """Remarks on several rows, and what belongs to a model once for all its formats."""
    for row in rows:
        what = f"{code(row.model.name)} {prose(facts.format_label(row.result))}" if row.result else code(row.model.name)
        yield from (f"{what}: {remark}" for remark in first(_REMARKS, _remarks(row)))
    for model in {row.model.name: row.model for row in rows}.values():
        yield from (f"{code(model.name)}: {note}" for note in first(_REMARKS, map(prose, model.notes)))


def _remarks(row: Row) -> Iterator[str]:
    if row.validation is not None:
        yield from _validation_remarks(row.validation)
    if row.result is not None:
        yield from _attempt_remarks(row.result)
        yield from map(prose, row.result.notes)


def _validation_remarks(validation: Validation) -> Iterator[str]:
    for check in validation.checks:
        if check.status is not Status.PASSED or check.name == facts.OTHER_SIZES:
            word = "" if check.status is Status.PASSED else f"{check.status.value}: "
            said = word + prose(check.name, 120)
            yield f"{said}: {prose(check.message)}" if check.message else said
    for case in validation.cases:
        if case.message:
            yield f"case {code(case.case, 60)}: {prose(case.message)}"
    for summary in facts.output_summaries(validation):
        if summary.worst.message:
            yield f"{code(summary.worst.output)}: {prose(summary.worst.message)}"
    if validation.diverges_at:
        yield f"first difference at {code(validation.diverges_at)}"
    # The usual ones are in the table; here are those that a person chose, and those that decided against the artifact.
    tolerance = validation.tolerance
    if tolerance is not None and (tolerance.reason or validation.status is not Status.PASSED):
        yield _tolerance_remark(tolerance)
    yield from map(prose, facts.notes(validation))
    if validation.left_out:
        yield f"not compared: {', '.join(code(name, 60) for name in validation.left_out)}"


def _tolerance_remark(tolerance: Tolerance) -> str:
    said = f"tolerance: atol {units.error(tolerance.atol)}, rtol {units.error(tolerance.rtol)}"
    said += f", {facts.tolerance_source(tolerance)}"
    if tolerance.floor is not None and tolerance.factor is not None:
        said += f": {tolerance.factor:g} times a noise floor of {units.error(tolerance.floor)}"
    return f"{said}: {prose(tolerance.reason)}" if tolerance.reason else said


def _attempt_remarks(result: FormatResult) -> Iterator[str]:
    if len(result.attempts) < 2:
        return
    for attempt in result.attempts:
        said = f"engine {prose(attempt.engine, 40)}: {attempt.status.value} after {units.seconds(attempt.seconds)}"
        yield f"{said}: {prose(attempt.message)}" if attempt.message else said
