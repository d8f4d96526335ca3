"""The TorchScript archive without what it notes about the machine that wrote it."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["without_debug_records"]


def without_debug_records(path: Path) -> None:
    """Rewrite an archive without its ``*.debug_pkl`` records.

    They hold absolute paths and source lines for error messages; nothing needs them to load or run. PyTorch's own
    reader and writer are used, because tensors must stay aligned for memory mapping.
    """
    reader = torch._C.PyTorchFileReader(str(path))
    temporary = path.with_name(f".{path.name}.rewritten")
    # The writer names the folder inside the archive after the file, so that the stem must not change.
    folder = temporary.with_suffix(".d")
    folder.mkdir()
    rewritten = folder / path.name
    writer = torch._C.PyTorchFileWriter(str(rewritten))
    # It says which meaning of an operator was traced: at 3, whole numbers divide to whole numbers.
    names = reader.get_all_records()
    writer.set_min_version(int(reader.get_record(next(name for name in _VERSION if name in names))))
    for name in names:
        if not name.endswith(".debug_pkl") and name not in _WRITTEN_BY_THE_WRITER:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    rewritten.replace(path)
    folder.rmdir()


_VERSION = (".data/version", "version")
"""Where the version is: the first from 6 on."""

_WRITTEN_BY_THE_WRITER = (*_VERSION, "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment")
