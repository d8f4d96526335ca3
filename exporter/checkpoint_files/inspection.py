"""What a checkpoint folder holds, read without loading weights: the task, the model type, the weights' format and size.

Reads ``config.json`` and the headers of safetensors files only, so it answers in milliseconds, runs no model code and
imports neither torch nor transformers. Everything that can be said about a broken checkpoint from its files alone is
said here, before a worker is started for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoint_files.headers import TensorHeader, check_pytorch_file, safetensors_header
from exporter.checkpoint_files.text import read_json, refuse_lfs_pointers
from exporter.checkpoint_files.weights import WeightsFormat, choose_weights, refuse_missing_shards, shard_names
from exporter.results import ExportError
from exporter.tasks import Task, TaskError, find, from_architecture, split_past

__all__ = ["CheckpointFiles", "inspect", "read_config"]

_ADAPTER_HINT = (
    "This is a PEFT adapter. Merge it into its base model and save the result: "
    "`AutoPeftModel.from_pretrained(folder).merge_and_unload().save_pretrained(new_folder)`."
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
    _refuse_quantised(path, config)
    if (path / "generation_config.json").is_file():
        read_json(path / "generation_config.json")  # transformers would pass over a broken one in silence
    weights_format, weights = _weights(path, config)
    headers = _headers(weights_format, weights)
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
        parameters=_parameters(headers) if headers is not None else None,
        dtypes=tuple(sorted({tensor.dtype for tensor in headers or ()})),
        remote_code=bool(config.get("auto_map")),
        notes=_sentence_transformers_note(path),
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


def _weights(path: Path, config: dict[str, Any]) -> tuple[WeightsFormat, tuple[Path, ...]]:
    names = {file.relative_to(path).as_posix() for depth in ("*", "*/*") for file in path.glob(depth) if file.is_file()}
    weights_format, chosen = choose_weights(names, config, str(path))
    shards = shard_names(path / chosen) if chosen.endswith(".index.json") else (chosen,)
    refuse_missing_shards(chosen, shards, names, str(path))
    files = tuple(path / name for name in shards)
    refuse_lfs_pointers(files)
    return weights_format, files


def _headers(weights_format: WeightsFormat, files: tuple[Path, ...]) -> list[TensorHeader] | None:
    """Headers of all stored tensors, None where the format tells them only when it is loaded."""
    if weights_format == "safetensors":
        return [tensor for file in files for tensor in safetensors_header(file).values()]
    if weights_format == "pytorch":
        for file in files:
            check_pytorch_file(file)
    return None


def _parameters(headers: list[TensorHeader]) -> int:
    # Tensors of integers are buffers, such as position ids.
    return sum(math.prod(tensor.shape) for tensor in headers if tensor.dtype.startswith(("F", "BF")))


def _where_the_model_may_be(path: Path) -> str:
    nested = sorted(file.parent.name for file in path.glob("*/config.json") if "Pooling" not in file.parent.name)
    if (path / "adapter_config.json").is_file():
        return _ADAPTER_HINT
    if (path / "model_index.json").is_file():
        return f"This is a diffusers pipeline; write the folder of one of its models: {', '.join(nested)}."
    if nested:
        return f"There is one in {', '.join(nested[:5])}: write that folder."
    if any(path.glob("*.gguf")):
        return "GGUF files are quantised for llama.cpp; use the original checkpoint, saved with `save_pretrained`."
    return "A checkpoint saved with `save_pretrained` has one."


def _refuse_adapter(path: Path) -> None:
    # Without peft installed transformers would load the base model and leave the adapter out, silently.
    if (path / "adapter_config.json").is_file():
        raise ExportError(
            "adapter",
            f"{path} holds adapter_config.json next to the model, and an adapter is not applied here.",
            f"{_ADAPTER_HINT} If the weights are merged already, delete adapter_config.json.",
        )


def _refuse_quantised(path: Path, config: dict[str, Any]) -> None:
    settings = config.get("quantization_config")
    if settings:
        method = settings.get("quant_method", "unknown") if isinstance(settings, dict) else "unknown"
        raise ExportError(
            "quantised",
            f"{path} holds weights quantised with {method!r}, which only run with the library that made them.",
            "Use the checkpoint it was quantised from.",
        )


def _sentence_transformers_note(path: Path) -> tuple[str, ...]:
    if not (path / "modules.json").is_file():
        return ()
    return (
        "This is a sentence-transformers checkpoint: what follows the transformer in modules.json, such as pooling "
        "and normalisation, is not in the exported model.",
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
