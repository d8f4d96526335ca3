"""Reading small files of a checkpoint, and telling Git LFS pointers from content.

Git LFS pointers: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exporter.results import ExportError

__all__ = ["is_lfs_pointer", "read_json", "refuse_lfs_pointers"]

_LFS_SIGNATURE = b"version https://git-lfs.github.com/spec/v1"
_LFS_POINTER_MAX_BYTES = 1024  # the specification's limit; a real weights file is larger
_LFS_HINT = "Fetch the real files with `git lfs pull`; in a workflow, give actions/checkout `lfs: true`."


def read_json(file: Path) -> Any:
    """Content of a JSON file of a checkpoint.

    Raises:
        ExportError: A Git LFS pointer, not UTF-8, or not JSON; the message has the line.
    """
    refuse_lfs_pointers([file])
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ExportError("unreadable", f"{file} can't be read: {error.strerror}.", "Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise ExportError("bad-config", f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise ExportError("bad-config", f"{file}:{error.lineno}:{error.colno} is not JSON: {error.msg}.") from None
    except RecursionError:
        raise ExportError("bad-config", f"{file} is nested too deeply to be a model's file.") from None


def is_lfs_pointer(file: Path) -> bool:
    """Whether `file` is a Git LFS pointer: the text that stands for a large file that was not fetched."""
    if not file.is_file() or file.stat().st_size > _LFS_POINTER_MAX_BYTES:
        return False
    with file.open("rb") as stream:
        return stream.read(len(_LFS_SIGNATURE)) == _LFS_SIGNATURE


def refuse_lfs_pointers(files: Iterable[Path]) -> None:
    """Raise `ExportError` naming the files that are Git LFS pointers, if there are any."""
    pointers = [file for file in files if is_lfs_pointer(file)]
    if pointers:
        names = ", ".join(file.name for file in pointers)
        subject = "is a Git LFS pointer" if len(pointers) == 1 else "are Git LFS pointers"
        raise ExportError("lfs-pointer", f"{names} in {pointers[0].parent} {subject}, not the content.", _LFS_HINT)
