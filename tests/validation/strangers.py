"""Files as other people write them: exported and traced by hand, from checkpoints in folders."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from exporter.pipeline import steps
from exporter.pipeline.messages import CheckpointRequest, ValidateRequest
from exporter.results import Status, Validation
from tests.architectures.tiny import build

__all__ = ["Flat", "checkpoint", "complaints", "judged_file", "sample", "styles"]


def checkpoint(model_type: str, task: str, folder: Path) -> tuple[Path, Any]:
    """A tiny checkpoint in a folder, and its model."""
    model = copy.deepcopy(build(model_type, task, 0))
    model.save_pretrained(folder)
    return folder, model


def judged_file(path: Path, folder: Path, task: str) -> Validation:
    """The verdict of what `export-action validate` runs in its worker."""
    kind = "torchscript" if path.suffix == ".pt" else "onnx"
    request = CheckpointRequest(path=str(folder), task=task)
    return steps.validate(ValidateRequest(checkpoint=request, format=kind, directory=str(path)))


def complaints(validation: Validation) -> list[str]:
    """What a verdict has against a file."""
    checks = [f"{each.name}: {each.message}" for each in validation.checks if each.status is not Status.PASSED]
    return checks + [f"{each.case}: {each.message}" for each in validation.cases if each.status is not Status.PASSED]


class Flat(torch.nn.Module):
    """A model behind positions, as people wrap it to trace it."""

    def __init__(self, model: Any, names: tuple[str, ...], pick: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.names, self.pick = model, names, pick

    def forward(self, *args: torch.Tensor) -> Any:
        return self.pick(self.model(**dict(zip(self.names, args, strict=True)), **_no_cache(self.model)))


def _no_cache(model: Any) -> dict[str, bool]:
    return {"use_cache": False} if hasattr(model.config, "use_cache") and model.can_generate() else {}


def sample(model: Any, batch: int = 1, length: int = 8) -> dict[str, torch.Tensor]:
    """Plain inputs, as a tokenizer or an image processor returns them."""
    config, kind = model.config, model.config.model_type
    ids = torch.arange(3, 3 + batch * length).reshape(batch, length) % config.vocab_size if kind != "vit" else None
    if kind == "vit":
        return {"pixel_values": torch.randn(batch, config.num_channels, config.image_size, config.image_size)}
    if kind == "whisper":
        features = torch.randn(batch, config.num_mel_bins, 2 * config.max_source_positions)
        return {"input_features": features, "decoder_input_ids": ids}
    values = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if kind == "bert":
        values["token_type_ids"] = torch.zeros_like(ids)
    if kind == "t5":
        values |= {"decoder_input_ids": ids[:, :5], "decoder_attention_mask": torch.ones_like(ids[:, :5])}
    return values


def styles(model: Any, outputs: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The ways in which people write a TorchScript file, by name."""
    values = sample(model)

    def trace(pick: Callable[[Any], Any]) -> Any:
        flat = Flat(model, tuple(values), pick).eval()
        return torch.jit.trace(flat, tuple(values.values()), strict=False)

    def by_name() -> Any:
        model.config.use_cache = False
        return torch.jit.trace(model, example_kwarg_inputs=values, strict=False)

    whole = functools.partial(trace, lambda given: tuple(given[name] for name in outputs))
    yield "tuple", whole
    if len(outputs) == 1:
        yield "single tensor", functools.partial(trace, lambda given: given[outputs[0]])
    if model.config.model_type != "t5":  # gives a cache that no trace can give
        yield "keywords", by_name
    yield "frozen", lambda: torch.jit.freeze(whole())
    yield "scripted", lambda: torch.jit.script(whole())
    if model.config.model_type != "vit":  # this PyTorch writes a file that it can't read
        yield "optimised", lambda: torch.jit.optimize_for_inference(whole())
