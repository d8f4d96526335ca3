"""What pydantic found, told to a person at the line where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from exporter.manifest.errors import Mark, quoted
from exporter.manifest.nodes import List, Mapping, Node, Scalar, find
from exporter.manifest.schema import Document, Formats, WrittenEntry
from exporter.manifest.words import did_you_mean, nearest_word, one_of

__all__ = ["Finding", "Place", "explain", "explain_merged", "label"]

Place = tuple[str | int, ...]

# Keys that can stand in a message as they are; all others are foreign text.
_WORD = re.compile("[A-Za-z0-9_-]{1,40}")


class Finding(NamedTuple):
    """A mistake: where in the document, where in the file, and what to say."""

    place: Place
    mark: Mark
    message: str


def explain(error: ValidationError, root: Node) -> Iterator[Finding]:
    """Each mistake of a document whose tree is `root`; values that are empty are left out."""
    for details in error.errors(include_url=False):
        place = details["loc"]
        at = next((spot for spot in _spots(details) if find(root, spot) is not None), place)
        node = find(root, at)
        unknown = details["type"] == "extra_forbidden"
        if isinstance(node, Scalar) and node.value is None and not unknown:
            continue
        holder = place[:-1] if unknown or details["type"] == "missing" else at
        mark = _mark(root, at, on_key=unknown)
        yield Finding(holder, mark, _message(details, place, node))


def explain_merged(error: ValidationError, own: Mapping, merged: Mapping) -> Iterator[Finding]:
    """The pairs of values that don't go together in a model with its defaults, at the model's own one of the two."""
    for details in error.errors(include_url=False):
        spots = _spots(details)
        if len(spots) == 1:
            continue  # wrong in itself: found in the model's or the defaults' own mapping
        written = next((spot for spot in spots if find(own, spot) is not None), None)
        message = _message(details, details["loc"], None)
        if written is not None:
            yield Finding(("models", 0, *written), _mark(own, written, on_key=False), message)
        else:
            inherited = next((spot for spot in spots if find(merged, spot) is not None), details["loc"])
            yield Finding(("defaults", *inherited), _mark(merged, inherited, on_key=False), message)


def _spots(details: ErrorDetails) -> tuple[Place, ...]:
    """Where a mistake can be shown: a check of two values names the other one as `beside`."""
    place = details["loc"]
    beside = details.get("ctx", {}).get("beside")
    return (place,) if beside is None else (place, (*place[:-1], beside))


def label(place: Place) -> str:
    """A place in the document as a person writes it: ``formats.onnx.opset`` within a model, ``models[2]`` for one."""
    if len(place) > 2 and place[0] == "models":
        place = place[2:]
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step != "[key]":
            word = step if _WORD.fullmatch(step) else quoted(step)
            text += f".{word}" if text else word
    return text


def _mark(root: Node, place: Place, *, on_key: bool) -> Mark:
    """Where a place is written; for what is absent, the mapping that should hold it."""
    if place[-1:] == ("[key]",):
        place, on_key = place[:-1], True
    holder = find(root, place[:-1])
    if on_key and isinstance(holder, Mapping) and place[-1] in holder.items:
        return holder.items[str(place[-1])].mark
    above = (find(root, place[:length]) for length in range(len(place), -1, -1))
    return next(node.mark for node in above if node is not None)


def _message(details: ErrorDetails, place: Place, node: Node | None) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "missing":
        return f"{quoted(str(place[-1]))} is missing{_what_it_is(place)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _not_one_of(place, node)
    expected = _EXPECTED.get(kind)
    if expected is None:
        return details["msg"]
    return f"expected {expected(context)}, got {_got(node)}{_advice(kind, node)}"


_EXPECTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "string_type": lambda _: "text",
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "bool_type": lambda _: "true or false",
    "greater_than_equal": lambda context: f"at least {context['ge']:g}",
    "less_than_equal": lambda context: f"at most {context['le']:g}",
    "model_type": lambda context: (
        "a list such as [onnx, torchscript], or a mapping"
        if context.get("class_name") == Formats.__name__
        else "a mapping (lines of 'key: value')"
    ),
    "dict_type": lambda _: "a mapping (lines of 'key: value')",
    "tuple_type": lambda _: "a list",
    "string_too_short": lambda context: f"at least {context['min_length']} character",
}


def _got(node: Node | None) -> str:
    if isinstance(node, List):
        return f"a list of {len(node.items)}" if node.items else "an empty list"
    if isinstance(node, Mapping):
        return "a mapping" if node.items else "an empty mapping"
    if node is None or node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the text {quoted(node.value)}"
    return f"{'' if isinstance(node.value, bool) else 'the number '}{node.text}"


def _advice(kind: str, node: Node | None) -> str:
    if not isinstance(node, Scalar):
        return ""
    if kind == "string_type":
        return f"; put it in quotes: {quoted(node.text)}"
    if kind == "bool_type" and isinstance(node.value, str):
        return did_you_mean(node.value, ("true", "false"))
    if kind in ("int_type", "float_type") and isinstance(node.value, str) and not node.bare and _numeric(node.value):
        return "; leave the quotes out"
    return ""


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not_one_of(place: Place, node: Node | None) -> str:
    field = _field(place)
    words = get_args(field.annotation) if field is not None else ()
    if not all(isinstance(word, str) for word in words):
        return f"expected {' or '.join(str(word) for word in words)}, got {_got(node)}"
    text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    return f"expected {one_of(words)}, got {_got(node)}{did_you_mean(text, words)}"


def _unknown_key(place: Place) -> str:
    key = str(place[-1])
    holder = _class_at(place[:-1])
    known = tuple(field.alias or name for name, field in holder.model_fields.items()) if holder is not None else ()
    noun = "format" if holder is Formats else "key"
    near = nearest_word(key, known)
    if near is not None:
        return f"unknown {noun} {quoted(key)}; did you mean {quoted(near)}?"
    elsewhere = nearest_word(key, _HOMES)
    if elsewhere is not None:
        return f"unknown {noun} {quoted(key)} here; {quoted(elsewhere)} belongs in {one_of(_HOMES[elsewhere])}"
    return f"unknown {noun} {quoted(key)}; expected {one_of(known)}"


def _what_it_is(place: Place) -> str:
    field = _field(place)
    return f": {field.description}".rstrip(".") if field is not None and field.description else ""


def _field(place: Place) -> FieldInfo | None:
    return _field_of(_class_at(place[:-1]), place[-1])


def _class_at(place: Place) -> type[BaseModel] | None:
    """The class that describes the mapping at a place."""
    holder: type[BaseModel] | None = Document
    for step in place:
        if isinstance(step, str):
            field = _field_of(holder, step)
            holder = _class_in(field.annotation) if field is not None else None
    return holder


def _field_of(holder: type[BaseModel] | None, key: str | int) -> FieldInfo | None:
    fields = holder.model_fields.items() if holder is not None else ()
    return next((field for name, field in fields if key == (field.alias or name)), None)


def _class_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, (_class_in(part) for part in get_args(annotation))), None)


def _homes(holder: type[BaseModel], path: str) -> Iterator[tuple[str, str]]:
    """Each key of a model with the mapping it stands in."""
    for name, field in holder.model_fields.items():
        key = field.alias or name
        yield key, path or "models"
        inner = _class_in(field.annotation)
        if inner is not None:
            yield from _homes(inner, f"{path}.{key}" if path else key)


_HOMES: dict[str, list[str]] = {}
for _key, _home in _homes(WrittenEntry, ""):
    _HOMES.setdefault(_key, []).append(_home)
