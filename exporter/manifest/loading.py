"""Manifests as files: read, checked, paths resolved; everything that is wrong in one exception."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from exporter.manifest.defaults import expand, inherit
from exporter.manifest.errors import ManifestErrors, Mark, Problems, quoted
from exporter.manifest.explain import Place, explain, explain_merged, label
from exporter.manifest.nodes import List, Mapping, Node, Scalar, find, plain
from exporter.manifest.paths import PathError, Tree, kind_of, names_of
from exporter.manifest.reading import MAX_BYTES, read
from exporter.manifest.samples import Samples, SamplesError, read_samples
from exporter.manifest.schema import Document, WrittenEntry
from exporter.manifest.words import did_you_mean, nearest_word
from exporter.results import ExportError, Source

__all__ = ["CustomConfig", "Entry", "Manifest", "UnknownNameError", "load", "parse", "read_entries"]

_LARGEST_CODE = 1024 * 1024
_CLASS = re.compile(r"^class[ ]+([A-Za-z_][A-Za-z0-9_]*)", re.MULTILINE)


class UnknownNameError(ExportError):
    """A model was asked for by a name that no entry has."""


@dataclass(frozen=True)
class CustomConfig:
    """A class of the user's that describes an architecture; nothing of the file has been run.

    Attributes:
        path: Python file, absolute.
        class_name: Name of the class in it.
    """

    path: Path
    class_name: str


class Entry(WrittenEntry):
    """A model to export: what is written, and what its paths point at.

    Attributes:
        source: Where the entry starts; the path is relative to `root` where there is a git checkout.
        folder: The manifest's folder, absolute.
        root: No path of the entry leaves this folder: the root of the git checkout, else `folder`.
        checkpoint: The model's folder, absolute; None when `model` is an id on the Hub.
        samples: The samples that `validate: samples:` points at.
        custom_config: What `config:` points at.
    """

    source: Source
    folder: Path
    root: Path
    checkpoint: Path | None = None
    samples: Samples | None = None
    custom_config: CustomConfig | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file and folder of the checkout that the entry is made from, but for the manifest itself."""
        named = (
            self.checkpoint,
            self.samples.path if self.samples else None,
            self.custom_config.path if self.custom_config else None,
        )
        return tuple(path for path in named if path is not None)


class Manifest(BaseModel):
    """The entries of one run, from one manifest or several; names are unique, but for case too.

    Attributes:
        entries: In the order of the manifests and of their lines.
        paths: The manifests, as the caller named them.
    """

    model_config = ConfigDict(frozen=True)

    entries: tuple[Entry, ...]
    paths: tuple[Path, ...]

    def select(self, names: Sequence[str]) -> Manifest:
        """The manifest with the named entries only, in its own order; with no names, all of it.

        Raises:
            UnknownNameError: No entry has one of the names.
        """
        if not names:
            return self
        known = tuple(entry.name for entry in self.entries)
        unknown = [_with_nearest(name, known) for name in names if name not in known]
        if unknown:
            message = f"no model of the manifest is called {' or '.join(unknown)}"
            raise UnknownNameError("unknown-name", message + ".", _listing(known))
        return self.model_copy(update={"entries": tuple(entry for entry in self.entries if entry.name in names)})


def _with_nearest(name: str, known: Sequence[str]) -> str:
    near = nearest_word(name, known)
    return f"{quoted(name)} (did you mean {quoted(near)}?)" if near else quoted(name)


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"It has: {', '.join(names[:10])}{more}."


def load(paths: Sequence[Path]) -> Manifest:
    """Read manifests into one.

    Raises:
        ManifestErrors: Everything that is wrong in any of them.
    """
    seen: dict[str, Path] = {}
    parts = []
    for path in paths:
        problems = Problems(path.as_posix())
        first = seen.setdefault(os.path.realpath(path), path)
        if first is not path:
            problems.add(Mark(), "", f"the same file as {quoted(first.as_posix())}; name a manifest once")
            content = None
        else:
            content = _bytes_of(path, problems)
        parts.append(_Part(path, problems, _read_document(content, problems) if content is not None else []))
    return _combine(parts)


def parse(content: bytes, path: Path) -> Manifest:
    """A manifest from its bytes, as if they were the file at `path`; paths in it are looked up from there.

    Raises:
        ManifestErrors: Everything that is wrong.
    """
    problems = Problems(path.as_posix())
    return _combine([_Part(path, problems, _read_document(content, problems))])


def read_entries(content: bytes, path: Path) -> tuple[WrittenEntry, ...]:
    """The entries that a manifest states, without a look at the file system: for a manifest of another commit.

    Raises:
        ManifestErrors: Everything that is wrong in what is written; `path` is only its name.
    """
    problems = Problems(path.as_posix())
    part = _Part(path, problems, _read_document(content, problems))
    _refuse_equal_names([part])
    _raise_if_any([part])
    return tuple(each.entry for each in part.written if each.entry is not None)


@dataclass(frozen=True)
class _Written:
    """A model of a document: as written, with the defaults in it, and checked (None when it does not hold)."""

    place: Place
    own: Mapping
    merged: Mapping
    entry: WrittenEntry | None

    def locate(self, *place: str) -> tuple[Mark, str]:
        """Mark and label of a value that the model or the defaults hold."""
        own = find(self.own, place)
        if own is not None:
            return own.mark, label((*self.place, *place))
        inherited = find(self.merged, place)
        return (inherited or self.own).mark, label(("defaults", *place))


@dataclass(frozen=True)
class _Part:
    """One manifest of a run."""

    path: Path
    problems: Problems
    written: list[_Written]


def _bytes_of(path: Path, problems: Problems) -> bytes | None:
    kind = kind_of(path)
    if kind == "nothing":
        problems.add(Mark(), "", f"there is no such file{did_you_mean(path.name, names_of(path.parent, 'file'))}")
    elif kind != "file":
        problems.add(Mark(), "", f"a {'folder' if kind == 'folder' else 'device or pipe'}; expected a file")
    elif not Tree.around(path.parent).contains(path):
        # What a link in a pull request points at must not end up in messages.
        problems.add(Mark(), "", "a symbolic link that leaves the repository, or the folder where there is none")
    else:
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            problems.add(Mark(), "", f"the file can't be read: {error.strerror}")
    return None


def _combine(parts: Sequence[_Part]) -> Manifest:
    _refuse_equal_names(parts)
    entries: list[Entry | None] = []
    for part in parts:
        tree = Tree.around(part.path.parent)
        entries.extend(_resolve(each, part, tree) for each in part.written)
    _raise_if_any(parts)
    found = tuple(entry for entry in entries if entry is not None)
    return Manifest(entries=found, paths=tuple(part.path for part in parts))


def _raise_if_any(parts: Sequence[_Part]) -> None:
    errors = [error for part in parts for error in part.problems.errors()]
    if errors:
        raise ManifestErrors(errors)


def _refuse_equal_names(parts: Sequence[_Part]) -> None:
    """Names are folders of one run, on file systems that don't tell cases apart too."""
    seen: dict[str, tuple[str, str]] = {}
    for part in parts:
        for each in part.written:
            name = _text(each.own, "name")
            if name is None:
                continue
            mark, key = each.locate("name")
            place = f"{part.path.as_posix()}:{mark.line}"
            if name.casefold() not in seen:
                seen[name.casefold()] = (name, place)
                continue
            first, first_place = seen[name.casefold()]
            difference = "" if first == name else f", which differs from {quoted(first)} only in case,"
            part.problems.add(mark, key, f"the name {quoted(name)}{difference} is taken at {first_place}")


def _read_document(content: bytes, problems: Problems) -> list[_Written]:
    root = read(content, problems)
    if root is None:
        return []
    if not isinstance(root, Mapping):
        problems.add(root.mark, "", "expected a mapping with 'version', 'defaults' and 'models'")
        return []
    root = expand(root, problems)
    for place, mark in _empty_values(root, ()):
        problems.add(mark, label(place), "nothing is written here; give a value, or leave the key out")
    try:
        Document.model_validate(plain(root))
    except ValidationError as error:
        for finding in explain(error, root):
            problems.add(finding.mark, label(finding.place), finding.message)
    defaults, models = find(root, ("defaults",)), find(root, ("models",))
    defaults = defaults if isinstance(defaults, Mapping) else Mapping(root.mark, {})
    entries = models.items if isinstance(models, List) else ()
    return [
        _written(("models", index), defaults, own, problems)
        for index, own in enumerate(entries)
        if isinstance(own, Mapping)
    ]


def _empty_values(node: Node, place: Place) -> Iterator[tuple[Place, Mark]]:
    if isinstance(node, Mapping):
        for key, item in node.items.items():
            yield from _empty_values(item.node, (*place, key))
    elif isinstance(node, List):
        for index, child in enumerate(node.items):
            yield from _empty_values(child, (*place, index))
    elif node.value is None:
        yield place, node.mark


def _written(place: Place, defaults: Mapping, own: Mapping, problems: Problems) -> _Written:
    merged = inherit(defaults, own)
    entry = None
    try:
        entry = WrittenEntry.model_validate(plain(merged))
    except ValidationError as error:
        conflicts = [finding for finding in explain_merged(error, own, merged) if not problems.at(finding.mark)]
        for finding in conflicts:
            problems.add(finding.mark, label(finding.place), finding.message)
    assert entry is not None or problems
    return _Written(place, own, merged, entry)


def _resolve(each: _Written, part: _Part, tree: Tree) -> Entry | None:
    """The entry with what its paths point at. Paths are looked at whatever else is wrong with it."""
    paths = _Paths(each, part.problems, tree)
    checkpoint, samples, custom_config = paths.checkpoint(), paths.samples(), paths.custom_config()
    if each.entry is None or part.problems:
        return None
    mark = each.own.mark
    return Entry.model_validate(
        {
            **{field.alias or name: getattr(each.entry, name) for name, field in WrittenEntry.model_fields.items()},
            "source": Source(path=tree.name_of(part.path), line=mark.line, column=mark.column),
            "folder": tree.folder,
            "root": tree.root,
            "checkpoint": checkpoint,
            "samples": samples,
            "custom_config": custom_config,
        }
    )


@dataclass(frozen=True)
class _Paths:
    """The paths of one model, each found or reported."""

    each: _Written
    problems: Problems
    tree: Tree

    def checkpoint(self) -> Path | None:
        value = _text(self.each.own, "model")
        if value is None:
            return None
        try:
            return self.tree.checkpoint(value, revision=_text(self.each.own, "revision") is not None)
        except PathError as error:
            self.problems.add(*self.each.locate("model"), str(error))
        return None

    def samples(self) -> Samples | None:
        value = _text(self.each.merged, "validate", "samples")
        if value is None:
            return None
        try:
            return read_samples(self.tree.existing(value))
        except (PathError, SamplesError) as error:
            self.problems.add(*self.each.locate("validate", "samples"), str(error))
        return None

    def custom_config(self) -> CustomConfig | None:
        value = _text(self.each.merged, "config") or ""
        file, _, class_name = value.rpartition(":")
        if not file.endswith(".py") or not class_name.isidentifier():
            return None  # absent, or reported for its form
        try:
            path = self.tree.file(file)
            _expect_class(path, class_name)
        except PathError as error:
            self.problems.add(*self.each.locate("config"), str(error))
            return None
        return CustomConfig(path, class_name)


def _expect_class(path: Path, class_name: str) -> None:
    """Refuse a file that does not so much as mention the class; it is read, never run."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            code = file.read(_LARGEST_CODE)
    except OSError as error:
        raise PathError(f"{quoted(path.name)} can't be read: {error.strerror}") from None
    if not re.search(rf"\b{re.escape(class_name)}\b", code):
        near = did_you_mean(class_name, _CLASS.findall(code))
        raise PathError(f"{quoted(path.name)} has no class {quoted(class_name)}{near}")


def _text(tree: Node, *place: str) -> str | None:
    """A text of the tree; None when there is none, or something else."""
    node = find(tree, place)
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip() else None
