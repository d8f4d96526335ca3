"""What the beginning of a weights file tells: names, types and shapes of tensors, and whether the file is whole.

Safetensors is eight bytes of little-endian header length, a JSON header, then the data
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from exporter.results import ExportError

__all__ = ["TensorHeader", "check_pytorch_file", "safetensors_header"]

# The longest header that the safetensors library itself accepts.
_SAFETENSORS_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class TensorHeader:
    """Type, as safetensors names it, and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]


def safetensors_header(file: Path) -> dict[str, TensorHeader]:
    """The tensors of a safetensors file, by name.

    Raises:
        ExportError: Not a safetensors file, cut short, or written for another framework.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _SAFETENSORS_MAX_HEADER_BYTES:
            raise _bad_weights(file, "it does not begin with a safetensors header")
        if size < 8 + length:
            raise _truncated(file, size, None)
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", None) or {}
        tensors = {name: TensorHeader(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        numbers = [end, *(axis for tensor in tensors.values() for axis in tensor.shape)]
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise _bad_weights(file, "its safetensors header can't be read") from None
    if size < 8 + length + end:
        raise _truncated(file, size, 8 + length + end)
    if metadata.get("format") in ("tf", "flax"):
        raise ExportError(
            "unsupported-weights",
            f"{file} holds weights written for {metadata['format']}, whose names and layouts differ.",
            "Save it with transformers' `save_pretrained`, which writes safetensors for PyTorch.",
        )
    return tensors


def check_pytorch_file(file: Path) -> None:
    """Raise `ExportError` if a file written by ``torch.save`` is visibly cut short."""
    with file.open("rb") as stream:
        start = stream.read(2)
    # torch.save writes a zip archive, whose directory is at the end; before torch 1.6 it wrote a bare pickle.
    if start == b"PK" and not zipfile.is_zipfile(file):
        raise _truncated(file, file.stat().st_size, None)
    if not start:
        raise _truncated(file, 0, None)


def _truncated(file: Path, size: int, expected: int | None) -> ExportError:
    should = f"; its header promises {expected:,}" if expected else ""
    return ExportError(
        "truncated-weights",
        f"{file} is cut short: it has {size:,} bytes{should}.",
        "Copy or download the file again.",
    )


def _bad_weights(file: Path, why: str) -> ExportError:
    return ExportError("bad-weights", f"{file} can't be read: {why}.", "Copy or download the file again.")
