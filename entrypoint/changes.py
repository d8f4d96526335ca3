"""What a pull request changes: the entries to export again, and those that stay as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrypoint.git import Git
from exporter.manifest import Entry, Manifest, ManifestErrors, WrittenEntry, read_entries
from exporter.pipeline import plan
from exporter.results import Report, Status, Unchanged

__all__ = ["Selection", "changed_by", "last_verdicts"]


@dataclass(frozen=True)
class Selection:
    """Entries of a manifest, by whether they are to be exported.

    Attributes:
        base: The commit they were compared with; empty when they were not.
    """

    entries: tuple[Entry, ...]
    unchanged: tuple[Entry, ...] = ()
    base: str = ""


def changed_by(loaded: Manifest, git: Git, target: str) -> Selection:
    """Divide entries by whether they, or what they are made from, differ from where HEAD left `target`.

    Files that git does not keep may be anything, so an entry with some of them counts as changed.

    Args:
        target: Commit of the branch that a pull request goes into.

    Raises:
        GitError: The history that is needed is not here.
    """
    base = git.merge_base(target)
    touched = (*git.changed_since(base), *git.untracked(_own_paths(loaded.entries)))
    before = _entries_at(base, loaded.paths, git)
    changed = plan.changed(loaded.entries, before, [*touched, *_holders(touched, loaded.entries)])
    names = {entry.name for entry in changed}
    return Selection(changed, tuple(entry for entry in loaded.entries if entry.name not in names), base)


def last_verdicts(entries: Sequence[Entry], baseline: Report | None, label: str) -> tuple[Unchanged, ...]:
    """What an earlier report said about entries; `unverified` where it said nothing."""
    verdicts: dict[str, tuple[Status, str]] = {}
    if baseline is not None:
        verdicts.update({each.name: (each.status, each.since) for each in baseline.unchanged})
        verdicts.update({model.name: (model.status, label) for model in baseline.models})
    return tuple(
        Unchanged(name=entry.name, model=entry.model, status=status, since=since)
        for entry in entries
        for status, since in [verdicts.get(entry.name, (Status.UNVERIFIED, ""))]
    )


def _own_paths(entries: Sequence[Entry]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for entry in entries for path in entry.paths))


def _entries_at(commit: str, manifests: Sequence[Path], git: Git) -> Mapping[str, WrittenEntry]:
    found: dict[str, WrittenEntry] = {}
    for path in manifests:
        content = git.content(commit, path)
        if content is None:
            continue
        try:
            entries = read_entries(content, path)
        except ManifestErrors:  # what it meant can't be known, so all of it is new
            continue
        found.update({entry.name: entry for entry in entries})
    return found


def _holders(touched: Sequence[Path], entries: Sequence[Entry]) -> Iterator[Path]:
    """What lies in a submodule that moved: git names the submodule only."""
    folders = [path for path in touched if path.is_dir()]
    for path in _own_paths(entries):
        if any(path.is_relative_to(folder) for folder in folders):
            yield path
