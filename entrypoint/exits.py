"""What the exit code of a command means; the README's table says the same."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    MODEL_FAILED = 1
    BAD_CALL = 2
    GITHUB_REFUSED = 3
    BUG = 4
    INTERRUPTED = 130
    TERMINATED = 143
