"""What there is to say about a report, before anybody says it: rows in order, reasons, the verdict in words.

Strings made here may hold foreign text, with names in single quotes. Whoever shows them escapes them.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from entrypoint.render import units
from exporter.results import (
    CaseResult,
    FormatResult,
    ModelResult,
    OutputComparison,
    Problem,
    Report,
    Status,
    Tolerance,
    Unchanged,
    Validation,
    combine,
)

__all__ = [
    "ICONS",
    "OTHER_SIZES",
    "OutputSummary",
    "Row",
    "Verdict",
    "command",
    "format_label",
    "notes",
    "output_summaries",
    "reason",
    "replay",
    "revision",
    "rounding",
    "rows",
    "status_words",
    "tolerance",
    "tolerance_source",
    "verdict",
    "wrong_sizes",
]

# Every icon stands next to a word that says the same.
ICONS = {
    Status.PASSED: "✅",
    Status.FAILED: "❌",
    Status.ERROR: "🛑",
    Status.UNVERIFIED: "⚠️",
    Status.CANCELLED: "⏹️",
}
_WARNING = "⚠️"

# What a reader should see first. A wrong number is worse news than no file.
_ORDER = (Status.FAILED, Status.ERROR, Status.UNVERIFIED, Status.CANCELLED, Status.PASSED)

_WRONG = re.compile(r"\bWRONG\b")
# The check that tries a TorchScript file at sizes it doesn't promise.
OTHER_SIZES = "other sizes"

_FORMATS = {"onnx": "ONNX", "torchscript": "TorchScript", "neuron": "Neuron"}
_SOURCES = {"command-line": "command line"}


@dataclass(frozen=True)
class Row:
    """One line of the table: a model in a format, or a model that never came to a format (`result` is None)."""

    model: ModelResult
    result: FormatResult | None

    @property
    def status(self) -> Status:
        """How this format, or else the model, ended."""
        return self.result.status if self.result else self.model.status

    @property
    def problem(self) -> Problem | None:
        """What went wrong, when that is not about numbers."""
        return self.result.problem if self.result else self.model.problem

    @property
    def validation(self) -> Validation | None:
        """The evidence, when there is any."""
        return self.result.validation if self.result else None

    @property
    def worst(self) -> OutputComparison | None:
        """The comparison to show."""
        return self.validation.worst if self.validation else None

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to look at: it passed, at every size."""
        return self.status is Status.PASSED and not wrong_sizes(self.result)


def rows(report: Report) -> tuple[Row, ...]:
    """Rows of a report, failures first, otherwise in the order of the manifest."""
    found: list[Row] = []
    for model in report.models:
        found += [Row(model, result) for result in model.formats]
        # The model's own problem needs a row of its own unless one of its formats ended the same way.
        if not model.formats or (model.problem and model.status not in {result.status for result in model.formats}):
            found.append(Row(model, None))
    return tuple(sorted(found, key=lambda row: (_ORDER.index(row.status), row.quiet)))


def wrong_sizes(result: FormatResult | None) -> tuple[str, ...]:
    """What the validation says about sizes at which the artifact computes something else without complaint.

    TorchScript promises the traced sizes only, so that this fails nothing; silence would be worse than a failure.
    """
    if result is None or result.validation is None:
        return ()
    checks = [f"{check.name}: {check.message}" for check in result.validation.checks if check.name == OTHER_SIZES]
    said = [text for text in checks if _WRONG.search(text)]
    return tuple(said or [note for note in result.validation.notes if _WRONG.search(note)])


def status_words(row: Row) -> str:
    """The status of a row in words: ``passed, cached``."""
    flags = [row.status.value]
    if row.result and row.result.cached:
        flags.append("cached")
    if row.result and row.result.ambiguous:
        flags.append("ambiguous")
    return ", ".join(flags)


def format_label(result: FormatResult) -> str:
    """``ONNX 18, dynamo``; the dtype only where it is not the usual one."""
    name = _FORMATS.get(result.format, result.format)
    words = [f"{name} {result.opset}" if result.opset is not None else name]
    words += [word for word in (result.engine, result.dtype if result.dtype != "float32" else "") if word]
    return ", ".join(words)


def revision(model: ModelResult) -> str:
    """The commit in seven digits, else the revision as written; empty for a folder."""
    if re.fullmatch(r"[0-9a-f]{40}", model.commit):
        return model.commit[:7]
    return model.commit or model.revision


def tolerance(row: Row) -> Tolerance | None:
    """What the worst comparison of a row was held against."""
    if row.validation is None:
        return None
    return (row.worst.tolerance if row.worst else None) or row.validation.tolerance


def tolerance_source(applied: Tolerance) -> str:
    """Where a tolerance came from, as a word."""
    return _SOURCES.get(applied.source, applied.source)


def command(model: ModelResult) -> tuple[str, ...]:
    """The one command that repeats this entry on another machine."""
    path = model.source.path if model.source else "export.yml"
    path = f"./{path}" if path.startswith("-") else path
    only = (f"--only={model.name}",) if model.name.startswith("-") else ("--only", model.name)
    return ("export-action", "run", path, *only)


def replay(validation: Validation) -> tuple[str, ...]:
    """The command that repeats the worst case, in words; empty when there is none, or it is no command of ours.

    A report may come from somebody else's machine, and people paste what they read.
    """
    try:
        words = shlex.split(validation.replay)
    except ValueError:
        return ()
    return tuple(words) if words and words[0] == "export-action" else ()


def rounding(comparison: OutputComparison) -> str:
    """The error in units of the noise floor; empty where there is no floor or no error."""
    return units.rounding(comparison.rounding) if comparison.rounding is not None and comparison.max_abs else ""


def notes(validation: Validation) -> tuple[str, ...]:
    """Notes without those that only repeat what the check of other sizes says in more detail."""
    told = any(check.name == OTHER_SIZES for check in validation.checks)
    return tuple(note for note in validation.notes if not (told and _WRONG.search(note)))


def _difference(comparison: OutputComparison) -> str:
    name = f"'{comparison.output}'"
    if comparison.shape != comparison.reference_shape:
        return f"{name} has shape {units.shape(comparison.shape)}, expected {units.shape(comparison.reference_shape)}"
    if comparison.dtype != comparison.reference_dtype:
        return f"{name} is {comparison.dtype}, expected {comparison.reference_dtype}"
    if comparison.max_abs is None or math.isnan(comparison.max_abs):
        return f"{name}: {comparison.message or 'not a number where the original is one'}"
    said = f"{name} differs by {units.error(comparison.max_abs)}"
    if times := rounding(comparison):
        said += f", {times}"
    if comparison.tolerance is not None:
        said += f", tolerance {units.error(comparison.tolerance.atol)} ({tolerance_source(comparison.tolerance)})"
    return said


def _failed_parts(validation: Validation) -> Iterable[str]:
    worst = validation.worst
    if worst is not None and worst.status is not Status.PASSED:
        yield _difference(worst)
    for check in validation.checks:
        if check.status in (Status.FAILED, Status.ERROR):
            yield f"{check.name}: {check.message}" if check.message else check.name
    for case in validation.cases:
        if case.status is not Status.PASSED and case.message:
            yield f"case '{case.case}': {case.message}"


def reason(row: Row) -> str:
    """Why a row is what it is, in one sentence; empty when it passed and nothing is to be said."""
    if row.problem is not None:
        return row.problem.message
    if row.status is Status.PASSED:
        return "; ".join(wrong_sizes(row.result))
    said = next(iter(_failed_parts(row.validation)), "") if row.validation else ""
    return said or next(iter((*(row.result.notes if row.result else ()), *row.model.notes)), "")


@dataclass(frozen=True)
class OutputSummary:
    """One output over all cases: the worst comparison, its case, and how often it failed."""

    worst: OutputComparison
    case: CaseResult
    cases: int
    failed: int


def output_summaries(validation: Validation) -> tuple[OutputSummary, ...]:
    """One summary per output, failed ones first, otherwise in the order in which they were compared."""
    by_output: dict[str, list[tuple[OutputComparison, CaseResult]]] = {}
    for case in validation.cases:
        for comparison in case.outputs:
            by_output.setdefault(comparison.output, []).append((comparison, case))
    found = [_summarise(compared) for compared in by_output.values()]
    return tuple(sorted(found, key=lambda summary: summary.failed == 0))


def _summarise(compared: Sequence[tuple[OutputComparison, CaseResult]]) -> OutputSummary:
    # `Validation.worst` knows which of several is the worst; it is asked about one output at a time.
    alone = [
        CaseResult(case=case.case, status=case.status, sizes=case.sizes, outputs=(comparison,))
        for comparison, case in compared
    ]
    worst = Validation(status=Status.PASSED, cases=tuple(alone)).worst
    assert worst is not None, "there is at least one comparison"
    case = next(case for comparison, case in compared if comparison is worst)
    failed = sum(comparison.status is not Status.PASSED for comparison, _ in compared)
    return OutputSummary(worst, case, len(compared), failed)


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees: our own words only, nothing foreign."""

    status: Status
    icon: str
    text: str


_SAID = {
    Status.ERROR: "could not be exported",
    Status.UNVERIFIED: "unverified",
    Status.CANCELLED: "cancelled",
}


def _said(status: Status, report: Report) -> str:
    if status is not Status.FAILED:
        return _SAID[status]
    failed = [row for row in rows(report) if row.status is Status.FAILED]
    numbers = all(row.worst is not None and row.worst.status is Status.FAILED for row in failed)
    return "out of tolerance" if failed and numbers else "failed validation"


def _before(unchanged: Sequence[Unchanged]) -> str:
    """How many of the unchanged did not pass the last time, and of how many nobody knows."""
    unknown = sum(entry.status is Status.UNVERIFIED and not entry.since for entry in unchanged)
    bad = sum(entry.status is not Status.PASSED for entry in unchanged) - unknown
    said = [f"{bad:,} of them not passing"] * bool(bad) + [f"{unknown:,} of them without a verdict"] * bool(unknown)
    return f" ({', '.join(said)})" if said else ""


def verdict(report: Report) -> Verdict:
    """The verdict in words: ``Model export: 1 of 3 models out of tolerance``."""
    total, unchanged = len(report.models), report.unchanged
    counts = Counter(model.status for model in report.models)
    status = combine([report.status, *counts])
    bad = [(kind, counts[kind]) for kind in _ORDER if kind is not Status.PASSED and counts[kind]]
    parts = [f"{number:,} {_said(kind, report)}" for kind, number in bad]
    if bad:
        kind, number = bad[0]
        of_all = f"{number:,} of {units.count(total, 'model')}" if total > 1 else "1 model"
        parts[0] = f"{of_all} {_said(kind, report)}"
    elif status is not Status.PASSED:
        parts = [f"{status.value} after {units.count(total, 'model')}"]
    elif total:
        parts = [{1: "1 model", 2: "both models"}.get(total, f"all {total:,} models") + " passed"]
    elif not unchanged:
        parts = ["no models"]
    if unchanged:
        parts.append(f"{len(unchanged):,} unchanged" if parts else f"{units.count(len(unchanged), 'model')} unchanged")
        parts[-1] += _before(unchanged)
    wrong = sum(bool(wrong_sizes(row.result)) for row in rows(report))
    if wrong:
        parts.append(f"{units.count(wrong, 'artifact')} WRONG at other sizes")
    icon = ICONS[Status.FAILED] if status in (Status.FAILED, Status.ERROR) else ICONS[status]
    if status is Status.PASSED and (wrong or any(entry.status is not Status.PASSED for entry in unchanged)):
        icon = _WARNING
    return Verdict(status, icon, "Model export: " + ", ".join(parts))
