"""Which entries of the manifests a command is about."""

from __future__ import annotations

from entrypoint import changes
from entrypoint.changes import Selection
from entrypoint.settings import Settings
from entrypoint.tools import Tools
from exporter import manifest

__all__ = ["select"]


def select(settings: Settings, tools: Tools) -> Selection:
    """The entries to export, and those that a pull request leaves as they were.

    Outside of a pull request nothing says what to compare with, so every entry is exported.

    Raises:
        ManifestErrors: What is wrong in the manifests, all at once.
        ExportError: A name that no entry has, or a clone without the history that is needed.
    """
    loaded = manifest.load(settings.manifests).select(settings.only)
    if not settings.only_changed:
        return Selection(loaded.entries)
    target = settings.run.payload.get("pull_request", {}).get("base", {}).get("sha")
    if not target:
        tools.say("`only-changed` is for pull requests, and this run is for none: every model is exported.")
        return Selection(loaded.entries)
    selection = changes.changed_by(loaded, tools.git, str(target))
    tools.say(
        f"Compared with {selection.base[:7]}: {len(selection.entries)} of {len(loaded.entries)} models are changed."
    )
    return selection
