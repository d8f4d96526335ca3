"""Bytes of a manifest -> a tree of values with marks, whatever the bytes are.

The YAML of a manifest is the plain part: UTF-8, one document, keys that are text, no tags, no tabs. Scalars mean what
YAML 1.2 says (``1e-5`` is a number, ``no`` is text), as editors read it. Size, depth and the number of values after
aliases are bounded, so that no file takes long or much memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

import yaml

from exporter.manifest.errors import Mark, Problems, quoted
from exporter.manifest.nodes import Item, List, Mapping, Node, Scalar

__all__ = ["MAX_BYTES", "read"]

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 20
_MAX_VALUES = 200_000
_MAX_CHARACTER_ERRORS = 20

# libyaml is ten times as fast; PyYAML can be built without it.
_Loader: type[yaml.CSafeLoader | yaml.SafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

# What YAML can't hold, and line breaks that editors don't count (U+0085, U+2028, U+2029, a carriage return alone).
_REFUSED = re.compile(
    "\t|\r(?!\n)|[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
# Only escapes in double quotes can make these.
_REFUSED_IN_VALUE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# The core schema of YAML 1.2.2, section 10.3.2.
_NULL = re.compile("~|null|Null|NULL|")
_TRUE = re.compile("true|True|TRUE")
_FALSE = re.compile("false|False|FALSE")
_INTEGER = re.compile("[-+]?[0-9]+")
_BASED_INTEGER = re.compile("0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Longer digits are no number that a manifest could mean, and slow to convert.
_LONGEST_NUMBER = 100

_ADVICE = (
    ("mapping values are not allowed", "put quotes around text that holds ': '"),
    ("cannot start any token", "put quotes around text that starts with a special character"),
    ("unexpected end of stream", "a quote or a bracket is not closed"),
    ("did not find expected key", "check the indentation"),
    ("expected <block end>", "check the indentation"),
    ("did not find expected '-' indicator", "check the indentation"),
)


def read(content: bytes, problems: Problems) -> Node | None:
    """The document of a manifest; None when there is nothing that can be read.

    What is wrong goes to `problems`. A tree can come back all the same (with the first of two equal keys, say), so
    that everything else in it is checked too.
    """
    text = _decode(content, problems)
    if text is None:
        return None
    composer = _Composer(text, problems)
    try:
        return composer.document()
    except _UnreadableError as reason:
        problems.add(reason.mark, "", reason.message)
    except yaml.MarkedYAMLError as error:
        mark = composer.mark(error.problem_mark or error.context_mark)
        problems.add(mark, "", _syntax_message(error))
    except yaml.YAMLError as error:
        problems.add(Mark(), "", f"not valid YAML: {quoted(str(error))}")
    return None


class _ParserMark(Protocol):
    """Where PyYAML or libyaml stands; both count from 0."""

    line: int
    column: int


class _UnreadableError(Exception):
    """Reading on makes no sense."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


def _decode(content: bytes, problems: Problems) -> str | None:
    if len(content) > MAX_BYTES:
        problems.add(Mark(), "", f"the file is larger than {MAX_BYTES:,} bytes, which no manifest needs")
        return None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.add(Mark(), "", "the file is UTF-16; save it as UTF-8")
        return None
    if content.startswith(b"\xef\xbb\xbf"):
        problems.add(Mark(), "", "the file starts with a byte order mark; save it as UTF-8 without BOM")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        byte = content[error.start]
        problems.add(_mark_after(before), "", f"the file is not UTF-8: byte 0x{byte:02x} does not belong here")
        return None
    refused = list(islice(_REFUSED.finditer(text), _MAX_CHARACTER_ERRORS))
    for match in refused:
        mark = _mark_after(text[: match.start()])
        if match.group() == "\t":
            problems.add(mark, "", "a tab; a manifest is written with spaces")
        else:
            problems.add(mark, "", f"the character U+{ord(match.group()):04X} can't stand in a manifest")
    return None if refused else text


def _mark_after(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "unreadable").split())
    message = f"not valid YAML: {problem}"
    if error.context and error.problem and error.context_mark:
        message += f" {error.context} that starts on line {error.context_mark.line + 1}"
    advice = next((advice for part, advice in _ADVICE if part in problem), None)
    return f"{message}; {advice}" if advice else message


class _Composer:
    """Builds the tree from the parser's events, and keeps count."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._lines = text.split("\n")
        if len(self._lines) > 1 and not self._lines[-1]:
            self._lines.pop()
        self._problems = problems
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_Loader))
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._values = 0

    def mark(self, mark: _ParserMark | None) -> Mark:
        """A parser's mark, counted from 1 and inside the file: the end of the stream can lie beyond the last line."""
        if mark is None:
            return Mark()
        if mark.line >= len(self._lines):
            return Mark(len(self._lines), len(self._lines[-1]) + 1)
        return Mark(mark.line + 1, mark.column + 1)

    def document(self) -> Node | None:
        node: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if node is not None:
                    raise _UnreadableError(self.mark(event.start_mark), "a second document; a manifest is one")
                node = self._node(next(self._events), depth=1)
        if node is None or (isinstance(node, Scalar) and node.value is None):
            raise _UnreadableError(Mark(), "the manifest is empty; it needs 'version: 1' and 'models:'")
        return node

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = self.mark(event.start_mark)
        if depth > _MAX_DEPTH:
            raise _UnreadableError(mark, f"nested deeper than {_MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", mark, depth)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        before = self._values
        self._count(1, mark)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if event.tag is not None:
            self._problems.add(mark, "", f"a tag ({quoted(event.tag)}); a manifest holds plain values only")
        node: Node
        if isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(mark, depth)
        elif isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, mark)
        else:
            node = self._list(mark, depth)
        if anchor is not None:
            self._anchors[anchor] = (node, self._values - before, _height(node))
        return node

    def _count(self, values: int, mark: Mark) -> None:
        self._values += values
        if self._values > _MAX_VALUES:
            raise _UnreadableError(mark, f"more than {_MAX_VALUES:,} values, aliases counted")

    def _alias(self, name: str, mark: Mark, depth: int) -> Node:
        if name not in self._anchors:
            raise _UnreadableError(mark, f"the alias {quoted('*' + name)} has no anchor before it")
        anchored = self._anchors[name]
        if anchored is None:
            raise _UnreadableError(mark, f"the alias {quoted('*' + name)} stands inside its own anchor")
        node, values, height = anchored
        if depth + height - 1 > _MAX_DEPTH:
            raise _UnreadableError(mark, f"nested deeper than {_MAX_DEPTH} levels, aliases counted")
        self._count(values, mark)
        return node

    def _list(self, mark: Mark, depth: int) -> List:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return List(mark, tuple(items))

    def _mapping(self, mark: Mark, depth: int) -> Mapping:
        items: dict[str, Item] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key_mark = self.mark(event.start_mark)
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                self._problems.add(key_mark, "", "this key is a list or a mapping; keys are text")
            elif not isinstance(key.value, str):
                self._problems.add(key_mark, "", f"the key {quoted(key.text)} is not text; put it in quotes")
            elif key.value == "<<" and key.bare:
                self._problems.add(key_mark, "", "merge keys ('<<') are not read; put shared options under 'defaults'")
            elif key.value in items:
                again = f"the key {quoted(key.value)} is given twice; the first is on line {items[key.value].mark.line}"
                self._problems.add(key_mark, "", again)
            else:
                items[key.value] = Item(key_mark, value)
        return Mapping(mark, items)

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Scalar:
        text = event.value
        refused = _REFUSED_IN_VALUE.search(text)
        if refused:
            self._problems.add(mark, "", f"the text holds the character U+{ord(refused.group()):04X}")
            text = _REFUSED_IN_VALUE.sub("?", text)
        bare = not event.style
        return Scalar(mark, _resolve(text) if bare else text, text, bare)


def _height(node: Node) -> int:
    if isinstance(node, Mapping):
        return 1 + max((_height(item.node) for item in node.items.values()), default=0)
    if isinstance(node, List):
        return 1 + max((_height(item) for item in node.items), default=0)
    return 1


def _resolve(text: str) -> bool | int | float | str | None:
    if len(text) > _LONGEST_NUMBER:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED_INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
