"""Which files of a checkpoint hold its weights; works on names, so it serves folders and repositories alike."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from exporter.checkpoint_files.text import read_json
from exporter.results import ExportError

__all__ = ["WeightsFormat", "choose_weights", "plain_name", "refuse_missing_shards", "shard_names"]

WeightsFormat = Literal["safetensors", "pytorch", "tensorflow"]

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
    ("*/saved_model.pb", "a TensorFlow SavedModel"),
    ("*.ckpt.index", "a TensorFlow 1 checkpoint"),
    ("rust_model.ot", "weights for rust-bert"),
    ("consolidated*.safetensors", "weights in their authors' own layout"),
    ("consolidated*.pth", "weights in their authors' own layout"),
    ("adapter_model.*", "a PEFT adapter without its base model"),
    ("model.*.safetensors", "a variant of the weights under another name than model.safetensors"),
    ("pytorch_model.*.bin", "a variant of the weights under another name than pytorch_model.bin"),
    ("*.onnx", "an ONNX model, which is what comes out here, not what goes in"),
)


def choose_weights(names: Collection[str], config: dict[str, Any], where: str) -> tuple[WeightsFormat, str]:
    """Which of a checkpoint's files the weights are loaded from: safetensors before pickles before TensorFlow.

    Args:
        names: Paths of the files relative to the checkpoint's folder, with ``/``.
        config: Content of ``config.json``.
        where: What to call the checkpoint in messages.

    Returns:
        The format, and the name of the weights file or of the index that names the shards.

    Raises:
        ExportError: There are no weights, or only such as can't be loaded.
    """
    candidates = _WEIGHTS_FILES
    named = config.get("transformers_weights")
    if isinstance(named, str):  # the config's own name for its weights; transformers accepts safetensors only
        candidates = ((plain_name(named, f"{where}/config.json"), "safetensors"),)
    for name, weights_format in candidates:
        if name in names:
            return weights_format, name
    for pattern, what in _FOREIGN_WEIGHTS:
        found = sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))
        if found:
            raise ExportError(
                "unsupported-weights",
                f"{where} holds no weights that can be loaded, only {found[0]}: {what}.",
                _SAVE_AS_SAFETENSORS,
            )
    expected = " or ".join(name for name, _ in candidates if not name.endswith(".index.json"))
    raise ExportError("no-weights", f"There are no weights in {where}: no {expected}.", "Add the weights.")


def shard_names(index: Path) -> tuple[str, ...]:
    """Names of the files that a sharded checkpoint's index (``*.index.json``) lists, sorted.

    Raises:
        ExportError: Not an index, or it names a file outside the checkpoint's folder.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise ExportError("bad-index", f"{index} has no `weight_map` from tensors to files.")
    return tuple(plain_name(name, str(index)) for name in sorted(set(weight_map.values())))


def plain_name(name: str, written_in: str) -> str:
    """`name` itself if it is a file's name without a folder; else `ExportError`, naming the file `written_in`."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise ExportError(
            "bad-index",
            f"{written_in} names the file {name!r}, which is not in the checkpoint's folder.",
            "Repair the file: shards lie next to it.",
        )
    return name


def refuse_missing_shards(index: str, shards: Collection[str], names: Collection[str], where: str) -> None:
    """Raise `ExportError` if some of the `shards` that `index` lists are not among the files `names`."""
    missing = [name for name in shards if name not in names]
    if missing:
        raise ExportError(
            "missing-shards",
            f"{index} in {where} names {len(shards)} files, of which {len(missing)} are not there: "
            f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}.",
            "Add the missing files.",
        )
