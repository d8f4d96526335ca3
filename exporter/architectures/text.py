"""Encoders of text: ids and a mask in, one vector a token or one a text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import Architecture, Axes, AxisRange
from exporter.architectures.registry import register

__all__ = ["Bert", "DistilBert", "Roberta", "TextEncoder"]


class TextEncoder(Architecture):
    """An encoder of token ids; the inputs are what its tokenizer returns.

    `position_offset` is how many rows at the start of the position table no text can reach: RoBERTa counts from
    ``pad_token_id + 1``, so 514 positions hold 512 tokens.
    """

    tasks: ClassVar[tuple[str, ...]] = (
        "default",
        "masked-lm",
        "sequence-classification",
        "multiple-choice",
        "token-classification",
        "question-answering",
    )
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        if self.task == "multiple-choice":
            return {name: {0: "batch", 1: "num_choices", 2: "sequence"} for name in self.input_names}
        return {name: {0: "batch", 1: "sequence"} for name in self.input_names}

    @property
    def position_offset(self) -> int:
        return 0

    def axis(self, name: str) -> AxisRange:
        positions = getattr(self.config, "max_position_embeddings", None)
        if name == "sequence" and positions:
            return AxisRange(maximum=positions - self.position_offset)
        return super().axis(name)


_WITH_CAUSAL: tuple[str, ...] = (*TextEncoder.tasks[:2], "causal-lm", *TextEncoder.tasks[2:])


@register
class Bert(TextEncoder):
    model_types = ("bert",)
    tasks = _WITH_CAUSAL


@register
class DistilBert(TextEncoder):
    model_types = ("distilbert",)
    input_names = ("input_ids", "attention_mask")


@register
class Roberta(TextEncoder):
    model_types = ("roberta",)
    tasks = _WITH_CAUSAL
    input_names = ("input_ids", "attention_mask")

    @property
    def position_offset(self) -> int:
        return int(self.config.pad_token_id) + 1
