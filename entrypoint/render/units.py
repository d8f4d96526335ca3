"""Numbers as people read them: one unit a column, so that a column can be compared at a glance."""

from __future__ import annotations

import math

__all__ = ["NOTHING", "change", "count", "error", "rounding", "seconds", "shape", "size"]

NOTHING = "—"


def error(value: float | None) -> str:
    """A difference with two significant digits: ``2.4e-06``; ``0`` when the values are the same."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.1e}" if value else "0"


def rounding(value: float) -> str:
    """A difference in units of the noise floor: ``2.1x rounding``."""
    if value < 100:
        return f"{value:.1f}x rounding"
    return f"{value:,.0f}x rounding" if value < 1e6 else f"{value:.1e}x rounding"


def size(number: int) -> str:
    """Bytes in MB (10^6), one decimal."""
    if number <= 0:
        return NOTHING
    return f"{number / 1e6:,.1f} MB" if number >= 50_000 else "< 0.1 MB"


def change(now: int, before: int | None) -> str:
    """The change of a size: ``+2.0 %``, ``same``, or ``new`` when there was none."""
    if now <= 0:
        return NOTHING
    if not before:
        return "new"
    if now == before:
        return "same"
    percent = (now - before) / before * 100
    if abs(percent) < 0.05:
        return "< 0.1 %"
    return f"{percent:+,.1f} %".replace("-", "−")


def seconds(value: float) -> str:
    """A time in seconds, one decimal."""
    return f"{value:,.1f} s" if value > 0 else NOTHING


def shape(axes: tuple[int, ...]) -> str:
    """``(2, 8, 768)``."""
    return "(" + ", ".join(map(str, axes)) + ("," if len(axes) == 1 else "") + ")"


def count(number: int, noun: str) -> str:
    """``1 model``, ``2 models``, ``1,000 models``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
