"""Where a checkpoint is on this machine: a folder as it is, an id on the Hub as a folder that was fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Fetch", "Fetched", "checkpoint_folder", "fetch_from_hub"]


@dataclass(frozen=True)
class Fetched:
    """A model of the Hub on this machine.

    Attributes:
        path: Folder with the files that are needed.
        commit: What the revision resolved to.
        notes: What a person should know about it.
    """

    path: Path
    commit: str
    notes: tuple[str, ...] = ()


class Fetch(Protocol):
    """Brings a model here; raises `ExportError` when it can't."""

    def __call__(self, model: str, revision: str, allow_remote_code: bool) -> Fetched:
        """Folder and commit of a model.

        Args:
            model: Id on the Hub.
            revision: Branch, tag or commit; empty for the default branch.
            allow_remote_code: Whether Python files are fetched as well.
        """
        ...


def fetch_from_hub(model: str, revision: str, allow_remote_code: bool) -> Fetched:
    """Fetch a model from the Hub, or find it in the cache.

    Raises:
        ExportError: Not there, not allowed, or not reachable.
    """
    # Only now: a run without models from the Hub needs no client for it.
    from exporter.hub import HubAccess, fetch

    fetched = fetch(model, revision or None, HubAccess(allow_remote_code=allow_remote_code))
    return Fetched(fetched.path, fetched.commit, fetched.notes)


def checkpoint_folder(model: str, revision: str) -> tuple[Path, str]:
    """The folder of a model that is named by path or by id, and its commit (empty for a folder).

    Raises:
        ExportError: From the Hub.
    """
    if Path(model).is_dir():
        return Path(model).resolve(), ""
    fetched = fetch_from_hub(model, revision, allow_remote_code=False)
    return fetched.path, fetched.commit
