"""Files that only the runner's user may read, lent to the user of workers while a run lasts.

A checkout under a strict umask and weights that an earlier step saved are often for their owner alone, and workers are
somebody else. For the time of a run such files get the group that workers alone are in; it may read, and nobody else
may more than before. Owners stay who they are, and what was changed is changed back.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exporter.manifest import Entry
from exporter.pipeline.worker import Sandbox

__all__ = ["lent"]

_READ, _ENTER = 4, 1
_GROUP_SHIFT = 3


@contextmanager
def lent(entries: Iterable[Entry], folder: Path, workspace: Path, reader: Sandbox | None) -> Iterator[None]:
    """Let `reader` read what entries are made from, and get to `folder`.

    Links are not followed, since they may lead to what is nobody's business, and ``.git`` stays closed. What can't be
    lent is left as it is: the worker that needs it says so.

    Args:
        folder: The output directory.
        workspace: Folders above it are not touched.
        reader: Who workers are; None: who we are, so that there is nothing to lend.
    """
    with ExitStack() as loans:
        if reader is not None:
            for path, rights in _needs(entries, folder.absolute(), workspace.resolve()).items():
                with contextlib.suppress(OSError):
                    loans.enter_context(_lent_path(path, rights, reader.gid))
        yield


def _needs(entries: Iterable[Entry], folder: Path, workspace: Path) -> dict[Path, int]:
    """Every file and folder that a worker comes by, with the rights that it needs there."""
    needs: dict[Path, int] = {}

    def add(path: Path, rights: int) -> None:
        needs[path] = needs.get(path, 0) | rights
        for above in path.parents:
            if above.is_relative_to(workspace):
                needs[above] = needs.get(above, 0) | _ENTER

    add(folder, _ENTER)
    for entry in entries:
        for path in entry.paths:
            for file, rights in _below(path):
                add(file, rights)
        if entry.custom_config is not None:
            # It may import its neighbours, and to find those takes a look into their folders.
            for file in entry.custom_config.path.parent.rglob("*.py"):
                add(file, _READ)
                add(file.parent, _READ | _ENTER)
    return needs


def _below(path: Path) -> Iterator[tuple[Path, int]]:
    """`path` and all that is in it."""
    if not path.is_dir():
        yield path, _READ
    for root, folders, files in os.walk(path):
        yield Path(root), _READ | _ENTER
        yield from ((Path(root, name), _READ) for name in files)
        folders[:] = [name for name in folders if name != ".git"]


@contextmanager
def _lent_path(path: Path, rights: int, group: int) -> Iterator[None]:
    facts = path.lstat()
    mode = stat.S_IMODE(facts.st_mode)
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)) or mode & rights == rights:
        yield
        return
    # The former group's rights are not the worker's.
    _set(path, group, (mode & ~stat.S_IRWXG) | rights << _GROUP_SHIFT)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # gone meanwhile
            _set(path, facts.st_gid, mode)


def _set(path: Path, group: int, mode: int) -> None:
    # By descriptor, so that what was looked at is what is changed, and never what a link points at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
