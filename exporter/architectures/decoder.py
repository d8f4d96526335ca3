"""Decoder-only language models: one graph that takes a past of any length, 0 included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange, Part
from exporter.architectures.cache import PAST, PRESENT, cache_axes
from exporter.architectures.registry import register

__all__ = ["Decoder"]

_TOTAL = "past_sequence+sequence"


class Decoder(Architecture):
    """A causal language model.

    `takes_position_ids` is whether ``forward`` has positions of its own: without them as an input, a left-padded prompt
    would be counted from the padding, which is not what ``generate`` does.
    """

    tasks: ClassVar[tuple[str, ...]] = ("default", "causal-lm")
    tasks_with_past: ClassVar[tuple[str, ...]] = ("default", "causal-lm")
    input_names: tuple[str, ...] = ("input_ids", "attention_mask")
    takes_position_ids: ClassVar[bool] = True

    @property
    def inputs(self) -> Mapping[str, Axes]:
        tokens: Axes = {0: "batch", 1: "sequence"}
        if not self.use_past:
            return dict.fromkeys(self.input_names, tokens)
        inputs: dict[str, Axes] = {"input_ids": tokens, "attention_mask": {0: "batch", 1: _TOTAL}}
        if self.takes_position_ids:
            inputs["position_ids"] = tokens
        return inputs | cache_axes(PAST, self.num_layers, "past_sequence")

    @property
    def outputs(self) -> Mapping[str, Axes]:
        plain = OUTPUTS[self.task]
        return {**plain, **cache_axes(PRESENT, self.num_layers, _TOTAL)} if self.use_past else plain

    @property
    def part(self) -> Part:
        return "decoder" if self.use_past else "model"

    @property
    def num_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def max_sequence(self) -> int | None:
        """Tokens of the longest text, or None where positions have no end."""
        return getattr(self.config, "max_position_embeddings", None)

    def axis(self, name: str) -> AxisRange:
        if name == "past_sequence":
            return AxisRange(minimum=0)
        if name in ("sequence", _TOTAL):
            return AxisRange(maximum=self.max_sequence)
        if name == "batch" and self.task == "sequence-classification" and self.config.pad_token_id is None:
            # The last token is classified, and without a padding token nothing tells which one that is.
            return AxisRange(maximum=1)
        return super().axis(name)

    def fed_by(self, names: Sequence[str]) -> Architecture:
        return self if self.use_past else self._with_input_names(names)


@register
class GPT2(Decoder):
    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)
    default_onnx_opset = 13
    tasks = ("default", "causal-lm", "sequence-classification", "token-classification")


@register
class Bloom(GPT2):
    model_types = ("bloom",)
    takes_position_ids = False


@register
class GPTNeo(Decoder):
    model_types = ("gpt-neo",)
    default_onnx_opset = 13
    tasks = ("default", "causal-lm", "sequence-classification")


@register
class GPTJ(Decoder):
    model_types = ("gptj",)
    default_onnx_opset = 13
    tasks = ("default", "causal-lm", "question-answering", "sequence-classification")


@register
class CodeGen(Decoder):
    model_types = ("codegen",)
    default_onnx_opset = 13


@register
class BartDecoder(Decoder):
    """The decoder half of an encoder-decoder, alone; it counts positions from the past."""

    model_types = ("bart", "bigbird-pegasus", "blenderbot", "blenderbot-small", "marian", "mbart")
    tasks = ("causal-lm",)
    tasks_with_past = ("causal-lm",)
    takes_position_ids = False

    @property
    def num_layers(self) -> int:
        return int(self.config.decoder_layers)
