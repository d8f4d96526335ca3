"""Model types that nobody described: what they take and give, from what the model and its checkpoint say themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter import tasks
from exporter.architectures import registry
from exporter.architectures.audio import SpectrogramEncoder, SpeechToText, WaveformEncoder
from exporter.architectures.base import Architecture
from exporter.architectures.decoder import Decoder
from exporter.architectures.multimodal import ImageTextPair, ImageToText
from exporter.architectures.seq2seq import TextToText
from exporter.architectures.text import OffsetEncoder, TextEncoder
from exporter.architectures.vision import ImageEncoder
from exporter.results import ExportError

__all__ = ["Evidence", "counts_from_padding", "describe_or_infer", "infer", "refused"]


@dataclass(frozen=True)
class Evidence:
    """What a loaded checkpoint says about itself.

    Attributes:
        model_class: Name of the model's class, for messages.
        parameters: Names that ``forward`` takes, in order; `required` are those without a default.
        main_input: ``main_input_name`` of the model.
        preprocessor: What the checkpoint's preprocessor returns; empty when there is none.
    """

    model_class: str
    parameters: tuple[str, ...]
    required: tuple[str, ...] = ()
    main_input: str = "input_ids"
    preprocessor: tuple[str, ...] = ()


def describe_or_infer(config: Any, task: str, use_past: bool, evidence: Evidence) -> tuple[Architecture, str]:
    """The description of a checkpoint, and whether it was ``registered`` or ``inferred``.

    Raises:
        ExportError: It is not registered, and can't be inferred either.
    """
    name = tasks.find(task).name
    with_past = use_past or tasks.split_past(task)[1]
    feature = name + tasks.PAST_SUFFIX if with_past else name
    if registry.find(config.model_type, name) and feature in registry.features(config.model_type):
        described = registry.describe(config, name, with_past)
        return (described.fed_by(evidence.preprocessor) if evidence.preprocessor else described), "registered"
    return infer(config, feature, evidence), "inferred"


def infer(config: Any, task: str, evidence: Evidence) -> Architecture:
    """A description made from the evidence.

    Args:
        config: The model's configuration.
        task: Name of a task, ``-with-past`` included.
        evidence: What the checkpoint says.

    Raises:
        ExportError: An input is of no known kind; the message names it, the hint is a configuration to fill in.
    """
    name, with_past = tasks.split_past(task)
    family = _family(config, tasks.find(name).name, with_past, evidence)
    names = _input_names(evidence, family)
    unknown = [
        each
        for each in names
        if each not in KNOWN_INPUTS or (each == "input_features" and not hasattr(config, "num_mel_bins"))
    ]
    if unknown:
        raise _cannot(unknown, evidence)
    leaf = type(f"Inferred{evidence.model_class}", (family,), _words(family, names, evidence))
    made: Architecture = leaf(config, name, with_past)
    missing = [each for each in evidence.required if each not in made.inputs]
    if missing:
        raise _cannot(missing, evidence)
    return made


def refused(architecture: Architecture, reason: str, evidence: Evidence) -> ExportError:
    """The error for a model that doesn't run on what was inferred for it.

    Args:
        architecture: What was inferred.
        reason: What the model said, on one line.
        evidence: What the checkpoint says.
    """
    given = list(architecture.inputs)
    spoken_of = [each for each in evidence.parameters if re.search(rf"\b{each}\b", reason)]
    # A model that asks for another input names it; else what it was given has another shape than it wants.
    wanted = [each for each in spoken_of if each not in given] or [evidence.main_input]
    return ExportError(
        "cannot-infer",
        f"{evidence.model_class} takes {_listed(wanted)}, and no values that it accepts could be made from the "
        f"checkpoint alone: given {_listed(given)}, it says {reason}.",
        _custom_config(evidence.model_class, [each for each in given if each not in wanted], wanted),
    )


def _family(config: Any, task: str, with_past: bool, evidence: Evidence) -> type[Architecture]:
    """The family whose call looks like this model's."""
    parameters = evidence.parameters
    if "decoder_input_ids" in parameters and getattr(config, "is_encoder_decoder", False):
        if task not in ("sequence-classification", "question-answering", "token-classification"):
            return _ENCODER_DECODERS.get(evidence.main_input, TextToText)
        return TextEncoder
    if {"input_ids", "pixel_values"} <= set(parameters) and getattr(config, "vision_config", None):
        return ImageTextPair
    if "past_key_values" in parameters and (with_past or task == "causal-lm"):
        return Decoder
    family = _FAMILIES.get(evidence.main_input)
    if family is WaveformEncoder and not hasattr(config, "conv_kernel"):
        family = SpectrogramEncoder  # the name is of old: what an AST calls values is a spectrogram
    if family is None:
        raise _cannot([evidence.main_input], evidence)
    return OffsetEncoder if family is TextEncoder and counts_from_padding(config) else family


def counts_from_padding(config: Any) -> bool:
    """Whether the table of positions is a round number and the places that a padded text can't use: 514 = 512 + 2."""
    positions, pad = getattr(config, "max_position_embeddings", None), getattr(config, "pad_token_id", None)
    if positions is None or pad is None:
        return False
    return bool(positions % 8 != 0 and (positions - pad - 1) % 8 == 0)


def _input_names(evidence: Evidence, family: type[Architecture]) -> tuple[str, ...]:
    """What the preprocessor returns and ``forward`` takes; without a preprocessor, the usual companions."""
    if not evidence.preprocessor:
        return tuple(name for name in family.input_names if name in evidence.parameters)
    taken = tuple(name for name in evidence.parameters if name in evidence.preprocessor)
    return taken if evidence.main_input in taken else (evidence.main_input, *taken)


def _words(family: type[Architecture], names: tuple[str, ...], evidence: Evidence) -> dict[str, Any]:
    """Class attributes of the leaf."""
    words: dict[str, Any] = {"tasks": tuple(task.name for task in tasks.TASKS), "input_names": names}
    if issubclass(family, Decoder):
        words["takes_position_ids"] = "position_ids" in evidence.parameters
    return words


def _cannot(unknown: Sequence[str], evidence: Evidence) -> ExportError:
    known = [each for each in evidence.preprocessor if each in evidence.parameters and each not in unknown]
    return ExportError(
        "cannot-infer",
        f"{evidence.model_class} takes {_listed(unknown)}, and no values for "
        f"{'it' if len(unknown) == 1 else 'them'} can be made from the checkpoint alone.",
        _custom_config(evidence.model_class, known, unknown),
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(map(repr, names[:-1])), repr(names[-1])]))


def _custom_config(model_class: str, known: Sequence[str], unknown: Sequence[str]) -> str:
    """The few lines that describe a model: they run as they are, and shapes and types are for the reader to correct."""
    axes = ", ".join(f'"{name}": {{0: "batch", 1: "sequence"}}' for name in (*known, *unknown))
    tensors = ", ".join(f'"{name}": torch.ones(batch_size, seq_length)' for name in unknown)
    return f"""Describe it in a file beside the manifest (`config: export_configs.py:{model_class}OnnxConfig`):

import torch
from exporter.onnx import OnnxConfig

class {model_class}OnnxConfig(OnnxConfig):
    @property
    def inputs(self):  # the axes that may vary
        return {{{axes}}}

    def generate_dummy_inputs(self, preprocessor=None, batch_size=2, seq_length=8, **sizes):  # right shapes and types
        return {{{tensors}}}"""


KNOWN_INPUTS = frozenset(
    {
        "attention_mask",
        "bool_masked_pos",
        "bbox",
        "global_attention_mask",
        "input_features",
        "input_ids",
        "input_values",
        "pixel_mask",
        "pixel_values",
        "position_ids",
        "token_type_ids",
    }
)
"""Inputs that values can be made for."""

_FAMILIES: Mapping[str, type[Architecture]] = {
    "input_ids": TextEncoder,
    "pixel_values": ImageEncoder,
    "input_values": WaveformEncoder,
    "input_features": SpectrogramEncoder,
}

_ENCODER_DECODERS: Mapping[str, type[Architecture]] = {
    "input_ids": TextToText,
    "input_features": SpeechToText,
    "pixel_values": ImageToText,
}
