"""How `defaults` reach a model, and the short forms of `formats`: trees of what is written in, trees out."""

from __future__ import annotations

from exporter.manifest.errors import Problems, quoted
from exporter.manifest.nodes import Item, List, Mapping, Node, Scalar

__all__ = ["expand", "inherit"]

# A reason belongs to the numbers it stands beside, so the three are taken from one place.
_TOLERANCE = ("atol", "rtol", "reason")


def expand(document: Mapping, problems: Problems) -> Mapping:
    """The document with every `formats` as a mapping from format to options; what can't be one is left as it is."""
    items = dict(document.items)
    if "defaults" in items:
        items["defaults"] = Item(items["defaults"].mark, _expand_entry(items["defaults"].node, "defaults.", problems))
    if "models" in items and isinstance(items["models"].node, List):
        models = items["models"].node
        entries = tuple(_expand_entry(entry, "", problems) for entry in models.items)
        items["models"] = Item(items["models"].mark, List(models.mark, entries))
    return Mapping(document.mark, items)


def _expand_entry(entry: Node, prefix: str, problems: Problems) -> Node:
    if not isinstance(entry, Mapping) or "formats" not in entry.items:
        return entry
    mark, formats = entry.items["formats"]
    if isinstance(formats, List):
        formats = _formats_of_list(formats, f"{prefix}formats", problems)
    elif isinstance(formats, Mapping):
        formats = Mapping(formats.mark, {name: Item(at, _options(node)) for name, (at, node) in formats.items.items()})
    return Mapping(entry.mark, {**entry.items, "formats": Item(mark, formats)})


def _formats_of_list(formats: List, key: str, problems: Problems) -> Mapping:
    items: dict[str, Item] = {}
    for node in formats.items:
        if not isinstance(node, Scalar):
            advice = "to give options, write all formats as a mapping, without dashes"
            problems.add(node.mark, key, f"expected the name of a format in this list; {advice}")
        elif not isinstance(node.value, str):
            problems.add(node.mark, key, f"expected the name of a format, got {quoted(node.text)}")
        elif node.value in items:
            problems.add(node.mark, key, f"the format {quoted(node.value)} is given twice")
        else:
            items[node.value] = Item(node.mark, Mapping(node.mark, {}))
    if formats.items and not items:
        # All of it is reported; that no format is left would be said on top.
        items["onnx"] = Item(formats.mark, Mapping(formats.mark, {}))
    return Mapping(formats.mark, items)


def _options(node: Node) -> Node:
    """``onnx:`` with nothing after it asks for ONNX with its defaults."""
    if isinstance(node, Scalar) and node.value is None:
        return Mapping(node.mark, {})
    return node


def inherit(defaults: Mapping, entry: Mapping) -> Mapping:
    """The entry with what it leaves to the defaults.

    Mappings merge key by key, everything else is the entry's. Two things are whole: which formats are made, and a
    tolerance with its reason.
    """
    merged = _merge(defaults, entry)
    default_formats, own_formats = _child(defaults, "formats"), _child(entry, "formats")
    if default_formats is not None and own_formats is not None:
        formats = {name: item for name, item in _items(merged, "formats").items() if name in own_formats.items}
        merged = _with(merged, "formats", formats)
    own_validate = _child(entry, "validate")
    if own_validate is not None and any(key in own_validate.items for key in _TOLERANCE):
        kept = {
            key: item
            for key, item in _items(merged, "validate").items()
            if key in own_validate.items or key not in _TOLERANCE
        }
        merged = _with(merged, "validate", kept)
    return merged


def _merge(defaults: Mapping, own: Mapping) -> Mapping:
    items = dict(defaults.items)
    for key, item in own.items.items():
        below = items.get(key)
        if below is not None and isinstance(below.node, Mapping) and isinstance(item.node, Mapping):
            item = Item(item.mark, _merge(below.node, item.node))
        items[key] = item
    return Mapping(own.mark, items)


def _child(parent: Mapping, key: str) -> Mapping | None:
    item = parent.items.get(key)
    return item.node if item is not None and isinstance(item.node, Mapping) else None


def _items(parent: Mapping, key: str) -> dict[str, Item]:
    child = _child(parent, key)
    return child.items if child is not None else {}


def _with(parent: Mapping, key: str, items: dict[str, Item]) -> Mapping:
    mark, node = parent.items[key]
    return Mapping(parent.mark, {**parent.items, key: Item(mark, Mapping(node.mark, items))})
