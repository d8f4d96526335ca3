"""Markdown tables: one for readers of the page, one for readers of the file. Cells are inline Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entrypoint.render.escape import cell

__all__ = ["Column", "Table", "aligned", "compact"]


@dataclass(frozen=True)
class Column:
    """A heading, and whether the column holds numbers, which stand at the right."""

    title: str
    numeric: bool = False


Table = Callable[[Sequence[Column], Sequence[Sequence[str]]], str]


def compact(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """A table without padding, for pages with a size limit."""
    lines = [_line([column.title for column in columns])]
    lines.append("|" + "|".join("--:" if column.numeric else ":--" for column in columns) + "|")
    lines += [_line([cell(content) for content in row]) for row in rows]
    return "\n".join(lines)


def aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """A table whose source looks like a table, too."""
    escaped = [[cell(content) for content in row] for row in rows]
    by_column = list(zip([column.title for column in columns], *escaped, strict=True))
    widths = [max(3, *map(_width, contents)) for contents in by_column]
    rule = [
        "-" * (width - 1) + ":" if column.numeric else ":" + "-" * (width - 1)
        for column, width in zip(columns, widths, strict=True)
    ]
    lines = [[column.title for column in columns], rule, *escaped]
    padded = [
        [_pad(content, width, column) for content, width, column in zip(line, widths, columns, strict=True)]
        for line in lines
    ]
    return "\n".join(map(_line, padded))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _pad(content: str, width: int, column: Column) -> str:
    space = " " * (width - _width(content))
    return space + content if column.numeric else content + space


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes, near enough for padding."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
