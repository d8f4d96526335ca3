"""Paths and Hub ids of a manifest: what a value points at, and that it stays where it may.

A path is relative to the manifest's folder and stays below the root of the git checkout, or below that folder where
there is no checkout. Symbolic links are followed before judging. Nothing below ``.git`` is reachable.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from exporter.manifest.errors import quoted
from exporter.manifest.words import nearest_word

__all__ = ["PathError", "Tree", "is_hub_id", "kind_of", "names_of"]

_LONGEST_PATH = 1000
_LONGEST_COMPONENT = 255
_MOST_ENTRIES = 10_000

# What the Hub accepts for one half of "org/name".
_HUB_WORD = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_HUB_URL = re.compile(r"https?://(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)[^\s]*")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class PathError(ValueError):
    """A path that can't be used; the message says why and what to write."""


def is_hub_id(value: str) -> bool:
    """Whether a value has the form of an id on the Hub: ``name`` or ``org/name``."""
    words = value.split("/")
    return len(words) <= 2 and all(_HUB_WORD.fullmatch(word) for word in words) and not value.endswith(".git")


def kind_of(path: Path) -> str:
    """What is there: ``file``, ``folder``, ``special`` (a device, a pipe ...) or ``nothing`` that we can reach."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "nothing"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"


@dataclass(frozen=True)
class Tree:
    """The part of the file system that a manifest may speak of.

    Attributes:
        folder: The manifest's folder; paths are relative to it. Absolute, without symbolic links.
        root: The folder that no path may leave. Likewise.
    """

    folder: Path
    root: Path

    @classmethod
    def around(cls, folder: Path) -> Tree:
        """The tree of a manifest in `folder`: up to the nearest ``.git``, else the folder itself."""
        real = Path(os.path.realpath(folder))
        root = next((above for above in (real, *real.parents) if kind_of(above / ".git") != "nothing"), real)
        return cls(folder=real, root=root)

    def contains(self, path: Path) -> bool:
        """Whether a path, after following symbolic links, is in the tree and not part of ``.git``."""
        real = Path(os.path.realpath(path))
        return real.is_relative_to(self.root) and ".git" not in real.relative_to(self.root).parts

    def name_of(self, manifest: Path) -> str:
        """A manifest of this folder by its path in the git checkout; as the caller named it where there is none."""
        if kind_of(self.root / ".git") == "nothing":
            return manifest.as_posix()
        return (self.folder / manifest.name).relative_to(self.root).as_posix()

    def checkpoint(self, value: str, *, revision: bool) -> Path | None:
        """The folder that a `model:` names; None when it is an id on the Hub.

        A value is a path when it looks like one (``./``, ``../``, ``.``, absolute, more than one slash) or when a
        folder of that name is there; `revision` says that a revision is given, which only the Hub has.

        Raises:
            PathError: Neither a folder in the tree nor the form of an id.
        """
        url = _HUB_URL.fullmatch(value)
        if url:
            raise PathError(f"expected a folder or an id on the Hub, got a URL; did you mean {quoted(url.group(1))}?")
        if not _looks_like_path(value):
            here = self.folder / value if _fits(value) else None
            if here is None or kind_of(here) == "nothing":
                self._refuse_misspelt_folder(value, revision=revision)
                if is_hub_id(value):
                    return None
                raise PathError(
                    f"{quoted(value)} is neither a folder here nor an id on the Hub ('name' or 'org/name')"
                    + self._near(value, "folder")
                )
        path = self._inside(value)
        self._expect(path, value, "folder")
        self._refuse_links_out(path, value)
        if revision:
            raise PathError(f"{quoted(value)} is a folder, and a folder has no 'revision'; leave 'revision' out")
        return path

    def file(self, value: str) -> Path:
        """The file of a path.

        Raises:
            PathError: It is not there, no file, or outside the tree.
        """
        path = self._inside(value)
        self._expect(path, value, "file")
        return path

    def existing(self, value: str) -> Path:
        """The file or folder of a path, with nothing in the folder that leads out of the tree.

        Raises:
            PathError: It is not there, or leads outside the tree.
        """
        path = self._inside(value)
        self._expect(path, value, "file or folder")
        if kind_of(path) == "folder":
            self._refuse_links_out(path, value)
        return path

    def _inside(self, value: str) -> Path:
        if not _fits(value):
            raise PathError(f"{quoted(value)} can't be a path: too long, or it holds unprintable characters")
        if value.startswith("~"):
            raise PathError(f"{quoted(value)}: '~' means nothing here; write a path relative to the manifest's folder")
        if "\\" in value:
            raise PathError(f"{quoted(value)}: expected '/' between folders; did you mean {_forward(value)}?")
        if value.startswith("/") or _DRIVE.match(value):
            raise PathError(f"{quoted(value)} is an absolute path; write it relative to the manifest's folder")
        path = Path(os.path.normpath(self.folder / value))
        if not path.is_relative_to(self.root):
            raise PathError(f"{quoted(value)} leaves {self._border()}")
        if ".git" in path.relative_to(self.root).parts:
            raise PathError(f"{quoted(value)} leads into '.git', which holds nothing for a manifest")
        if not self.contains(self.folder / value):
            raise PathError(f"{quoted(value)} is, or goes through, a symbolic link that leaves {self._border()}")
        return Path(os.path.realpath(self.folder / value))

    def _border(self) -> str:
        return "the manifest's folder" if self.root == self.folder else "the repository"

    def _expect(self, path: Path, value: str, expected: str) -> None:
        kind = kind_of(path)
        if kind == "nothing":
            raise PathError(f"there is no {expected} {quoted(value)}{self._near(value, expected)}")
        if kind not in expected.split(" or "):
            raise PathError(f"{quoted(value)} is a {'device or pipe' if kind == 'special' else kind}, not a {expected}")

    def _refuse_links_out(self, folder: Path, value: str) -> None:
        for entry in _entries(folder):
            if entry.is_symlink() and not self.contains(Path(entry.path)):
                inside = f"{value.rstrip('/')}/{entry.name}"
                raise PathError(f"{quoted(inside)} is a symbolic link that leaves {self._border()}")

    def _refuse_misspelt_folder(self, value: str, *, revision: bool) -> None:
        """``models/brt`` has the form of an id; with a folder ``models`` that holds ``bert`` it is a slip."""
        parent, slash, name = value.partition("/")
        if revision or not slash or not _fits(value) or kind_of(self.folder / parent) != "folder":
            return
        near = nearest_word(name, names_of(self.folder / parent, "folder"))
        if near is not None:
            raise PathError(
                f"there is no folder {quoted(value)}; did you mean {quoted(f'{parent}/{near}')}? "
                "(A model of that id on the Hub: add its 'revision'.)"
            )

    def _near(self, value: str, expected: str) -> str:
        """``"; did you mean ...?"``: the first component that is missing, replaced by its nearest sibling."""
        if not _fits(value):
            return ""
        parts = PurePosixPath(value).parts
        present = self.folder
        for position, part in enumerate(parts):
            if kind_of(present / part) != "nothing":
                present = present / part
                continue
            if not self.contains(present):
                return ""
            kind = expected if position == len(parts) - 1 else "folder"
            near = nearest_word(part, names_of(present, kind))
            if near is None:
                return ""
            corrected = str(PurePosixPath(*parts[:position], near, *parts[position + 1 :]))
            return f"; did you mean {quoted(('./' if value.startswith('./') else '') + corrected)}?"
        return ""


def _looks_like_path(value: str) -> bool:
    return (
        value in (".", "..")
        or value.startswith(("./", "../", "/", "~"))
        or value.endswith("/")
        or value.count("/") > 1
        or "\\" in value
        or _DRIVE.match(value) is not None
    )


def _fits(value: str) -> bool:
    """Whether the operating system can be asked about it."""
    return (
        0 < len(value) <= _LONGEST_PATH
        and value.isprintable()
        and all(len(part.encode()) <= _LONGEST_COMPONENT for part in value.split("/"))
    )


def _forward(value: str) -> str:
    return quoted(value.replace("\\", "/"))


def names_of(folder: Path, kind: str) -> list[str]:
    """Names of what a folder holds of a kind (``file``, ``folder``, or ``file or folder``), but for hidden ones."""
    wanted = kind.split(" or ")
    visible = [entry for entry in _entries(folder) if not entry.name.startswith(".")]
    return [entry.name for entry in visible if kind_of(Path(entry.path)) in wanted]


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from islice(entries, _MOST_ENTRIES)
    except OSError:
        return
