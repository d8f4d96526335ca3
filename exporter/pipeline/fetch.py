"""Where a checkpoint is on this machine: a folder as it is, an id on the Hub as a folder that was fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fetch", "Fetched", "checkpoint_folder", "fetch_from_hub"]


@dataclass(frozen=True)
class Fetched:
    """A model of the Hub on this machine.

    Attributes:
        path: Folder with the files that are needed.
        commit: What the revision resolved to.
    """

    path: Path
    commit: str


Fetch = Callable[[str, str], Fetched]
"""Model id and revision (empty: the default branch) to folder and commit."""


def fetch_from_hub(model: str, revision: str) -> Fetched:
    """Fetch a model from the Hub, or find it in the cache.

    Raises:
        ExportError: Not there, not allowed, or not reachable.
    """
    # Only now: a run without models from the Hub needs no client for it.
    from exporter import hub

    fetched = hub.fetch(model, revision or None)
    return Fetched(Path(fetched.path), fetched.commit)


def checkpoint_folder(model: str, revision: str) -> tuple[Path, str]:
    """The folder of a model that is named by path or by id, and its commit (empty for a folder).

    Raises:
        ExportError: From the Hub.
    """
    if Path(model).is_dir():
        return Path(model).resolve(), ""
    fetched = fetch_from_hub(model, revision)
    return fetched.path, fetched.commit
