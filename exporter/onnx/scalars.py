"""The number that was meant by a scalar that a file stores in float32.

A model's code says ``1e-12`` or ``sqrt(64)``; a file keeps the nearest float32. Where a graph is computed in float64,
that rounding would be the largest error left, a thousand times larger than all others, and would hide small faults.
So a scalar is taken for the simple number that rounds to it: a short decimal, a root of a small fraction, a logarithm
of a small whole number. One that was written down wrong is near no simple number, or near a wrong one, and stays wrong.
Half precision leaves fewer digits to go by: the simplest numbers are tried first, and the shortest decimal is the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["beside", "either", "exponentials", "meant", "meant_in_half"]

_DECIMAL_DIGITS = 6
_LARGEST_WHOLE = 100_000
_DENOMINATORS = (1, 2, 3, 4)
_ROOTS = {1: _LARGEST_WHOLE, 2: 16_384, 4: 1_024}
"""Roots that models take, with the largest number that one is looked for of: of larger ones some root is near."""
_NAMED = (math.sqrt(2 / math.pi), math.sqrt(math.pi / 2), math.pi, 2 * math.pi, math.pi / 2, math.e)
_NEAR = 1e-5
_LARGEST_EXPONENT = 80.0

_HALVES, _LARGEST_HALVED = tuple(2**power for power in range(1, 9)), 4096
"""Denominators of fractions that have a logarithm: where buckets begin, as a part of the longest distance."""

# What activations are written with.
_WRITTEN = (0.044715, 1.702)
_FEW_DIGITS = 2

_BINARY_DIGITS = 4
"""A number of so few digits that half precision stores exactly was meant; 181/32 may have been the root of 32."""


def meant(stored: float) -> float | None:
    """The number in float64 that rounds to `stored` in float32 and is simple; None where none is.

    >>> meant(float(np.float32(1e-12)))
    1e-12
    >>> meant(float(np.float32(2**0.5))) == 2**0.5
    True
    """
    if stored == 0 or not math.isfinite(stored) or abs(stored) >= float(np.finfo(np.float32).max):
        return stored
    rounded = np.float32(stored)
    size = next((each for each in _candidates(abs(stored)) if np.float32(each) == abs(rounded)), None)
    return None if size is None else math.copysign(size, stored)


def meant_in_half(stored: float, rounded: Callable[[float], Any], bits: int) -> float:
    """The same for a scalar in a type of less precision.

    Args:
        stored: The number as it is stored.
        rounded: Rounds a number to the type.
        bits: Bits of its fraction.

    >>> meant_in_half(float(np.float16(2**0.5)), np.float16, 10) == 2**0.5
    True
    >>> meant_in_half(float(np.float16(32**0.5)), np.float16, 10) == 32**0.5
    True
    >>> meant_in_half(5 / 32, np.float16, 10)
    0.15625
    """
    if stored == 0 or not math.isfinite(stored) or _digits(str(stored)) <= _BINARY_DIGITS:
        return stored
    size = next(each for each in _simplest(abs(stored), rounded, bits) if float(rounded(each)) == abs(stored))
    return math.copysign(size, stored)


def beside(value: float, steps: int) -> float:
    """The float32 that is some steps away."""
    stepped = np.float32(value)
    for _ in range(abs(steps)):
        stepped = np.nextafter(stepped, np.float32(math.copysign(math.inf, steps)))
    return float(stepped)


def exponentials(logarithms: Iterable[float]) -> Mapping[float, float]:
    """What an exporter makes of the logarithms that a checkpoint stores, by what float32 makes of it.

    Exporters fold such a scale, and float32 computes it a little off.
    """
    exact = [math.exp(each) for each in logarithms if 0 < abs(each) < _LARGEST_EXPONENT]
    return {beside(each, steps): each for steps in (2, -2, 1, -1, 0) for each in exact}


def either(simple: float | None, computed: float | None) -> float | None:
    """One number of two that may have been meant; None where there is none, or they are different ones."""
    if simple is None or computed is None:
        return computed if simple is None else simple
    return simple if simple == computed else None


def _simplest(size: float, rounded: Callable[[float], Any], bits: int) -> Iterator[float]:
    shortest = str(rounded(size))
    if _digits(shortest) <= _FEW_DIGITS:
        yield float(shortest)
    yield from (*_NAMED, *_WRITTEN)
    # Beyond this more whole numbers have a root that rounds to the same.
    end = 2 ** (bits - 1)
    for root in (2, 4):
        for inverse in (False, True):
            whole = round(size ** (-root if inverse else root))
            if 1 < whole <= end:
                yield whole ** ((-1 if inverse else 1) / root)
    if size < math.log(end):
        yield math.log(max(round(math.exp(size)), 1))
    yield size if _digits(str(size)) <= _DECIMAL_DIGITS else float(shortest)


def _digits(number: str) -> int:
    return len(number.split("e")[0].replace(".", "").strip("0-"))


def _candidates(size: float) -> Iterator[float]:
    if _digits(str(np.float32(size))) <= _DECIMAL_DIGITS:
        yield float(str(np.float32(size)))
    for root, largest in _ROOTS.items():
        for inverse in (False, True):
            power = size ** (-root if inverse else root)
            for denominator in _DENOMINATORS:
                whole = round(power * denominator) if power < largest else 0
                if 0 < whole < largest and abs(power * denominator / whole - 1) < _NEAR:
                    found = (whole / denominator) ** (1 / root)
                    yield 1 / found if inverse else found
    yield from _NAMED
    if size < math.log(_LARGEST_WHOLE):
        yield math.log(max(round(math.exp(size)), 1))
        for denominator in _HALVES:
            whole = round(math.exp(size) * denominator)
            if whole <= _LARGEST_HALVED:
                yield math.log(max(whole, 1) / denominator)
