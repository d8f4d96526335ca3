"""Files that others may have written: listed, hashed, handed over and removed without following a link."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from exporter.results import ExportError

__all__ = ["file_sha256", "give", "make_folder", "regular_files", "remove_tree", "write_atomically"]

_CHUNK = 1 << 20


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it; anybody may enter what was made."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def give(folder: Path, uid: int, gid: int) -> None:
    """Make `uid` and `gid` the owners of `folder` and everything in it; links themselves, not what they point at."""
    for path in (folder, *_entries(folder)):
        os.chown(path, uid, gid, follow_symlinks=False)


def regular_files(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted.

    Raises:
        ExportError: Something in it is neither a file nor a folder (kind ``unsafe-artifact``). A link would make us
            publish what it points at.
    """
    files = []
    for path in _entries(folder):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            files.append(path)
        elif not stat.S_ISDIR(mode):
            raise ExportError(
                "unsafe-artifact",
                f"The export left {path.relative_to(folder)}, which is a link or a special file, in the artifact.",
                "Model code must write regular files only.",
            )
    return sorted(files)


def file_sha256(path: Path, cancelled: threading.Event | None = None) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InterruptedError: `cancelled` was set meanwhile; large files take a while.
    """
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            if cancelled is not None and cancelled.is_set():
                raise InterruptedError
            digest.update(chunk)
    return digest.hexdigest()


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it is there, even when model code took away its own rights to it."""
    with contextlib.suppress(FileNotFoundError):
        try:
            shutil.rmtree(folder)
        except PermissionError:
            _unlock(folder)
            shutil.rmtree(folder)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old one or the whole new one, also after a crash; one writer at a time."""
    draft = path.with_name(f".{path.name}.draft")
    # What is there is of a run that died, or a link that somebody laid out for us.
    draft.unlink(missing_ok=True)
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _unlock(folder: Path) -> None:
    # Top down: a folder can be listed only once it may be read.
    folder.chmod(0o700)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _unlock(Path(entry.path))


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below `folder`, links not followed."""

    def fail(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(folder, onerror=fail):
        for name in (*folders, *files):
            yield Path(root, name)
