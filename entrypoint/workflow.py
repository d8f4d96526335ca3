"""What a step says to the runner: workflow commands in its log, file commands, and a fence around foreign output.

The runner reads both stdout and stderr of a step for commands: ``::name key=value::data`` at the start of a line, and
the older ``##[name]`` anywhere in a line. It splits lines at a lone carriage return too. See `Workflow commands
<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>`_.
"""

from __future__ import annotations

import io
import re
import secrets
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TextIO

from entrypoint.render.escape import log_line

__all__ = [
    "END_GROUP",
    "OUTPUT_BYTES",
    "SUMMARY_BYTES",
    "Annotation",
    "FileCommandError",
    "ForeignStream",
    "ForeignText",
    "annotate",
    "command",
    "fenced",
    "group",
    "grouped",
    "write_outputs",
    "write_summary",
]

SUMMARY_BYTES = 1024 * 1024  # the runner drops a larger summary as a whole
OUTPUT_BYTES = 1_000_000  # all outputs of a job together, counted in UTF-16

_LONGEST_LINE = 65_536

END_GROUP = "::endgroup::"


@dataclass(frozen=True)
class Annotation:
    """A remark that GitHub shows at a line of a file; line and column count from 1, 0 is unknown.

    `file` is relative to the root of the repository; empty when the remark belongs to no file.
    """

    level: Literal["error", "warning", "notice"]
    title: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0


class FileCommandError(ValueError):
    """Something that a file command can't carry; the message says what and why."""


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, data: str = "", properties: Mapping[str, str | int] | None = None) -> str:
    """The line that makes the runner do `name`; properties that are empty or 0 are left out."""
    written = ",".join(f"{key}={_escape_property(str(value))}" for key, value in (properties or {}).items() if value)
    return f"::{name}{' ' if written else ''}{written}::{_escape_data(data)}"


def annotate(annotation: Annotation) -> str:
    """The command that shows an annotation."""
    place: dict[str, str | int] = {
        "file": annotation.file,
        "line": annotation.line,
        "col": annotation.column,
        "title": annotation.title,
    }
    return command(annotation.level, annotation.message, place)


def group(title: str) -> str:
    """The command that opens a folded group; groups don't nest, `END_GROUP` closes it."""
    return command("group", log_line(title))


@contextmanager
def grouped(stream: TextIO, title: str) -> Iterator[None]:
    """Fold what is written to `stream` meanwhile."""
    print(group(title), file=stream, flush=True)
    try:
        yield
    finally:
        print(END_GROUP, file=stream, flush=True)


class ForeignText:
    """Writes text of others to a log, line by line, so that no line of it is a command.

    Takes the text in pieces of any size. Of a progress bar, which rewrites its line after a carriage return, only the
    last state stays.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> None:
        """Write what is complete; an unfinished line waits."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._print(line)
        if len(self._rest) > _LONGEST_LINE:
            self.close()

    def close(self) -> None:
        """Write an unfinished line; the stream stays open."""
        if self._rest:
            self._print(self._rest)
        self._rest = ""

    def _print(self, line: str) -> None:
        states = [state for state in line.split("\r") if state]
        print(log_line(states[-1] if states else ""), file=self._stream)


class ForeignStream(io.TextIOBase):
    """A stream for libraries to write their warnings to; what they got from a server is in some of them.

    There is no fence around it: it takes what comes at any time, and commands of ours must not wait.
    """

    def __init__(self, stream: TextIO) -> None:
        self._text = ForeignText(stream)
        self._stream = stream
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write what is complete; an unfinished line waits."""
        with self._lock:
            self._text.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what is complete."""
        self._stream.flush()

    def fileno(self) -> int:
        """The descriptor of the stream behind."""
        return self._stream.fileno()

    def close(self) -> None:
        """Write an unfinished line; the stream behind stays open."""
        with self._lock:
            self._text.close()
        self.flush()


@contextmanager
def fenced(stream: TextIO) -> Iterator[ForeignText]:
    """A writer for foreign text with commands switched off, by a token nobody can guess.

    The runner has one switch for stdout and stderr of a step and reads them as they come, so a fence on one stream does
    not reliably cover the other. Therefore the writer also breaks what looks like a command, and the fence is the
    second lock. Commands of ours wait until the fence is closed.
    """
    token = secrets.token_hex(16)
    print(command("stop-commands", token), file=stream, flush=True)
    text = ForeignText(stream)
    try:
        yield text
    finally:
        text.close()
        print(command(token), file=stream, flush=True)


class _Writer(Protocol):
    def write(self, text: str, /) -> object: ...


def _append(target: Path | str | _Writer, text: str) -> None:
    if isinstance(target, (Path, str)):
        with Path(target).open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    else:
        target.write(text)


_OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def write_outputs(target: Path | str | _Writer, outputs: Mapping[str, str]) -> None:
    """Set outputs of the step; `target` is the path in ``GITHUB_OUTPUT`` or an open text file.

    Raises:
        FileCommandError: A name that is no output name, or values beyond what GitHub keeps; nothing is written then.
    """
    total = sum(len((name + value).encode("utf-16-le", "surrogatepass")) for name, value in outputs.items())
    if total > OUTPUT_BYTES:
        largest = max(outputs, key=lambda name: len(outputs[name]))
        raise FileCommandError(
            f"the outputs take {total:,} bytes, GitHub keeps {OUTPUT_BYTES:,}; the largest is {largest!r}"
        )
    written: list[str] = []
    for name, value in outputs.items():
        if not _OUTPUT_NAME.fullmatch(name):
            raise FileCommandError(f"{name!r} is not a name for an output: letters, digits, '-' and '_' only")
        # Drawn after the value was made, so that no value can contain it.
        delimiter = f"ghadelimiter_{uuid.uuid4()}"
        written.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    _append(target, "".join(written).encode("utf-8", "backslashreplace").decode())


def write_summary(target: Path | str | _Writer, markdown: str) -> None:
    """Add to the summary of the step; `target` is the path in ``GITHUB_STEP_SUMMARY`` or an open text file.

    Raises:
        FileCommandError: The summary would pass the limit; nothing is written then.
    """
    present = Path(target).stat().st_size if isinstance(target, (Path, str)) and Path(target).exists() else 0
    text = markdown if markdown.endswith("\n") else markdown + "\n"
    total = present + len(text.encode())
    if total > SUMMARY_BYTES:
        raise FileCommandError(f"the summary would take {total:,} bytes, GitHub shows {SUMMARY_BYTES:,}")
    _append(target, text)
