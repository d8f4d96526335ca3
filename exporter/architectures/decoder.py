"""Decoder-only language models: one graph that takes a past of any length, 0 included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange, Graph
from exporter.architectures.registry import register

__all__ = ["GPT2", "Decoder"]


class Decoder(Architecture):
    """A causal language model.

    `takes_position_ids` is whether ``forward`` has positions of its own: without them as an input, a left-padded prompt
    would be counted from the padding, which is not what ``generate`` does.
    """

    tasks: ClassVar[tuple[str, ...]] = ("default", "causal-lm")
    tasks_with_past = ("default", "causal-lm")
    input_names = ("input_ids", "attention_mask")
    takes_position_ids: ClassVar[bool] = True

    @property
    def inputs(self) -> Mapping[str, Axes]:
        if not self.use_past:
            return {name: {0: "batch", 1: "sequence"} for name in self.input_names}
        inputs: dict[str, Axes] = {
            "input_ids": {0: "batch", 1: "sequence"},
            "attention_mask": {0: "batch", 1: "past_sequence+sequence"},
        }
        if self.takes_position_ids:
            inputs["position_ids"] = {0: "batch", 1: "sequence"}
        return inputs | self._cache("past_key_values", "past_sequence")

    @property
    def outputs(self) -> Mapping[str, Axes]:
        plain = OUTPUTS[self.task]
        return {**plain, **self._cache("present", "past_sequence+sequence")} if self.use_past else plain

    @property
    def graphs(self) -> tuple[Graph, ...]:
        return (Graph("model", "decoder" if self.use_past else "model", self.inputs, self.outputs),)

    @property
    def num_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    def axis(self, name: str) -> AxisRange:
        if name == "past_sequence":
            return AxisRange(minimum=0)
        positions = getattr(self.config, "max_position_embeddings", None)
        if name in ("sequence", "past_sequence+sequence") and positions:
            return AxisRange(maximum=positions)
        return super().axis(name)

    def _cache(self, prefix: str, axis: str) -> dict[str, Axes]:
        """Keys and values of every layer, each (batch, heads, tokens, head size)."""
        return {
            f"{prefix}.{layer}.{part}": {0: "batch", 2: axis}
            for layer in range(self.num_layers)
            for part in ("key", "value")
        }


@register
class GPT2(Decoder):
    model_types = ("gpt2",)
    tasks = ("default", "causal-lm", "sequence-classification", "token-classification")
