"""What happened, as frozen data: the only thing that passes from the library to the action.

`Report` is the content of ``export-report.json`` (schema version 1). Readers ignore keys they don't know and refuse a
newer major version. Sizes are bytes, times are seconds, shapes are tuples of ints.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = [
    "SCHEMA_VERSION",
    "Attempt",
    "CaseResult",
    "Check",
    "ExportError",
    "FormatResult",
    "ModelResult",
    "OutputComparison",
    "Problem",
    "Report",
    "ReportError",
    "SavedFile",
    "Source",
    "Status",
    "TensorInfo",
    "Tolerance",
    "Unchanged",
    "Validation",
    "combine",
    "json_schema",
    "read_report",
]

SCHEMA_VERSION = 1


class Status(str, Enum):
    """How something ended. `failed` is a verdict on numbers; `error` means that there is nothing to judge."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    UNVERIFIED = "unverified"
    CANCELLED = "cancelled"


_WORST_FIRST = (Status.ERROR, Status.FAILED, Status.CANCELLED, Status.UNVERIFIED, Status.PASSED)


def combine(statuses: Iterable[Status]) -> Status:
    """The status of a whole from the statuses of its parts: the worst one; of nothing, `passed`."""
    present = set(statuses)
    return next((status for status in _WORST_FIRST if status in present), Status.PASSED)


class Record(BaseModel):
    """Base of everything in a report: frozen, tolerant of keys from a later minor version."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Problem(Record):
    """One thing that went wrong, told to a person: what happened and why, then what to do.

    Attributes:
        kind: Stable slug such as ``lfs-pointer``, ``timeout``, ``out-of-memory``.
        message: What happened, where and why; one or a few sentences, no traceback.
        hint: What to do about it; empty when there is nothing to say.
        log: Last lines of the worker's log, where they help.
    """

    kind: str
    message: str
    hint: str = ""
    log: tuple[str, ...] = ()


class ExportError(Exception):
    """A failure with a `Problem` to show; raised for a user's mistake or a model that can't be converted."""

    def __init__(self, kind: str, message: str, hint: str = "", log: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.problem = Problem(kind=kind, message=message, hint=hint, log=log)


class Source(Record):
    """Where in a manifest something was written; `line` and `column` count from 1."""

    path: str
    line: int
    column: int = 1


class SavedFile(Record):
    """A file of an artifact, path relative to the output directory."""

    path: str
    bytes: int
    sha256: str


class TensorInfo(Record):
    """An input or output as the artifact declares it; an axis is a size or a name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Tolerance(Record):
    """What a difference was held against, and where that came from.

    Attributes:
        atol: Absolute tolerance that was applied.
        rtol: Relative tolerance that was applied.
        source: ``default`` (constant), ``measured`` (from the model's noise floor), ``manifest`` or ``command-line``.
        reason: Why a person chose it (only for ``manifest``).
        floor: Measured noise floor, absolute, when there is one.
        factor: Multiple of the floor that is still a pass.
    """

    atol: float
    rtol: float
    source: Literal["default", "measured", "manifest", "command-line"]
    reason: str = ""
    floor: float | None = None
    factor: float | None = None


class OutputComparison(Record):
    """One output of one case: the artifact against the eager model, at the positions that count.

    Attributes:
        output: Name of the output.
        status: Passed or failed.
        reference_shape: Shape that eager gives; `shape` is what the artifact gave.
        max_abs: Largest absolute difference; None where shapes differ.
        max_rel: Largest difference relative to the reference value.
        worst_index: Where `max_abs` is; `expected` and `actual` are the values there.
        rounding: `max_abs` in units of the noise floor ("2.1x rounding"); None without a measured floor.
        message: What is wrong, empty when it passed.
    """

    output: str
    status: Status
    reference_shape: tuple[int, ...]
    shape: tuple[int, ...]
    reference_dtype: str
    dtype: str
    max_abs: float | None = None
    mean_abs: float | None = None
    max_rel: float | None = None
    worst_index: tuple[int, ...] = ()
    expected: float | None = None
    actual: float | None = None
    rounding: float | None = None
    tolerance: Tolerance | None = None
    ambiguous: int = 0
    message: str = ""


class CaseResult(Record):
    """One case: named sizes, mask and seed are enough to make its inputs again."""

    case: str
    status: Status
    sizes: dict[str, int]
    mask: str = ""
    seed: int = 0
    outputs: tuple[OutputComparison, ...] = ()
    message: str = ""
    seconds: float = 0.0


class Check(Record):
    """A check of structure or of a relation: not one comparison of values."""

    name: str
    status: Status
    message: str = ""


class Validation(Record):
    """The evidence for one artifact."""

    status: Status
    checks: tuple[Check, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    tolerance: Tolerance | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    diverges_at: str = ""
    replay: str = ""
    log: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def worst(self) -> OutputComparison | None:
        """The comparison to show: a failed one before a passed one, then the largest against its tolerance."""
        compared = [output for case in self.cases for output in case.outputs]
        return max(compared, key=_badness, default=None)


def _badness(comparison: OutputComparison) -> tuple[bool, float, float]:
    failed = comparison.status is not Status.PASSED
    error = comparison.max_abs
    if error is None or error != error:  # NaN: nothing is worse
        error = float("inf")
    allowed = comparison.tolerance.atol if comparison.tolerance else 0.0
    return failed, error / allowed if allowed else error, error


class Attempt(Record):
    """One engine tried for a format, and how that ended."""

    engine: str
    status: Status
    message: str = ""
    seconds: float = 0.0


class FormatResult(Record):
    """One artifact: one model in one format."""

    format: str
    status: Status
    engine: str = ""
    attempts: tuple[Attempt, ...] = ()
    opset: int | None = None
    dtype: str = "float32"
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    files: tuple[SavedFile, ...] = ()
    validation: Validation | None = None
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    cached: bool = False
    ambiguous: bool = False
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Size of the model files: what `files` add up to."""
        return sum(file.bytes for file in self.files)


class ModelResult(Record):
    """One entry of a manifest.

    Attributes:
        name: Unique name from the manifest.
        model: Path or Hub id as written; `revision` likewise; `commit` is what it resolved to.
        architecture: ``registered``, ``inferred`` or ``custom``; empty when it failed before that was known.
    """

    name: str
    model: str
    status: Status
    source: Source | None = None
    revision: str = ""
    commit: str = ""
    task: str = ""
    model_type: str = ""
    architecture: str = ""
    parameters: int | None = None
    formats: tuple[FormatResult, ...] = ()
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class Unchanged(Record):
    """An entry that was left out of the run, because nothing that it is made from differs from an earlier commit.

    Attributes:
        status: Its last verdict; `unverified` when there is none.
        since: Where that verdict is from, such as ``main@def5678``.
    """

    name: str
    model: str
    status: Status
    since: str = ""


class Report(Record):
    """Content of ``export-report.json``; `status` is about `models`, not about what is unchanged."""

    schema_version: int = SCHEMA_VERSION
    status: Status
    models: tuple[ModelResult, ...] = ()
    unchanged: tuple[Unchanged, ...] = ()
    versions: dict[str, str] = {}
    commit: str = ""
    started: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as JSON a person can read, ending in a newline."""
        return self.model_dump_json(indent=2) + "\n"


class ReportError(ValueError):
    """A file that is no report we can read; the message says why."""


def read_report(text: str | bytes) -> Report:
    """Parse ``export-report.json``.

    Raises:
        ReportError: Not JSON, not a report, or written by a newer major version.
    """
    try:
        report = Report.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReportError(f"not an export report: {where}: {first['msg']}") from None
    if report.schema_version > SCHEMA_VERSION:
        raise ReportError(
            f"the report has schema version {report.schema_version}; this version reads up to {SCHEMA_VERSION}"
        )
    return report


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``export-report.json``."""
    return Report.model_json_schema(mode="serialization")
