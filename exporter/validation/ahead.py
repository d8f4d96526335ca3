"""What takes long to open, opened while something else is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(make: Callable[[], T]) -> Callable[[], T]:
    """Begin to make something in another thread.

    Returns:
        Gives what was made, as often as it is asked, and waits for it where it isn't ready; raises what `make` raised.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
    made = pool.submit(make)
    pool.shutdown(wait=False)
    return made.result
