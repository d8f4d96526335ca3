"""Room is limited: how much of a report is shown, and the largest part of it that fits.

Nothing is ever cut. A rendering that is too long is made again with less in it, in a fixed order, and says what it
left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["CHECK", "COMMENT", "SUMMARY", "UNLIMITED", "Extent", "Limit", "fit"]


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


@dataclass(frozen=True)
class Limit:
    """At most `maximum` of what `measure` counts."""

    maximum: float
    measure: Callable[[str], int] = _utf16_units

    def holds(self, text: str) -> bool:
        """Whether `text` is within the limit."""
        return self.measure(text) <= self.maximum


# GitHub counts characters of a comment; UTF-16 units are the strictest thing it could mean by that.
COMMENT = Limit(65_536)
SUMMARY = Limit(1024 * 1024, _utf8_bytes)
# Documented in characters, answered with 422 for bytes by report of others; bytes satisfy both.
CHECK = Limit(65_535, _utf8_bytes)
UNLIMITED = Limit(float("inf"))


@dataclass(frozen=True)
class Extent:
    """How much of a report to show; a number of rows is the first so many, None is all of them."""

    passing_details: bool = True
    failing_details: int | None = None
    passing_rows: bool = True
    failing_rows: int | None = None


# With all rows in place, details of so many failures are worth more than the rows of what passed.
_DETAILS_WORTH_ROWS = 3


def fit(draw: Callable[[Extent], str], failing: int, limit: Limit) -> str:
    """The fullest of the renderings of `draw` that fits: first the details of what passed go, then those of failures
    past a number, then the rows of what passed, then rows of failures; what remains at last are counts and a link.

    `failing` is the number of rows that did not pass.
    """
    everything = Extent()
    no_passing_details = replace(everything, passing_details=False)
    failures_only = replace(no_passing_details, passing_rows=False)
    for extent in (everything, no_passing_details):
        if limit.holds(text := draw(extent)):
            return text
    fewest = min(failing, _DETAILS_WORTH_ROWS)
    bare = replace(failures_only, failing_details=0)
    found = _most(lambda n: draw(replace(no_passing_details, failing_details=n)), fewest, failing, limit)
    found = found or _most(lambda n: draw(replace(failures_only, failing_details=n)), 0, failing, limit)
    found = found or _most(lambda n: draw(replace(bare, failing_rows=n)), 0, failing, limit)
    return found or draw(replace(bare, failing_rows=0))


def _most(draw: Callable[[int], str], least: int, most: int, limit: Limit) -> str | None:
    """`draw(n)` for the largest n that fits, by bisection; None when not even `least` fits."""
    best = draw(least)
    if not limit.holds(best):
        return None
    low, high = least, most
    while low < high:
        middle = (low + high + 1) // 2
        text = draw(middle)
        if limit.holds(text):
            low, best = middle, text
        else:
            high = middle - 1
    return best
