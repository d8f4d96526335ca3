"""Ctrl-C and SIGTERM as an event that a run can look at, instead of an exception in the middle of anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

__all__ = ["Interruption", "interruptible"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """Whether the process was asked to stop.

    Attributes:
        event: Set from then on.
        number: The first signal that asked; None as long as none did.
    """

    event: threading.Event = field(default_factory=threading.Event)
    number: signal.Signals | None = None

    @property
    def exit_status(self) -> int | None:
        """What a program that was ended by this signal exits with (130 or 143); None without one."""
        return None if self.number is None else 128 + self.number


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first SIGINT or SIGTERM into an event; the next one does what it did before. Main thread only."""
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interruption.number = signal.Signals(number)
        interruption.event.set()
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in _SIGNALS:
        signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
