"""Models of the Hub: what they take on disk, fetching them with the token of the inputs, dropping them again."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.manifest import Entry
from exporter.pipeline.environment import hub_cache
from exporter.pipeline.fetch import Fetched
from exporter.pipeline.files import remove_tree
from exporter.pipeline.plan import weights_bytes
from exporter.results import ExportError, ModelResult

if TYPE_CHECKING:
    from exporter.hub import Listing

__all__ = ["HubModels", "require_space"]

_RESERVE = 256 << 20  # logs, reports, what a library leaves in a temporary folder
_HALF = ("float16", "bfloat16")


class HubModels:
    """The models of a run that come from the Hub. Its methods may be called from several threads.

    What is fetched is dropped with `drop`, when no entry that is not done needs it.
    """

    def __init__(self, entries: Sequence[Entry], token: str) -> None:
        self._token = token or None
        self._waiting = Counter(entry.model for entry in entries if entry.checkpoint is None)
        self._fetched: dict[str, Path] = {}
        self._listings: dict[tuple[str, str | None], Listing | None] = {}

    def fetch(self, model: str, revision: str, allow_remote_code: bool) -> Fetched:
        """Fetch a model, or find it in the cache; see `exporter.pipeline.fetch.Fetch`."""
        from exporter.hub import HubAccess, fetch

        fetched = fetch(model, revision or None, HubAccess(token=self._token, allow_remote_code=allow_remote_code))
        self._fetched[model] = fetched.path
        return Fetched(fetched.path, fetched.commit, fetched.notes)

    def missing_bytes(self, entry: Entry) -> int:
        """What fetching the model of an entry would take beside what is in the cache; 0 where it can't be known."""
        listing = self._listing(entry)
        return listing.expected_bytes if listing else 0

    def all_bytes(self, entry: Entry) -> int | None:
        """What the model of an entry takes, cached or not; None where it can't be known."""
        listing = self._listing(entry)
        return sum(file.bytes for file in listing.files) if listing else None

    def _listing(self, entry: Entry) -> Listing | None:
        from exporter.hub import HubAccess, look_up

        key = (entry.model, entry.revision)
        if key not in self._listings:
            try:
                self._listings[key] = look_up(entry.model, entry.revision, HubAccess(token=self._token))
            except ExportError:  # it is told when the model's turn comes
                self._listings[key] = None
        return self._listings[key]

    def drop(self, result: ModelResult) -> None:
        """Take the model of a finished entry out of the cache, unless another entry still needs it."""
        if result.model not in self._waiting:
            return
        self._waiting[result.model] -= 1
        path = self._fetched.get(result.model)
        if self._waiting[result.model] or path is None:
            return
        # models--org--name/snapshots/<commit>
        repository = next((each for each in path.parents if each.name.startswith("models--")), None)
        if repository is not None:
            remove_tree(repository)


def require_space(entries: Sequence[Entry], models: HubModels, output: Path, at_once: int | None) -> None:
    """Refuse a run that can't fit on the disk, before it has fetched gigabytes.

    Args:
        output: The output directory, which exists.
        at_once: Downloads that are on the disk at the same time, when each goes as its model is done; None: all stay.

    Raises:
        ExportError: What is needed, what there is, and where (kind ``disk-full``).
    """
    remote = {(entry.model, entry.revision): entry for entry in entries if entry.checkpoint is None}
    downloads = sorted((models.missing_bytes(entry) for entry in remote.values()), reverse=True)
    fetched = sum(downloads[:at_once])
    written = sum(_artifact_bytes(entry, models) for entry in entries)
    cache = _existing(hub_cache(os.environ))
    needs: dict[int, tuple[Path, int, list[str]]] = {}
    for folder, need, what in ((output, written, "artifacts"), (cache, fetched, "downloads")):
        device = folder.stat().st_dev
        first, total, parts = needs.get(device, (folder, 0, []))
        needs[device] = (first, total + need, [*parts, f"{_gb(need)} of {what}"] if need else parts)
    for folder, need, parts in needs.values():
        free = shutil.disk_usage(folder).free
        if need and need + _RESERVE > free:
            raise ExportError(
                "disk-full",
                f"This run takes about {_gb(need + _RESERVE)} on the disk of {folder.resolve()} ({', '.join(parts)}), "
                f"and {_gb(free)} are free.",
                _hint(at_once is None and len(downloads) > 1),
            )


def _hint(dropping_helps: bool) -> str:
    drop = "Set `keep-cache: false`, so that each download goes when its model is done; or s" if dropping_helps else "S"
    return f"{drop}pread the models over several jobs (`command: plan`), free some space, or use a larger runner."


def _artifact_bytes(entry: Entry, models: HubModels) -> int:
    """About what the artifacts of an entry take, and rather less: what is refused could not have worked."""
    weights = weights_bytes(entry.checkpoint) if entry.checkpoint else models.all_bytes(entry) or 0
    onnx = entry.formats.onnx
    parts = [weights // 2 if onnx.dtype in _HALF else weights] if onnx else []
    return sum(parts) + (weights if entry.formats.torchscript else 0)


def _existing(path: Path) -> Path:
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
