"""Files go back to whom the workspace belongs: what root leaves behind, later steps can't change or delete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from exporter.pipeline.files import give, make_folder

__all__ = ["hand_back", "own_folder"]


def own_folder(folder: Path, workspace: Path) -> None:
    """Make `folder` and what is missing above it, for the owner of `workspace`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    if os.geteuid() == 0:
        owner = workspace.stat()
        for path in missing:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def hand_back(folders: Iterable[Path], alone: Iterable[Path], workspace: Path) -> None:
    """Give folders to the owner of `workspace`. Does nothing unless we are root.

    Args:
        folders: With all that is in them.
        alone: Without; only those that belong to root.
    """
    if os.geteuid() != 0:
        return
    owner = workspace.stat()
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            give(folder, owner.st_uid, owner.st_gid)
    for folder in alone:
        if folder.is_dir() and folder.lstat().st_uid == 0:
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
