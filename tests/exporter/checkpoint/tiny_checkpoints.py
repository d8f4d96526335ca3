"""Tiny checkpoints, made from configs and saved as transformers saves them, then spoiled in one way each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from exporter.results import ExportError, Problem

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(115)))
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "vocab_size": len(VOCABULARY),
}

Checkpoint = Callable[..., Path]


def write_config(folder: Path, **changes: Any) -> None:
    """Write keys into ``config.json``; None removes a key."""
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def save(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors in ``model.safetensors``."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def remove_weight(folder: Path, name: str) -> None:
    """Remove a tensor, which must be there, from ``model.safetensors``."""
    edit_weights(folder, lambda tensors: tensors.__delitem__(name))


def pickle_weights(folder: Path, **options: Any) -> Path:
    """Turn ``model.safetensors`` into ``pytorch_model.bin``; returns that."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", **options)
    return folder / "pytorch_model.bin"


def problem(call: Callable[..., object], *arguments: Any, **keywords: Any) -> Problem:
    """The problem that the call ends in."""
    with pytest.raises(ExportError) as caught:
        call(*arguments, **keywords)
    return caught.value.problem


class Payload:
    """Unpickling it makes the folder `mark`: proof that code ran."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)
