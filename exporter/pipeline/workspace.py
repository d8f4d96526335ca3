"""The output directory: one run at a time, artifacts put in place when they are complete, nothing of others touched.

::

    DIR/export-report.json
    DIR/<name>/log.txt               everything the model's workers printed
    DIR/<name>/<format>/             an artifact that passed (or that can't be judged here)
    DIR/<name>/<format>.failed/      an artifact that this run made and that failed, to look at
    DIR/<name>/<format>.previous/    what an earlier run had put in place of one that has failed since
    DIR/.export-action/              lock, list of what we made, and temporary folders of the run

So whatever is in ``<format>/`` after a run was made by it, or was not part of it (other models, other formats, a run
that was interrupted before it got there). A folder is replaced by renaming: the old one aside, the new one in. If the
run dies between the two, the next one puts the old one back. Files in these folders that no run made stay in them.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from exporter.pipeline.artifact import ARTIFACT_FILE
from exporter.pipeline.files import (
    file_sha256,
    give,
    make_folder,
    regular_files,
    remove_tree,
    write_atomically,
)
from exporter.results import ExportError, Report, SavedFile

__all__ = ["LOG_FILE", "REPORT_FILE", "Workspace", "open_workspace"]

REPORT_FILE = "export-report.json"
LOG_FILE = "log.txt"

_OWN_FOLDER = ".export-action"
_INVENTORY_FILE = "inventory.json"
_RUN_PREFIX = "run-"
_FAILED = ".failed"
_PREVIOUS = ".previous"


@contextmanager
def open_workspace(directory: Path) -> Iterator[Workspace]:
    """The workspace in `directory`, which is made if it is missing, locked against other runs until the end.

    Raises:
        ExportError: Another run uses it (kind ``output-locked``), or it can't be used (``output-directory``).
    """
    directory = directory.absolute()
    own = directory / _OWN_FOLDER
    _refuse_link(own)
    try:
        make_folder(own)
        lock = FileLock(own / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ExportError(
            "output-locked",
            f"Another run is writing to {directory}.",
            "Wait until it is done, or choose another output directory.",
        ) from None
    except OSError as error:
        raise ExportError(
            "output-directory",
            f"The output directory {directory} can't be used: {error.strerror}.",
            "Choose a folder that can be written to.",
        ) from error
    try:
        workspace = Workspace(directory)
        try:
            yield workspace
        finally:
            workspace.clean()
    finally:
        lock.release()


class Workspace:
    """An output directory that this run alone writes to. Different threads may work on different models."""

    def __init__(self, directory: Path) -> None:
        """Clean up after runs that died, and make the folder of this one. The caller holds the lock."""
        self.directory = directory
        self._own = directory / _OWN_FOLDER
        self._lock = threading.Lock()
        self._inventory = self._read_inventory()
        for leftover in sorted(self._own.glob(f"{_RUN_PREFIX}*")):
            self._recover(leftover)
        self._run = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=self._own))
        # Workers of another user pass through it to their own folders.
        self._run.chmod(0o755)
        self.scratch = self._run / "scratch"
        make_folder(self.scratch)

    def clean(self) -> None:
        """Remove everything temporary."""
        remove_tree(self._run)

    def log(self, name: str) -> Path:
        """Where the log of a model is."""
        return self._folder(name, LOG_FILE)

    def start_log(self, name: str) -> None:
        """Make the log of a model, empty; whatever an earlier run wrote there is gone."""
        path = self.log(name)
        make_folder(path.parent)
        path.unlink(missing_ok=True)
        path.touch()

    def stage(self, name: str, label: str) -> Path:
        """A new empty folder on the same file system, for an artifact in the making."""
        folder = self._run / "staged" / name / label
        remove_tree(folder)
        make_folder(folder)
        return folder

    def discard(self, staged: Path) -> None:
        """Drop an artifact that is not going to be placed."""
        remove_tree(staged)

    def place(self, staged: Path, name: str, format_name: str, cancelled: threading.Event) -> tuple[SavedFile, ...]:
        """Put a complete artifact where a passing one belongs, and drop what earlier failures left.

        Returns:
            Its files, with sizes and hashes.

        Raises:
            ExportError: It holds something else than files (kind ``unsafe-artifact``), or there is a file in its place.
            InterruptedError: `cancelled` was set before the folder was in place.
        """
        files = self._replace(staged, name, format_name, cancelled)
        for suffix in (_FAILED, _PREVIOUS):
            self._remove(name, format_name + suffix)
        return files

    def place_failed(
        self, staged: Path, name: str, format_name: str, cancelled: threading.Event
    ) -> tuple[SavedFile, ...]:
        """Put an artifact that failed beside the place of a passing one, to look at; arguments as for `place`."""
        return self._replace(staged, name, format_name + _FAILED, cancelled)

    def set_aside(self, name: str, format_name: str) -> None:
        """Take an earlier run's artifact from the place of a passing one, since this run's did not pass.

        What an earlier run left as failed is dropped.
        """
        self._remove(name, format_name + _FAILED)
        place = self._folder(name, format_name)
        previous = self._folder(name, format_name + _PREVIOUS)
        with self._lock:
            made = self._made_by_us(place)
            if not made:
                return
            self._remove_unlocked(name, format_name + _PREVIOUS)
            for path in sorted(made):
                target = previous / path
                make_folder(target.parent)
                if not target.exists():
                    (place / path).rename(target)
            _remove_empty_folders(place)
            self._inventory[_key(name, format_name + _PREVIOUS)] = [path.as_posix() for path in sorted(made)]
            self._inventory.pop(_key(name, format_name), None)
            self._write_inventory()

    def write_report(self, report: Report) -> None:
        """Write ``export-report.json``; a reader sees the old one or the whole new one."""
        write_atomically(self.directory / REPORT_FILE, report.to_json())

    def _folder(self, name: str, folder: str) -> Path:
        path = self.directory / name / folder
        if path.parent.parent != self.directory or path.parent.name in ("", "..", _OWN_FOLDER):
            raise ExportError("output-directory", f"{name!r} is no name for a folder.")
        _refuse_link(path.parent)
        return path

    def _replace(self, staged: Path, name: str, folder: str, cancelled: threading.Event) -> tuple[SavedFile, ...]:
        place = self._folder(name, folder)
        if os.geteuid() == 0:
            # Before looking into it: whoever made it can no longer change it.
            owner = self.directory.stat()
            give(staged, owner.st_uid, owner.st_gid)
        made = regular_files(staged)
        files = tuple(
            SavedFile(
                path=(place / path.relative_to(staged)).relative_to(self.directory).as_posix(),
                bytes=path.stat().st_size,
                sha256=file_sha256(path, cancelled),
            )
            for path in made
        )
        if cancelled.is_set():
            raise InterruptedError
        with self._lock:
            self._swap(staged, place, _key(name, folder), [path.relative_to(staged).as_posix() for path in made])
        return files

    def _swap(self, staged: Path, place: Path, key: str, made: list[str]) -> None:
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise ExportError(
                "output-directory",
                f"{place} is a link or a file, and a folder belongs there.",
                "Move it away, or choose another output directory.",
            )
        earlier = [path.as_posix() for path in self._made_by_us(place)]
        # Both lists, until the change is complete: then a run that clears up after this one knows what is whose.
        self._inventory[key] = sorted({*earlier, *made})
        self._write_inventory()
        aside = self._run / "aside" / key
        make_folder(aside.parent)
        make_folder(place.parent)
        if place.exists():
            place.rename(aside)
        staged.rename(place)
        self._restore_foreign_files(aside, place, key)
        self._inventory[key] = made
        self._write_inventory()
        remove_tree(aside)

    def _remove(self, name: str, folder: str) -> None:
        with self._lock:
            self._remove_unlocked(name, folder)

    def _remove_unlocked(self, name: str, folder: str) -> None:
        place = self._folder(name, folder)
        for path in self._made_by_us(place):
            (place / path).unlink(missing_ok=True)
        _remove_empty_folders(place)
        if self._inventory.pop(_key(name, folder), None) is not None:
            self._write_inventory()

    def _made_by_us(self, place: Path) -> set[Path]:
        """Files below `place` that a run made, relative to it."""
        if place.is_symlink() or not place.is_dir():
            return set()
        there = {path.relative_to(place) for path in place.rglob("*") if path.is_symlink() or not path.is_dir()}
        listed = self._inventory.get(place.relative_to(self.directory).as_posix())
        if listed is not None:
            return there & {Path(path) for path in listed}
        # Our own folder may be gone: uploads leave hidden ones out. Then an artifact is known by what it says it is.
        return there if (place / ARTIFACT_FILE).is_file() else set()

    def _restore_foreign_files(self, aside: Path, place: Path, key: str) -> None:
        if not aside.is_dir():
            return
        ours = {Path(path) for path in self._inventory[key]}
        for path in [path for path in aside.rglob("*") if path.is_symlink() or not path.is_dir()]:
            relative = path.relative_to(aside)
            if relative not in ours and not os.path.lexists(place / relative):
                make_folder((place / relative).parent)
                path.rename(place / relative)

    def _recover(self, leftover: Path) -> None:
        """Put back what a run that died had put aside, and remove the rest of it."""
        for name in _folders(leftover / "aside"):
            for aside in _folders(name):
                key = _key(name.name, aside.name)
                place = self._folder(name.name, aside.name)
                if os.path.lexists(place):
                    self._inventory.setdefault(key, [])
                    self._restore_foreign_files(aside, place, key)
                else:
                    make_folder(place.parent)
                    aside.rename(place)
        remove_tree(leftover)

    def _read_inventory(self) -> dict[str, list[str]]:
        try:
            inventory = json.loads((self._own / _INVENTORY_FILE).read_bytes())
            return {str(key): [str(path) for path in paths] for key, paths in inventory.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError) as error:
            raise ExportError(
                "output-directory",
                f"{self._own / _INVENTORY_FILE} is damaged: {error}.",
                f"Remove the folder {self._own}.",
            ) from error

    def _write_inventory(self) -> None:
        write_atomically(self._own / _INVENTORY_FILE, json.dumps(self._inventory, indent=1, sort_keys=True) + "\n")


def _refuse_link(folder: Path) -> None:
    """A repository may bring an output directory of its own; what we write stays in it."""
    if folder.is_symlink():
        raise ExportError(
            "output-directory",
            f"{folder} is a link, and a folder belongs there.",
            "Remove it, or choose another output directory.",
        )


def _key(name: str, folder: str) -> str:
    return f"{name}/{folder}"


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _remove_empty_folders(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in folder.iterdir():
        _remove_empty_folders(entry)
    if not any(folder.iterdir()):
        folder.rmdir()
