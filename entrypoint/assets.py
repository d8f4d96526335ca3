"""Artifacts as files to publish or to check: every byte is held against the hash in the report on the way."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrypoint.reports import Placed
from exporter.results import ExportError, FormatResult, SavedFile, Status

__all__ = ["Difference", "Packed", "compare", "pack"]

_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold


@dataclass(frozen=True)
class Difference:
    """A file that is not what the report says, and how."""

    path: Path
    message: str


@dataclass(frozen=True)
class Packed:
    """A zip file with an artifact, and what to call it: ``<name>-<format>.zip``, foreign text."""

    path: Path
    title: str


def compare(models: Sequence[Placed]) -> tuple[int, tuple[Difference, ...]]:
    """Hold the files of all artifacts against the report: how many there are, and those that differ."""
    count, differences = 0, []
    for placed in models:
        for result in placed.model.formats:
            for file in result.files:
                count += 1
                message = _difference(placed.folder, file)
                if message:
                    differences.append(Difference(placed.folder / file.path, message))
    return count, tuple(differences)


def pack(models: Sequence[Placed], folder: Path) -> list[Packed]:
    """Zip files in `folder`, one for each artifact that passed.

    The same artifact gives the same bytes every time, so that what is published already is known again. Nothing is
    compressed: weights hardly shrink.

    Raises:
        ExportError: A file is missing, or is not what was judged (kind ``artifact-changed``).
    """
    packed: list[Packed] = []
    for placed in models:
        for result in placed.model.formats:
            if result.status is Status.PASSED and result.files:
                # Numbers, as names of a foreign report may lead anywhere.
                made = Packed(folder / f"{len(packed)}.zip", f"{placed.model.name}-{result.format}.zip")
                _pack(made.path, placed.folder, result)
                packed.append(made)
    return packed


def _pack(target: Path, folder: Path, result: FormatResult) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(result.files, key=lambda each: each.path):
            # Below the folder of the artifact: <name>/<format>/<file>.
            member = zipfile.ZipInfo("/".join(Path(file.path).parts[2:]) or Path(file.path).name, _EPOCH)
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as stream:
                message = _difference(folder, file, stream.write)
            if message:
                raise ExportError(
                    "artifact-changed",
                    f"{folder / file.path} {message}, so it is not what was judged.",
                    "Publish what the run wrote, unchanged; export again where files are missing.",
                )


def _difference(folder: Path, file: SavedFile, write: Callable[[bytes], object] | None = None) -> str:
    """How a file differs from what the report says; its bytes go to `write` meanwhile."""
    relative = Path(file.path)
    if relative.is_absolute() or ".." in relative.parts:
        return "has a path that leaves its folder"
    path = folder / relative
    digest, size = hashlib.sha256(), 0
    try:
        if path.resolve() != folder.resolve() / relative:
            return "is, or goes through, a symbolic link"
        for chunk in _chunks(path):
            digest.update(chunk)
            size += len(chunk)
            if write is not None:
                write(chunk)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if size != file.bytes:
        return f"has {size:,} bytes instead of {file.bytes:,}"
    return "" if digest.hexdigest() == file.sha256 else "has other content than the report says (its SHA-256 differs)"


def _chunks(path: Path) -> Iterator[bytes]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
