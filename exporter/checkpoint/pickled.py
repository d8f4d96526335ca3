"""Read ``pytorch_model.bin``: plain tensors are taken out of the pickle, everything else in it is refused."""

from __future__ import annotations

import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch

from exporter.results import ExportError

__all__ = ["read_pickled"]

_COPY_AGAIN = "Copy or download the file again."
_CONVERT = (
    "If you trust where it came from, convert it once to model.safetensors, on a machine where nothing is at stake: "
    "docs/checkpoints.md shows how."
)

# Before torch 1.6, torch.save wrote a magic number, a version, facts on the machine and the content, one after another.
_LEGACY_PICKLES = 4
_HARMLESS = ("torch.", "collections.OrderedDict")


def read_pickled(files: tuple[Path, ...]) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors in files that ``torch.save`` wrote, by name, and what to note about them.

    Raises:
        ExportError: ``unsafe-pickle`` where reading would run code; ``bad-weights`` where a file is damaged or holds
            something else than tensors by name.
    """
    tensors: dict[str, torch.Tensor] = {}
    others: list[str] = []
    for file in files:
        content = _unpickle(file)
        if not isinstance(content, Mapping):
            raise ExportError(
                "bad-weights", f"{file} holds a {type(content).__name__}, not tensors by name.", _save("the model")
            )
        found = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if not found:
            raise ExportError(
                "bad-weights",
                f"{file} holds no tensors by name, but {', '.join(map(str, list(content)[:5])) or 'nothing'}: "
                "the state of a training, perhaps.",
                _save("the model in it"),
            )
        others += [str(name) for name in content if str(name) not in found]
        tensors |= found
    notes = (f"Left out of {files[0].name}, since they are no tensors: {', '.join(others[:5])}.",) if others else ()
    return tensors, notes


def _unpickle(file: Path) -> object:
    try:
        with warnings.catch_warnings():
            # torch remarks on old pickle protocols; whether the file can be read is told below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        refused = _refers_to(file)
        if refused:
            raise ExportError(
                "unsafe-pickle",
                f"{file} can't be read without running code from it: it refers to {', '.join(refused[:5])}. "
                "Only plain tensors are unpickled here.",
                _CONVERT,
            ) from error
        raise ExportError("bad-weights", f"{file} is damaged: it can't be unpickled.", _COPY_AGAIN) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle breaks its reader anywhere
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            "bad-weights", f"{file} is damaged or cut short: {type(error).__name__}: {reason}", _COPY_AGAIN
        ) from error


def _refers_to(file: Path) -> list[str]:
    """What the pickle in `file` refers to beyond tensors, from its opcodes alone: nothing is run."""
    found: set[str] = set()
    # A damaged pickle can be followed up to its damage; what refused to read it is told where nothing is found.
    with suppress(pickle.UnpicklingError, ValueError, RuntimeError, EOFError, KeyError, IndexError):
        if zipfile.is_zipfile(file):
            found.update(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        else:
            with file.open("rb") as stream:
                for name in _globals(stream):
                    found.add(name)
    return sorted(name for name in found if not name.startswith(_HARMLESS))


def _globals(stream: BinaryIO) -> Iterator[str]:
    strings: list[str] = []
    for _ in range(_LEGACY_PICKLES):
        for opcode, argument, _ in pickletools.genops(stream):
            if isinstance(argument, str):
                strings.append(argument)
            if opcode.name == "GLOBAL":
                yield strings[-1].replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                yield ".".join(strings[-2:])


def _save(what: str) -> str:
    return f"Save {what} with `save_pretrained`, which writes model.safetensors."
