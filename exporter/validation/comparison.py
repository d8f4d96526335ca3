"""One output of one case: what the file gave against what eager gives, at the positions that count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.results import OutputComparison, Status, Tolerance
from exporter.runner import Array
from exporter.validation.budget import LARGEST

__all__ = ["Expectation", "compare"]

_BLOCK = 2**15
"""So many values at a time: what is computed of them stays in the processor's cache."""


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
    number = int(np.count_nonzero(counts))
    if not number:
        return {"status": Status.PASSED, "max_abs": 0.0, "mean_abs": 0.0, "message": ""}
    blocks = list(_blocks(expected, actual))
    # NaN is the largest error there is, and argmax finds it first.
    worst = blocks[int(np.argmax([block.excess for block in blocks]))]
    largest = float(np.max([block.largest for block in blocks]))
    outside = sum(block.outside for block in blocks)
    return {
        "status": Status.FAILED if outside else Status.PASSED,
        "max_abs": largest,
        "mean_abs": sum(block.total for block in blocks) / number,
        "max_rel": float(np.max([block.relative for block in blocks])),
        "worst_index": tuple(int(index) for index in np.unravel_index(worst.place, reference.shape)),
        "expected": float(reference.reshape(-1)[worst.place]),
        "actual": float(actual.reshape(-1)[worst.place]),
        "rounding": largest / tolerance.floor if tolerance.floor else None,
        "message": _explain(expected, actual) if outside else "",
    }


@dataclass(frozen=True)
class _Block:
    """What was found in a part of an output, at the positions that count.

    Attributes:
        outside: How many values differ by more than is allowed.
        place: Flat index of the value that exceeds it most; `excess` is by how much.
        largest: Largest difference; `total` is the sum of all, `relative` the largest relative to the reference.
    """

    outside: int
    place: int
    excess: float
    largest: float
    total: float
    relative: float


def _blocks(expected: Expectation, actual: Array) -> Iterator[_Block]:
    """A part at a time: the scores of a long text over a large vocabulary are gigabytes in float64."""
    wanted, given, counts = expected.reference.reshape(-1), actual.reshape(-1), expected.counts.reshape(-1)
    for start in range(0, wanted.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        if counts[part].any():
            yield _block(expected, start, (wanted[part], given[part], counts[part]))


def _block(expected: Expectation, start: int, part: tuple[Array, Array, Array]) -> _Block:
    tolerance, counts = expected.tolerance, part[2]
    places = slice(None) if counts.all() else np.flatnonzero(counts)
    wanted, error = part[0][places].astype(np.float64, copy=False), _error(part[0][places], part[1][places])
    # Whole numbers and truth values are right or wrong.
    atol = tolerance.atol if expected.reference.dtype.kind == "f" else 0.0
    sizes = np.abs(wanted)
    allowed = atol + tolerance.rtol * np.where(np.isfinite(wanted), sizes, 0.0) if tolerance.rtol else atol
    excess = error - allowed
    place = int(excess.argmax())  # NaN before all others
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.divide(error, sizes, out=np.zeros_like(error), where=error != 0)
    return _Block(
        outside=int(error.size - np.count_nonzero(error <= allowed)),
        place=start + (place if isinstance(places, slice) else int(places[place])),
        excess=math.inf if math.isnan(excess[place]) else float(excess[place]),
        largest=float(error.max()),
        total=float(error.sum()),
        relative=float(relative.max()),
    )


def _error(reference: Array, actual: Array) -> Array:
    """Absolute differences in float64; equal infinities differ by nothing, NaN stays NaN."""
    wanted, given = reference.astype(np.float64, copy=False), actual.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        error: Array = np.abs(wanted - given)
        if error.size and error.max() < LARGEST and np.abs(wanted).max() < LARGEST:
            return error
        # Nor do stand-ins for infinity, which depend on the precision.
        beyond = np.minimum(np.abs(wanted), np.abs(given)) > LARGEST
        error[(wanted == given) | (beyond & (np.sign(wanted) == np.sign(given)))] = 0.0
    return error


def _explain(expected: Expectation, actual: Array) -> str:
    counts, tolerance = expected.counts, expected.tolerance
    wanted, given, error = expected.reference[counts], actual[counts], _error(expected.reference, actual)[counts]
    atol = tolerance.atol if wanted.dtype.kind == "f" else 0.0
    with np.errstate(invalid="ignore"):
        outside = ~(error <= atol + tolerance.rtol * np.where(np.isfinite(wanted), np.abs(wanted), 0.0))
    if np.isnan(wanted[outside]).any():
        return "the eager model itself gives NaN at a position that counts"
    if np.isnan(given[outside]).any():
        return f"NaN at {int(np.isnan(given[outside]).sum())} positions that count"
    if np.isinf(given[outside]).any():
        return f"infinity at {int(np.isinf(given[outside]).sum())} positions that count"
    share = outside.sum() / actual.size
    return f"{int(outside.sum())} values ({share:.1%}) differ by more than {tolerance.atol:.1e}"
