"""What a checkpoint folder holds, read without loading weights: the task, the model type, the weights' format and size.

Reads ``config.json`` and the headers of safetensors files only, so it answers in milliseconds, runs no model code and
imports neither torch nor transformers. Everything that can be said about a broken checkpoint from its files alone is
said here, before a worker is started for it.

Formats: safetensors (https://huggingface.co/docs/safetensors: eight bytes little-endian header length, JSON header,
data), Git LFS pointers (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from exporter.results import ExportError
from exporter.tasks import Task, TaskError, find, from_architecture, split_past

__all__ = ["CheckpointFiles", "WeightsFormat", "inspect", "is_lfs_pointer", "read_config", "read_json"]

WeightsFormat = Literal["safetensors", "pytorch", "tensorflow"]

_LFS_SIGNATURE = b"version https://git-lfs.github.com/spec/v1"
_LFS_POINTER_MAX_BYTES = 1024  # the specification's limit; a real weights file is larger
_LFS_HINT = "Fetch the real files with `git lfs pull`; in a workflow, give actions/checkout `lfs: true`."

# The longest header that the safetensors library itself accepts.
_SAFETENSORS_MAX_HEADER_BYTES = 100_000_000

# In the order in which they are preferred: the first that exists is what is loaded.
_WEIGHTS_FILES: tuple[tuple[str, WeightsFormat], ...] = (
    ("model.safetensors", "safetensors"),
    ("model.safetensors.index.json", "safetensors"),
    ("pytorch_model.bin", "pytorch"),
    ("pytorch_model.bin.index.json", "pytorch"),
    ("tf_model.h5", "tensorflow"),
    ("tf_model.h5.index.json", "tensorflow"),
)

_SAVE_AS_SAFETENSORS = (
    "Load it with the library that wrote it and save it again with `save_pretrained` of transformers, "
    "which writes model.safetensors."
)

# Weights that are somewhere but can't be used: glob, what it is.
_FOREIGN_WEIGHTS: tuple[tuple[str, str], ...] = (
    ("flax_model*.msgpack", "Flax weights"),
    ("*.gguf", "GGUF weights, which are quantised for llama.cpp"),
    ("saved_model.pb", "a TensorFlow SavedModel"),
    ("saved_model/**/saved_model.pb", "a TensorFlow SavedModel"),
    ("*.ckpt.index", "a TensorFlow 1 checkpoint"),
    ("rust_model.ot", "weights for rust-bert"),
    ("consolidated*.safetensors", "weights in their authors' own layout"),
    ("consolidated*.pth", "weights in their authors' own layout"),
    ("adapter_model.*", "a PEFT adapter without its base model"),
    ("model.*.safetensors", "a variant of the weights under another name than model.safetensors"),
    ("pytorch_model.*.bin", "a variant of the weights under another name than pytorch_model.bin"),
    ("**/*.onnx", "an ONNX model, which is what comes out here, not what goes in"),
)


@dataclass(frozen=True)
class CheckpointFiles:
    """What the files of a checkpoint say.

    Attributes:
        path: The folder.
        config: Content of ``config.json``.
        model_type: ``model_type`` of the config, such as ``bert``.
        architectures: Class names the config names; one, unless the task was given.
        task: What the model is for: as asked, else told from `architectures`.
        with_past: Whether the key/value cache was asked for as inputs and outputs.
        weights_format: Which kind of weights will be loaded.
        weights: The weights files, shards in order.
        bytes: Size of `weights` together.
        parameters: Number of values in the weights; None where only loading can tell.
        dtypes: Types of the stored tensors, as safetensors names them; empty where only loading can tell.
        remote_code: Whether the checkpoint names Python code of its own (``auto_map``).
        notes: What a reader of the report should know.
    """

    path: Path
    config: dict[str, Any]
    model_type: str
    architectures: tuple[str, ...]
    task: Task
    with_past: bool
    weights_format: WeightsFormat
    weights: tuple[Path, ...]
    bytes: int
    parameters: int | None
    dtypes: tuple[str, ...]
    remote_code: bool
    notes: tuple[str, ...] = ()


def inspect(path: Path, task: str | None = None) -> CheckpointFiles:
    """Read what the files in `path` say, without loading weights.

    Args:
        path: Folder with ``config.json`` and weights.
        task: A task's name in either family, with or without ``-with-past``; None: the checkpoint's own.

    Raises:
        ExportError: Anything that makes the checkpoint unusable and shows in its files.
    """
    config = read_config(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ExportError(
            "no-model-type",
            f"{path / 'config.json'} has no `model_type`, so nothing says which architecture the weights belong to.",
            "Add the model type that transformers knows the architecture by, such as `bert`.",
        )
    architectures = _architectures(path, config)
    chosen, with_past = _task(path, architectures, task)
    _refuse_adapter(path)
    weights_format, weights = _weights(path, config)
    shapes = _check_weights(weights_format, weights)
    return CheckpointFiles(
        path=path,
        config=config,
        model_type=model_type,
        architectures=architectures,
        task=chosen,
        with_past=with_past,
        weights_format=weights_format,
        weights=weights,
        bytes=sum(file.stat().st_size for file in weights),
        parameters=sum(math.prod(tensor.shape) for tensor in shapes) if shapes is not None else None,
        dtypes=tuple(sorted({tensor.dtype for tensor in shapes})) if shapes is not None else (),
        remote_code=bool(config.get("auto_map")),
    )


def read_config(path: Path) -> dict[str, Any]:
    """Content of ``config.json`` in the folder `path`.

    Raises:
        ExportError: No such folder, no such file, or no JSON object in it.
    """
    if not path.exists():
        raise ExportError(
            "no-checkpoint", f"There is no folder {path}.", "Check the path; it is relative to the manifest."
        )
    if not path.is_dir():
        raise ExportError(
            "no-checkpoint",
            f"{path} is a file; a checkpoint is a folder with config.json and weights.",
            f"Write the folder: {path.parent}.",
        )
    file = path / "config.json"
    if not file.is_file():
        raise ExportError("no-config", f"There is no config.json in {path}.", _where_the_model_may_be(path))
    config = read_json(file)
    if not isinstance(config, dict):
        raise ExportError("bad-config", f"{file} holds no JSON object, so it is not a model's config.")
    return config


def read_json(file: Path) -> Any:
    """Content of a JSON file of a checkpoint.

    Raises:
        ExportError: A Git LFS pointer, not UTF-8, or not JSON; the message has the line.
    """
    refuse_lfs_pointers([file])
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
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


def _where_the_model_may_be(path: Path) -> str:
    nested = sorted(file.parent.name for file in path.glob("*/config.json"))
    if (path / "adapter_config.json").is_file():
        return _ADAPTER_HINT
    if (path / "model_index.json").is_file():
        return f"This is a diffusers pipeline; write the folder of one of its models: {', '.join(nested)}."
    if nested:
        return f"There is one in {', '.join(nested[:5])}: write that folder."
    if any(path.glob("*.gguf")):
        return "GGUF files are quantised for llama.cpp; use the original checkpoint, saved with `save_pretrained`."
    return "A checkpoint saved with `save_pretrained` has one."


_ADAPTER_HINT = (
    "This is a PEFT adapter. Merge it into its base model and save the result: "
    "`AutoPeftModel.from_pretrained(folder).merge_and_unload().save_pretrained(new_folder)`."
)


def _refuse_adapter(path: Path) -> None:
    # Without peft installed transformers would load the base model and leave the adapter out, silently.
    if (path / "adapter_config.json").is_file():
        raise ExportError(
            "adapter",
            f"{path} holds adapter_config.json next to the model, and an adapter is not applied here.",
            f"{_ADAPTER_HINT} If the weights are merged already, delete adapter_config.json.",
        )


def _architectures(path: Path, config: dict[str, Any]) -> tuple[str, ...]:
    named = config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ExportError("bad-config", f"`architectures` in {path / 'config.json'} is not a list of class names.")
    return tuple(named)


def _task(path: Path, architectures: tuple[str, ...], asked: str | None) -> tuple[Task, bool]:
    try:
        if asked is not None:
            return find(asked), split_past(asked)[1]
        if len(architectures) == 1:
            return from_architecture(architectures[0]), False
    except TaskError as error:
        raise ExportError("unknown-task", f"{path}: {error}.") from None
    file = path / "config.json"
    if not architectures:
        raise ExportError(
            "no-architectures",
            f"{file} has no `architectures`, so it doesn't say what the model is for.",
            "Write `task:` for this model.",
        )
    raise ExportError(
        "several-architectures",
        f"{file} names several architectures: {', '.join(architectures)}.",
        "Write `task:` for this model to choose one.",
    )


def _weights(path: Path, config: dict[str, Any]) -> tuple[WeightsFormat, tuple[Path, ...]]:
    candidates = _WEIGHTS_FILES
    named = config.get("transformers_weights")
    if isinstance(named, str):  # the config's own name for its weights; transformers accepts safetensors only
        candidates = ((_inside(path, named, "config.json").name, "safetensors"),)
    for name, weights_format in candidates:
        file = path / name
        if file.is_file():
            files = _shards(file) if name.endswith(".index.json") else (file,)
            refuse_lfs_pointers(files)
            return weights_format, files
    for pattern, what in _FOREIGN_WEIGHTS:
        found = next(path.glob(pattern), None)
        if found is not None:
            raise ExportError(
                "unsupported-weights",
                f"{path} holds no weights that can be loaded, only {found.relative_to(path)}: {what}.",
                _SAVE_AS_SAFETENSORS,
            )
    expected = " or ".join(name for name, _ in candidates if not name.endswith(".index.json"))
    raise ExportError("no-weights", f"There are no weights in {path}: no {expected}.", "Add the weights to the folder.")


def _inside(path: Path, name: str, written_in: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or len(parts.parts) != 1 or parts.name in ("", "..") or "\\" in name:
        raise ExportError(
            "bad-index", f"{path / written_in} names the file {name!r}, which is not in the checkpoint's own folder."
        )
    return path / name


def _shards(index: Path) -> tuple[Path, ...]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise ExportError("bad-index", f"{index} has no `weight_map` from tensors to files.")
    files = tuple(_inside(index.parent, name, index.name) for name in sorted(set(weight_map.values())))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ExportError(
            "missing-shards",
            f"{index.name} in {index.parent} names {len(files)} files, of which {len(missing)} are not there: "
            f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}.",
            "Add the missing files.",
        )
    return files


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]


def _check_weights(weights_format: WeightsFormat, files: tuple[Path, ...]) -> list[_Tensor] | None:
    if weights_format == "safetensors":
        return [tensor for file in files for tensor in _safetensors_header(file).values()]
    for file in files:
        if weights_format == "pytorch":
            _check_pytorch_file(file)
    return None


def _safetensors_header(file: Path) -> dict[str, _Tensor]:
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
        tensors = {name: _Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
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
            _SAVE_AS_SAFETENSORS,
        )
    return tensors


def _check_pytorch_file(file: Path) -> None:
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
