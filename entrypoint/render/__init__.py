"""The same facts, three sizes: comment, summary, terminal. Pure: a report goes in, text comes out, nothing is written.

Functions are loaded when they are first used, and `terminal` (rich) only by those who name it: a command that shows
its help should not wait for any of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrypoint.render.annotate import annotations
    from entrypoint.render.budget import Limit
    from entrypoint.render.context import Baseline, CommentContext
    from entrypoint.render.document import check, comment, markdown, marker, summary

__all__ = [
    "Baseline",
    "CommentContext",
    "Limit",
    "annotations",
    "check",
    "comment",
    "markdown",
    "marker",
    "summary",
]

_HOMES = {
    "annotations": "annotate",
    "Limit": "budget",
    "Baseline": "context",
    "CommentContext": "context",
    "check": "document",
    "comment": "document",
    "markdown": "document",
    "marker": "document",
    "summary": "document",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
