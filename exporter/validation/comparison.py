"""One output of one case: what the file gave against what eager gives, at the positions that count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.results import OutputComparison, Status, Tolerance
from exporter.runner import Array
from exporter.validation.budget import LARGEST

__all__ = ["Expectation", "compare"]


@dataclass(frozen=True)
class Expectation:
    """What an output should be.

    Attributes:
        output: Name of the output.
        reference: Eager's values; float64 where that ran.
        counts: Where values count.
        tolerance: What a difference is held against.
        dtype: Name of the data type that the file should give.
    """

    output: str
    reference: Array
    counts: Array
    tolerance: Tolerance
    dtype: str


def compare(expected: Expectation, actual: Array) -> OutputComparison:
    """Compare shape, data type and values; values last, because they mean nothing when the others differ."""
    facts: dict[str, Any] = {
        "output": expected.output,
        "reference_shape": expected.reference.shape,
        "shape": actual.shape,
        "reference_dtype": expected.dtype,
        "dtype": str(actual.dtype),
        "tolerance": expected.tolerance,
    }
    if actual.shape != expected.reference.shape:
        message = f"shape {actual.shape} doesn't match {expected.reference.shape}"
        return OutputComparison(**facts, status=Status.FAILED, message=message)
    measured = _values(expected, actual)
    if str(actual.dtype) != expected.dtype and not measured["message"]:
        measured |= {"status": Status.FAILED, "message": f"dtype {actual.dtype} doesn't match {expected.dtype}"}
    return OutputComparison(**facts, **measured)


def _values(expected: Expectation, actual: Array) -> dict[str, Any]:
    reference, counts, tolerance = expected.reference, expected.counts, expected.tolerance
    if not counts.any():
        return {"status": Status.PASSED, "max_abs": 0.0, "mean_abs": 0.0, "message": ""}
    wanted, given = reference.astype(np.float64), actual.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        # Equal infinities differ by nothing, nor do stand-ins for them, which depend on the precision; NaN stays NaN.
        same = (wanted == given) | ((np.minimum(np.abs(wanted), np.abs(given)) > LARGEST) & (wanted * given > 0))
        error = np.where(same, 0.0, np.abs(wanted - given))
        # Whole numbers and truth values are right or wrong.
        atol = tolerance.atol if reference.dtype.kind == "f" else 0.0
        allowed = atol + tolerance.rtol * np.abs(np.where(np.isfinite(wanted), wanted, 0.0))
    ranked = np.where(counts, np.where(np.isnan(error), np.inf, error) - allowed, -np.inf)
    worst = tuple(int(index) for index in np.unravel_index(int(ranked.argmax()), ranked.shape))
    counted = error[counts]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(counted == 0, 0.0, counted / np.abs(wanted[counts]))
    outside = counts & ~(error <= allowed)
    result: dict[str, Any] = {
        "status": Status.FAILED if outside.any() else Status.PASSED,
        "max_abs": float(np.max(counted)),
        "mean_abs": float(np.mean(counted)),
        "max_rel": float(np.max(relative)),
        "worst_index": worst,
        "expected": float(wanted[worst]),
        "actual": float(given[worst]),
        "rounding": float(np.max(counted)) / tolerance.floor if tolerance.floor else None,
        "message": "",
    }
    if outside.any():
        result["message"] = _explain(wanted, given, outside, tolerance)
    return result


def _explain(wanted: Array, given: Array, outside: Array, tolerance: Tolerance) -> str:
    if np.isnan(wanted[outside]).any():
        return "the eager model itself gives NaN at a position that counts"
    if np.isnan(given[outside]).any():
        return f"NaN at {int(np.isnan(given[outside]).sum())} positions that count"
    if np.isinf(given[outside]).any():
        return f"infinity at {int(np.isinf(given[outside]).sum())} positions that count"
    share = outside.sum() / outside.size
    return f"{int(outside.sum())} values ({share:.1%}) differ by more than {tolerance.atol:.1e}"
