"""Whether Python code that comes with a checkpoint runs: only when allowed, and only at a fixed commit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import transformers
from transformers import CONFIG_MAPPING

from exporter.checkpoint_files import CheckpointFiles
from exporter.results import ExportError

__all__ = ["CodePolicy", "refuse_unknown_type", "runs_code"]

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class CodePolicy:
    """What the caller allows: `allowed` by a person's own hand, `revision` as the folder was fetched."""

    allowed: bool
    revision: str


def runs_code(files: CheckpointFiles, policy: CodePolicy) -> tuple[bool, tuple[str, ...]]:
    """Whether the checkpoint's own code is used, and what to note about it.

    Where transformers knows the model type, its class takes over what may not run.

    Raises:
        ExportError: The checkpoint can't be loaded without code that may not run; the message says which and why.
    """
    if not files.remote_code:
        return False, ()
    obstacle = _obstacle(files, policy)
    if obstacle is None:
        return True, (f"The checkpoint's own code was run: {', '.join(_modules(files))}.",)
    if files.model_type in CONFIG_MAPPING:
        return False, (f"The checkpoint names code of its own ({', '.join(_modules(files))}), which was not run.",)
    raise obstacle


def refuse_unknown_type(files: CheckpointFiles) -> None:
    """Raise `ExportError` if this version of transformers knows no such model type."""
    if files.model_type in CONFIG_MAPPING:
        return
    near = difflib.get_close_matches(files.model_type, list(CONFIG_MAPPING), n=1)
    raise ExportError(
        "unknown-model-type",
        f"transformers {transformers.__version__} knows no model type {files.model_type!r}, which "
        f"{files.path / 'config.json'} names" + (f"; did you mean {near[0]!r}?" if near else "."),
        "If the type is newer than this version of transformers, use a newer release of this tool.",
    )


def _obstacle(files: CheckpointFiles, policy: CodePolicy) -> ExportError | None:
    needs = f"{files.path} needs Python code of its own ({', '.join(_modules(files))}), which is not run"
    elsewhere = sorted({reference.split("--")[0] for reference in _references(files) if "--" in reference})
    if elsewhere:
        return ExportError(
            "remote-code",
            f"{needs}: it lies in another repository ({', '.join(elsewhere)}), whose commit nothing fixes.",
            "Copy the code into the checkpoint's own repository and name it there in `auto_map`.",
        )
    if not policy.allowed:
        return ExportError(
            "remote-code",
            f"{needs} unless you allow it.",
            "Read the code; then call with `--allow-remote-code` and write `revision:` as a full commit hash.",
        )
    if not _COMMIT.fullmatch(policy.revision):
        return ExportError(
            "remote-code",
            f"{needs} at {f'the revision {policy.revision!r}' if policy.revision else 'no fixed revision'}: "
            "what it names can change.",
            "Write `revision:` as the full commit hash, 40 hexadecimal digits, of the code that you read.",
        )
    absent = [module for module in _modules(files) if not (files.path / module).is_file()]
    if absent:
        return ExportError(
            "remote-code",
            f"{needs}: {', '.join(absent)} is not in the folder.",
            "Code is only fetched with `--allow-remote-code` and with `revision:` written as a full commit hash.",
        )
    return None


def _references(files: CheckpointFiles) -> Iterator[str]:
    auto_map = files.config.get("auto_map")
    for value in auto_map.values() if isinstance(auto_map, dict) else ():
        for reference in value if isinstance(value, list) else [value]:
            if isinstance(reference, str):
                yield reference


def _modules(files: CheckpointFiles) -> list[str]:
    """File names of the modules, such as ``modeling_mine.py`` for the reference ``modeling_mine.MyModel``."""
    own = (reference.split("--")[-1] for reference in _references(files))
    return sorted({f"{reference.rpartition('.')[0]}.py" for reference in own})
