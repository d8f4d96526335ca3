"""How large a difference may be: a stated multiple of the model's own rounding, never a constant.

The *noise floor* of a model is how far its eager float32 results are from its eager float64 results. It is measured on
several cases and taken relative to the largest value of an output; the worst case counts, because the maximum over
inputs is steadier than any one of them. A file rounds in other places than eager does, but as often: healthy files
mostly stay below 3 floors, so `FACTOR` leaves room on that side, and faults worth the name lie far above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exporter.results import Tolerance
from exporter.runner import Array

__all__ = ["FACTOR", "LARGEST", "Floor", "distance", "magnitude", "rounded_up"]

FACTOR = 10.0
"""Multiple of the noise floor that still passes, in the precision the file computes in."""

_LEAST_SHARE = 0.25

LARGEST = 1e30
"""Values beyond this are stand-ins for infinity (masked scores): they are compared, but set no scale."""


@dataclass(frozen=True)
class Floor:
    """The noise floor of one output.

    Attributes:
        relative: Largest distance between two precisions of eager, in units of the output's largest value.
        smallest: What the data type can't tell apart; a floor that was lucky is lifted to this.
        factor: Multiple that passes.
        scale: Largest value in any case. A case whose outputs are all small by chance rounds as the others do.
    """

    relative: float
    smallest: float = float(np.finfo(np.float32).eps)
    factor: float = FACTOR
    scale: float = 0.0

    def unit(self, scale: float) -> float:
        """What `relative` is relative to in a case whose largest value is `scale`."""
        return max(scale, self.scale * _LEAST_SHARE)

    def tolerance(self, scale: float, factor: float | None = None) -> Tolerance:
        """What a difference in an output whose largest value is `scale` is held against."""
        floor, factor = max(self.relative, self.smallest) * self.unit(scale), factor or self.factor
        return Tolerance(atol=floor * factor, rtol=0.0, source="measured", floor=floor, factor=factor)


def magnitude(values: Array, counts: Array) -> float:
    """Largest absolute value among those that count, stand-ins for infinity aside."""
    if values.size and counts.all():
        largest = max(float(values.max()), -float(values.min()))
        if largest < LARGEST:  # as it nearly always is; without a copy
            return largest
    sizes = np.abs(values)
    return float(np.max(sizes, where=_usable(sizes, counts), initial=0))


def distance(first: Array, second: Array, counts: Array) -> float:
    """Largest absolute difference where both are finite and count."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(np.subtract(first, second, dtype=np.float64))
    if apart.size and counts.all() and magnitude(first, counts) + float(apart.max()) < LARGEST:
        return float(apart.max())
    usable = _usable(np.abs(first), counts) & _usable(np.abs(second), counts)
    return float(np.max(apart, where=usable, initial=0))


def rounded_up(value: float) -> float:
    """A tolerance to print: two significant digits, never less than what was applied.

    >>> rounded_up(1.2345e-5)
    1.3e-05
    """
    if value <= 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.1e}")


def _usable(sizes: Array, counts: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        usable: Array = counts & (sizes < LARGEST)
    return usable
