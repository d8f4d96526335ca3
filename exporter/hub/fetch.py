"""Look a model up on the Hub, choose what is needed of it, and fetch that."""

from __future__ import annotations

import fnmatch
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import tqdm as hub_tqdm

from exporter import __version__
from exporter.checkpoint_files import (
    PREPROCESSOR_FILES,
    choose_weights,
    read_config,
    refuse_missing_shards,
    shard_names,
)
from exporter.hub.errors import explain, is_passing, seconds_asked
from exporter.results import ExportError

__all__ = ["Fetched", "HubAccess", "Listing", "RemoteFile", "fetch", "look_up"]

_COMMIT = re.compile(r"[0-9a-f]{40}")

_NOT_IN_REFS = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|^$")

_MODEL_FILES = ("generation_config.json", "adapter_config.json", "modules.json")

_TRIES = 3
_LONGEST_WAIT = 30.0  # seconds; a server that asks for more is reported, not waited for

# What the cache and the file system need beside the files themselves.
_SPARE_BYTES = 64 * 1024 * 1024

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class HubAccess:
    """How the Hub is reached; None means what the environment says.

    Attributes:
        token: Sent to the Hub only, never shown; None: ``HF_TOKEN``, or the file that ``hf auth login`` wrote.
        endpoint: Base address of the Hub; None: ``HF_ENDPOINT``.
        cache: Folder of the cache; None: ``HF_HUB_CACHE``, by default in ``HF_HOME``.
        allow_remote_code: Whether Python files are fetched, too; they are at a full commit hash only.
    """

    token: str | None = None
    endpoint: str | None = None
    cache: Path | None = None
    allow_remote_code: bool = False

    def __repr__(self) -> str:
        token = "None" if self.token is None else "'***'"
        return f"HubAccess(token={token}, endpoint={self.endpoint!r}, cache={self.cache!r})"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; `bytes` is its size, 0 where the Hub doesn't tell; `cached`: it is here already."""

    name: str
    bytes: int
    cached: bool


@dataclass(frozen=True)
class Listing:
    """What will be fetched of a repository.

    Attributes:
        model_id: The repository.
        revision: As it was asked for; empty for the default branch.
        commit: Full hash that the revision resolved to.
        files: What is needed, the cached ones included.
    """

    model_id: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def expected_bytes(self) -> int:
        """What the download will take on disk: the sizes of the files that are not in the cache."""
        return sum(file.bytes for file in self.files if not file.cached)


@dataclass(frozen=True)
class Fetched:
    """A checkpoint from the Hub as a folder on this machine.

    Attributes:
        path: The folder.
        commit: Full hash of the commit it holds.
        bytes: What was downloaded, 0 when everything was in the cache.
        notes: What a reader of the report should know.
    """

    path: Path
    commit: str
    bytes: int = 0
    notes: tuple[str, ...] = ()


def fetch(model_id: str, revision: str | None = None, access: HubAccess | None = None) -> Fetched:
    """Fetch the files that loading `model_id` needs.

    Args:
        model_id: ``org/name``, or ``name`` for the oldest models.
        revision: Branch, tag or commit; None: the default branch.
        access: How the Hub is reached.

    Raises:
        ExportError: Why it could not be fetched; each cause has a `kind` of its own.
    """
    access = access or HubAccess()
    if constants.is_offline_mode():
        _refuse_strange_revision(revision)
        return _from_cache(model_id, revision, access)
    listing = look_up(model_id, revision, access)
    _refuse_full_disk(listing, access)
    for file in listing.files:
        path = _download(listing.model_id, file.name, listing.commit, access)
    return Fetched(path.parents[file.name.count("/")], listing.commit, listing.expected_bytes)


def look_up(model_id: str, revision: str | None = None, access: HubAccess | None = None) -> Listing:
    """Resolve `revision` to a commit and choose the files that loading needs.

    Only ``config.json`` and the index of sharded weights are downloaded, since they say what the rest is.

    Raises:
        ExportError: As `fetch`.
    """
    access = access or HubAccess()
    _refuse_strange_revision(revision)
    info = _ask(
        lambda: _api(access).model_info(
            model_id, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        ),
        model_id,
        revision,
        access,
    )
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    commit = str(info.sha)
    chosen = _choose(model_id, commit, sizes, access)
    _remember(model_id, revision or constants.DEFAULT_REVISION, commit, access)
    if access.allow_remote_code and revision is not None and _COMMIT.fullmatch(revision):
        chosen += [name for name in sizes if name.endswith(".py")]
    files = tuple(
        RemoteFile(name, sizes[name], _is_cached(model_id, name, commit, access)) for name in dict.fromkeys(chosen)
    )
    return Listing(model_id, revision or "", commit, files)


def _choose(model_id: str, commit: str, sizes: dict[str, int], access: HubAccess) -> list[str]:
    if "config.json" not in sizes:
        raise ExportError(
            "no-config",
            f"There is no config.json in {model_id}, so it is not a checkpoint that transformers can load.",
            "Check the id; a repository may hold its model in another format or in a folder.",
        )
    config = read_config(_download(model_id, "config.json", commit, access).parent)
    _, weights = choose_weights(sizes, config, model_id)
    shards: tuple[str, ...] = (weights,)
    if weights.endswith(".index.json"):
        shards = (weights, *shard_names(_download(model_id, weights, commit, access)))
        refuse_missing_shards(weights, shards, sizes, model_id)
    wanted = (*PREPROCESSOR_FILES, *_MODEL_FILES)
    others = [name for name in sizes if "/" not in name and any(fnmatch.fnmatchcase(name, each) for each in wanted)]
    return ["config.json", *sorted(others), *shards]


def _download(model_id: str, name: str, commit: str, access: HubAccess) -> Path:
    def download() -> Path:
        file = _api(access).hf_hub_download(
            model_id, name, revision=commit, cache_dir=access.cache, tqdm_class=_NoProgressBar
        )
        return Path(file)

    return _ask(download, model_id, commit, access)


def _ask(question: Callable[[], Answer], model_id: str, revision: str | None, access: HubAccess) -> Answer:
    """The answer to `question`, which talks to the Hub; what may pass is asked again, a few times and not for long."""
    wait = 1.0
    for left in reversed(range(_TRIES)):
        try:
            return question()
        except Exception as error:  # whose error it is, `explain` tells
            asked = seconds_asked(error)
            if left and is_passing(error) and (asked or 0) <= _LONGEST_WAIT:
                time.sleep(asked if asked is not None else wait)
                wait *= 2
                continue
            raise explain(error, model_id, revision, access.token) from error
    raise AssertionError("the last try returns or raises")


def _refuse_strange_revision(revision: str | None) -> None:
    # A revision becomes part of a path in the cache; git allows none of this in a name either (git-check-ref-format).
    if revision is not None and (".." in revision or revision.startswith("/") or _NOT_IN_REFS.search(revision)):
        raise ExportError(
            "bad-revision", f"{revision!r} can't be the name of a branch, a tag or a commit.", "Correct `revision:`."
        )


def _remember(model_id: str, revision: str, commit: str, access: HubAccess) -> None:
    """Note in the cache what a branch or tag resolved to, as huggingface_hub does, so that it is found offline."""
    if revision == commit:
        return
    refs = Path(access.cache or constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model") / "refs"
    file = refs / revision
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(commit)


def _from_cache(model_id: str, revision: str | None, access: HubAccess) -> Fetched:
    found = try_to_load_from_cache(model_id, "config.json", cache_dir=access.cache, revision=revision)
    if not isinstance(found, str):
        asked = f" at {revision}" if revision else ""
        raise ExportError(
            "hub-offline",
            f"{model_id}{asked} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it.",
            "Unset HF_HUB_OFFLINE, fill the cache in HF_HOME beforehand, or write the path of a local folder.",
        )
    path = Path(found).parent
    return Fetched(path, path.name, notes=("Offline: taken from the cache as it is.",))


def _refuse_full_disk(listing: Listing, access: HubAccess) -> None:
    folder = Path(access.cache or constants.HF_HUB_CACHE).absolute()
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    if listing.expected_bytes + _SPARE_BYTES > free:
        raise ExportError(
            "disk-full",
            f"{listing.model_id} takes {listing.expected_bytes:,} bytes, but only {free:,} are free in {folder}.",
            "Free some space, or set HF_HOME to a folder on a larger disk.",
        )


def _is_cached(model_id: str, name: str, commit: str, access: HubAccess) -> bool:
    return isinstance(try_to_load_from_cache(model_id, name, cache_dir=access.cache, revision=commit), str)


def _api(access: HubAccess) -> HfApi:
    return HfApi(
        endpoint=access.endpoint, token=access.token, library_name="export-action", library_version=__version__
    )


class _NoProgressBar(hub_tqdm):  # type: ignore[misc]
    """Counts in silence: a log of progress bars is unreadable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})
