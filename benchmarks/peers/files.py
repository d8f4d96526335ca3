"""The files that are judged, and their checkpoints: sound exports of every family, each fault in two families."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedModel, ViTImageProcessor

from exporter import checkpoint
from exporter.validation import Subject
from tests.validation.conftest import FAMILIES, Export, fresh_model, onnx_export
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.model_faults import MODEL_FAULTS
from tests.validation.faults.planting import in_graphs, in_models

__all__ = ["SEEDS", "Judged", "judged_files"]

SEEDS = (0, 1, 2)
"""Seeds of the weights of sound exports; faults are planted in the first."""


@dataclass(frozen=True)
class Judged:
    """One file, as every validator gets it.

    Attributes:
        kind: ``graph`` (the fault is in the file), ``model`` (in what was exported) or ``sound``.
        fault: Its name; empty for a sound file.
        family: A key of `FAMILIES`.
        seed: Seed of the weights.
        file: Name of the graph: ``model``, ``encoder_model`` ...
        path: The file.
        checkpoint: Folder of what it should compute.
        subject: The same for our own validator.
    """

    kind: str
    fault: str
    family: str
    seed: int
    file: str
    path: Path
    checkpoint: Path
    subject: Subject

    @property
    def name(self) -> str:
        """Unique, and the same in every run."""
        return f"{self.kind}/{self.fault or self.seed}/{self.family}/{self.file}"


def judged_files(folder: Path) -> Iterator[Judged]:
    """Export everything into an empty folder."""
    workshop = _Workshop(folder)
    for family in FAMILIES:
        for seed in SEEDS:
            export = workshop.sound(family, seed)
            for index in range(len(export.subject.artifacts)):
                yield workshop.judged("sound", "", export, index)
    for fault in FAULTS:
        for planted in in_graphs(fault, workshop.sound, workshop.place("graph")):
            export = workshop.sound(planted.family)
            subject = export.with_file(planted.path, planted.index)
            yield workshop.judged("graph", fault, replace(export, subject=subject), 0)
    for fault in MODEL_FAULTS:
        for export in in_models(fault, workshop.place("model")):
            yield workshop.judged("model", fault, export, 0)


class _Workshop:
    """Makes each checkpoint and each sound export once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sound = functools.cache(self._sound)
        self._checkpoint = functools.cache(self._write_checkpoint)

    def place(self, name: str) -> Path:
        place = self._folder / name
        place.mkdir(exist_ok=True)
        return place

    def judged(self, kind: str, fault: str, export: Export, index: int) -> Judged:
        artifact = export.subject.artifacts[index]
        folder = self._checkpoint(export.family, export.seed)
        load = functools.partial(_load, folder, FAMILIES[export.family][1])
        subject = replace(export.subject, load=load, artifacts=(artifact,))
        return Judged(kind, fault, export.family, export.seed, artifact.graph.file, artifact.path, folder, subject)

    def _sound(self, family: str, seed: int = 0) -> Export:
        place = self.place(f"{family}-{seed}")
        return onnx_export(family, place, seed)

    def _write_checkpoint(self, family: str, seed: int) -> Path:
        place = self.place(f"{family}-{seed}-checkpoint")
        model = fresh_model(family, seed)
        model.save_pretrained(place)
        _name_shared_weights(model, place / "model.safetensors")
        _write_preprocessor(model, place)
        _write_eager(model, place)
        return place


def _load(folder: Path, task: str) -> nn.Module:
    return checkpoint.load(folder, task=task).model


def _name_shared_weights(model: PreTrainedModel, path: Path) -> None:
    """Store a shared weight under each of its names: an older transformers looks for some under another one."""
    stored = load_file(path)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for shared in names.values():
        known = [name for name in shared if name in stored]
        stored |= {name: stored[known[0]].clone() for name in shared if known and name not in stored}
    save_file(stored, path, metadata={"format": "pt"})


def _write_preprocessor(model: PreTrainedModel, folder: Path) -> None:
    """What `transformers.onnx` makes its inputs with: a tokenizer of a few words, or the usual image processor."""
    if model.main_input_name == "pixel_values":
        size = model.config.image_size
        ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
    elif model.main_input_name == "input_ids":
        words = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *(f"word{number}" for number in range(50))]
        tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
        names = ["input_ids", "attention_mask"]
        if getattr(model.config, "type_vocab_size", 0) and model.config.model_type == "bert":
            names.append("token_type_ids")
        special = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
        tokenizer.save(str(folder / "tokenizer.json"))
        # By hand: the class that transformers 5 would name is one that transformers 4 doesn't know.
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names, **special}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _write_eager(model: PreTrainedModel, folder: Path) -> None:
    """A whole forward pass, so that a peer's version of the model can be held against ours."""
    random = np.random.default_rng(0)
    config = model.config
    inputs = {}
    if model.main_input_name == "pixel_values":
        inputs["pixel_values"] = random.standard_normal((2, 3, config.image_size, config.image_size), np.float32)
    elif model.main_input_name == "input_features":
        frames = 2 * config.max_source_positions
        inputs["input_features"] = random.standard_normal((2, config.num_mel_bins, frames), np.float32)
    else:
        inputs["input_ids"] = random.integers(0, config.vocab_size, (3, 11))
        inputs["attention_mask"] = (np.arange(11) < np.array([[11], [7], [3]])).astype(np.int64)
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = random.integers(0, config.vocab_size, (len(next(iter(inputs.values()))), 5))
    with torch.no_grad():
        outputs = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    known = {name: outputs[name].numpy() for name in ("logits", "start_logits", "end_logits") if name in outputs}
    np.savez(
        folder / "eager.npz",
        **{f"in.{name}": array for name, array in inputs.items()},
        **{f"out.{name}": array for name, array in known.items()},
    )
