"""A document as a tree of values that know where they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.manifest.errors import Mark

__all__ = ["Item", "List", "Mapping", "Node", "Plain", "Scalar", "find", "plain"]

Plain = None | bool | int | float | str | tuple["Plain", ...] | dict[str, "Plain"]


@dataclass(frozen=True)
class Scalar:
    """One value: `text` as written, `bare` when it stands without quotes."""

    mark: Mark
    value: bool | int | float | str | None
    text: str
    bare: bool


@dataclass(frozen=True)
class List:
    """A sequence of nodes."""

    mark: Mark
    items: tuple[Node, ...]


class Item(NamedTuple):
    """A value of a mapping, and where its key stands."""

    mark: Mark
    node: Node


@dataclass(frozen=True)
class Mapping:
    """Nodes by key, in the order of the file."""

    mark: Mark
    items: dict[str, Item]


Node = Scalar | List | Mapping


def plain(node: Node) -> Plain:
    """The tree without its marks: dicts, tuples and scalars."""
    if isinstance(node, Mapping):
        return {key: plain(item.node) for key, item in node.items.items()}
    if isinstance(node, List):
        return tuple(plain(item) for item in node.items)
    return node.value


def find(node: Node, place: Sequence[str | int]) -> Node | None:
    """The node at a path of keys and indices, or None."""
    for step in place:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.items:
            node = node.items[step].node
        elif isinstance(node, List) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node
