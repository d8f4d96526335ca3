"""What is wrong in a manifest, and where: every error names file, line and column, and says what to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.results import Source

__all__ = ["ManifestError", "ManifestErrors", "Mark", "Problems", "quoted"]

_LONGEST_QUOTE = 80
_LONGEST_LIST = 100


@dataclass(frozen=True, order=True)
class Mark:
    """A position in a manifest; `line` and `column` count from 1, columns in characters."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class ManifestError:
    """One mistake in a manifest.

    Attributes:
        source: File as the caller named it, line and column.
        key: Where it is in the document, such as ``formats.onnx.opset``; empty for the document or the file itself.
        message: What is wrong, what was expected, and the nearest right word where there is one. One line.
    """

    source: Source
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.source.path}:{self.source.line}:{self.source.column}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ManifestErrors(ValueError):  # noqa: N818 - it holds many
    """Everything that is wrong in the manifests of one call, in the order of files and lines."""

    def __init__(self, errors: Sequence[ManifestError]) -> None:
        super().__init__(errors)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        shown = [str(error) for error in self.errors[:_LONGEST_LIST]]
        if len(self.errors) > _LONGEST_LIST:
            shown.append(f"... and {len(self.errors) - _LONGEST_LIST} more errors")
        return "\n".join(shown)


class Problems:
    """Collects the errors of one manifest; what is reported twice at one place is kept once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[tuple[Mark, str], ManifestError] = {}
        self._marks: set[Mark] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, mark: Mark, key: str, message: str) -> None:
        """Note an error; the first of equal ones wins."""
        source = Source(path=self.path, line=mark.line, column=mark.column)
        self._found.setdefault((mark, message), ManifestError(source, key, message))
        self._marks.add(mark)

    def at(self, mark: Mark) -> bool:
        """Whether something is wrong at this place already."""
        return mark in self._marks

    def errors(self) -> tuple[ManifestError, ...]:
        """All errors by line and column."""
        return tuple(self._found[place] for place in sorted(self._found, key=lambda place: place[0]))


def quoted(text: str) -> str:
    """Foreign text for a message: in quotes, on one line, without control characters, at most 80 characters of it."""
    return repr(text) if len(text) <= _LONGEST_QUOTE else repr(text[:_LONGEST_QUOTE] + "…")
