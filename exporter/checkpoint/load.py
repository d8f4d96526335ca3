"""Load a checkpoint: config, eager model in evaluation mode, preprocessor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from exporter.checkpoint.model_class import model_class
from exporter.checkpoint.preprocessor import load_preprocessor
from exporter.checkpoint_files import inspect
from exporter.tasks import Task

__all__ = ["Checkpoint", "load"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: The folder it came from.
        model: The eager model, in evaluation mode, every floating-point weight of the asked dtype.
        config: The model's config.
        preprocessor: Tokenizer, processor, image processor or feature extractor; None where the folder has none.
        task: What the model was loaded for.
        with_past: Whether the key/value cache was asked for as inputs and outputs.
        notes: What a reader of the report should know about this checkpoint.
    """

    path: Path
    model: PreTrainedModel
    config: PreTrainedConfig
    preprocessor: Any
    task: Task
    with_past: bool
    notes: tuple[str, ...] = ()


def load(
    path: Path,
    *,
    task: str | None = None,
    dtype: str = "float32",
    allow_remote_code: bool = False,
    revision: str = "",
    attn_implementation: str | None = None,
) -> Checkpoint:
    """Load the checkpoint in the folder `path`.

    Args:
        path: Folder with ``config.json`` and weights.
        task: A task's name in either family, with or without ``-with-past``; None: the checkpoint's own.
        dtype: What floating-point weights become: ``float32`` whatever the file holds, unless asked otherwise.
        allow_remote_code: Whether Python code that comes with the checkpoint may run.
        revision: The commit the folder was fetched at; remote code runs only at a full commit hash.
        attn_implementation: ``eager`` or ``sdpa``; None: what transformers chooses.

    Raises:
        ExportError: Anything that makes the checkpoint unusable.
    """
    path = Path(path)
    files = inspect(path, task)
    config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    cls = model_class(config, files.task)
    model = cls.from_pretrained(
        path,
        config=config,
        dtype=getattr(torch, dtype),
        use_safetensors=files.weights_format == "safetensors",
        local_files_only=True,
        **({"attn_implementation": attn_implementation} if attn_implementation else {}),
    )
    model.eval()
    preprocessor, notes = load_preprocessor(path, config)
    return Checkpoint(path, model, model.config, preprocessor, files.task, files.with_past, notes)
