"""Samples: real inputs that a person keeps beside the manifest, for the comparison to run on as well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exporter.manifest.errors import quoted

__all__ = ["MOST_SAMPLES", "Samples", "SamplesError", "read_samples"]

MOST_SAMPLES = 32
_EXAMPLE = '{"text": "..."}'
_MAX_BYTES = 1024 * 1024
_IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SOUNDS = frozenset({".wav"})


class SamplesError(ValueError):
    """Samples that can't be used; the message says which and why."""


@dataclass(frozen=True)
class Samples:
    """What `samples:` points at; one of the three tuples is filled, by `kind`.

    Attributes:
        path: File or folder, absolute.
        kind: ``texts``, ``fields``, ``images`` or ``sounds``.
        texts: For ``texts``, one text a sample.
        fields: For ``fields``, the preprocessor's arguments by name, as read from JSON.
        files: For ``images`` and ``sounds``, a file a sample, sorted by name; not opened yet.
    """

    path: Path
    kind: Literal["texts", "fields", "images", "sounds"]
    texts: tuple[str, ...] = ()
    fields: tuple[dict[str, Any], ...] = ()
    files: tuple[Path, ...] = ()


def read_samples(path: Path) -> Samples:
    """Samples from a `.txt`, a `.jsonl` or a folder of images or wav files.

    Raises:
        SamplesError: None, more than 32, of mixed or unknown kind, or unreadable.
    """
    try:
        samples = _from_folder(path) if path.is_dir() else _from_file(path)
    except OSError as error:
        raise SamplesError(f"{quoted(path.name)} can't be read: {error.strerror}") from None
    count = len(samples.texts) + len(samples.fields) + len(samples.files)
    if not 1 <= count <= MOST_SAMPLES:
        raise SamplesError(f"{quoted(path.name)} holds {count} samples; expected 1 to {MOST_SAMPLES}")
    return samples


def _from_folder(folder: Path) -> Samples:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    kinds: set[Literal["images", "sounds"]] = set()
    for path in files:
        suffix = path.suffix.lower()
        if not path.is_file() or suffix not in _IMAGES | _SOUNDS:
            raise SamplesError(f"{quoted(f'{folder.name}/{path.name}')} is neither an image nor a wav file")
        kinds.add("images" if suffix in _IMAGES else "sounds")
    if len(kinds) > 1:
        raise SamplesError(f"{quoted(folder.name)} holds images and wav files; expected one kind")
    return Samples(path=folder, kind=kinds.pop() if kinds else "images", files=tuple(files))


def _from_file(path: Path) -> Samples:
    if path.suffix not in (".txt", ".jsonl"):
        raise SamplesError(f"{quoted(path.name)}: expected a .txt, a .jsonl, or a folder of images or wav files")
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise SamplesError(f"{quoted(path.name)} is larger than {_MAX_BYTES:,} bytes")
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise SamplesError(f"{quoted(path.name)} is not UTF-8") from None
    written = [(number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip()]
    if path.suffix == ".txt":
        return Samples(path=path, kind="texts", texts=tuple(line for _, line in written))
    fields = tuple(_fields(line, f"{path.name}:{number}") for number, line in written[: MOST_SAMPLES + 1])
    return Samples(path=path, kind="fields", fields=fields)


def _fields(line: str, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise SamplesError(f"{place} is not JSON") from None
    if not isinstance(fields, dict) or not fields:
        raise SamplesError(f'{place}: expected an object with the preprocessor\'s arguments, such as {{"text": "..."}}')
    return fields
