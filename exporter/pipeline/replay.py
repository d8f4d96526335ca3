"""The command with which a person has an artifact judged again."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["replay_command", "shown"]


def replay_command(
    artifact: Path, model: str, revision: str = "", task: str | None = None, atol: float | None = None
) -> str:
    """Words that a shell takes.

    Args:
        artifact: Its file or folder.
        model: Folder or Hub id of the checkpoint.
        revision: Revision of a Hub id.
        task: Task, where the artifact doesn't know it.
        atol: A tolerance that a person set.
    """
    options = {"--revision": revision, "--task": task, "--atol": atol}
    said = [word for name, value in options.items() if value not in (None, "") for word in (name, str(value))]
    return shlex.join(["export-action", "validate", shown(artifact), "--model", model, *said])


def shown(path: Path) -> str:
    """A path as it is typed here: relative, if it is below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
