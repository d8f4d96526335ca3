"""Text that comes out of a worker: foreign, of any length, in any bytes. Here it becomes a few lines of plain text."""

from __future__ import annotations

import re
from pathlib import Path

from exporter.results import Problem

__all__ = ["clean", "clean_problem", "tail"]

_LINES = 20
_LINE_LENGTH = 400
_MESSAGE_LENGTH = 4000
_READ_BYTES = 64 * 1024

# Terminal sequences: CSI, OSC up to its end, and two-character escapes.
_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?")
# Controls, and the invisible characters that turn the direction of text or hide in it.
_INVISIBLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def clean(text: str, length: int = _MESSAGE_LENGTH) -> str:
    """`text` with line feeds as its only control characters, at most `length` characters long."""
    text = _TERMINAL.sub("", text).replace("\t", " ")
    text = _INVISIBLE.sub("", text).strip()
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def clean_problem(problem: Problem) -> Problem:
    """`problem` as a worker sent it, fit to be shown."""
    return Problem(
        kind=re.sub(r"[^a-z0-9-]", "", problem.kind.lower())[:60] or "worker-exception",
        message=clean(problem.message),
        hint=clean(problem.hint),
        log=_last_lines("\n".join(problem.log)),
    )


def tail(path: Path, start: int = 0) -> tuple[str, ...]:
    """The last lines of a log, from byte `start` on; none when there is no such file.

    Of a progress bar that was drawn over and over, only the last state counts.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(start, end - _READ_BYTES))
            data = file.read(_READ_BYTES)
    except FileNotFoundError:
        return ()
    return _last_lines(data.decode("utf-8", "replace"))


def _last_lines(text: str) -> tuple[str, ...]:
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    # What a traceback underlines is no news, and takes the room of lines that are.
    cleaned = [line for line in (_indented(line) for line in lines) if line.strip(" ^~")]
    return tuple(cleaned[-_LINES:])


def _indented(line: str) -> str:
    """A cleaned line that keeps the spaces it starts with: tracebacks are unreadable without."""
    body = clean(line, _LINE_LENGTH)
    return " " * min(len(line) - len(line.lstrip(" ")), 40) + body if body else ""
