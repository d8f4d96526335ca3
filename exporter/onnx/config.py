"""The classes that a person subclasses for a new architecture, under the names that ``transformers.onnx`` taught.

>>> class MyOnnxConfig(OnnxConfig):                              # doctest: +SKIP
...     @property
...     def inputs(self):
...         return {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}

They are thin: an `Architecture` whose inputs can be made as tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from exporter import inputs as arrays
from exporter.architectures import Architecture, Axes, AxisRange, Graph, Part
from exporter.architectures.cache import PAST, PRESENT, cache_axes, cross_cache_axes
from exporter.architectures.inferred import counts_from_padding

__all__ = ["OnnxConfig", "OnnxConfigWithPast", "OnnxSeq2SeqConfigWithPast"]

DEFAULT_BATCH = 2
DEFAULT_SEQUENCE = 8


class OnnxConfig(Architecture):
    """What a model takes and gives: define `inputs`, and where they differ from the task's `outputs` too.

    Args:
        config: The model's configuration.
        task: Name of a task in either family.
    """

    default_onnx_opset: int = 11

    def __init__(self, config: Any, task: str = "default") -> None:
        super().__init__(config, task)
        self._config = config  # the name under which subclasses written for `transformers.onnx` know it
        self._preprocessor: Any = None

    def prepared_by(self, preprocessor: Any) -> OnnxConfig:
        """The same for a checkpoint whose preprocessor `generate_dummy_inputs` is to be given."""
        prepared = copy.copy(self)
        prepared._preprocessor = preprocessor
        return prepared

    @classmethod
    def from_model_config(cls, config: Any, task: str = "default") -> OnnxConfig:
        """The same as calling the class."""
        return cls(config, task)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        graph = super().graphs[0]
        if type(self).generate_dummy_inputs is OnnxConfig.generate_dummy_inputs:
            return (graph,)
        return (replace(graph, generate=self._arrays),)

    def axis(self, name: str) -> AxisRange:
        positions = getattr(self.config, "max_position_embeddings", None)
        if name == "sequence" and isinstance(positions, int) and positions > 0:
            taken = self.config.pad_token_id + 1 if counts_from_padding(self.config) else 0
            return AxisRange(maximum=positions - taken)
        return super().axis(name)

    def generate_dummy_inputs(
        self, preprocessor: Any = None, batch_size: int = -1, seq_length: int = -1, framework: Any = None, **sizes: int
    ) -> Mapping[str, torch.Tensor]:
        """Tensors for every input, to trace the model with.

        Args:
            preprocessor: The checkpoint's; the default doesn't need it.
            batch_size: Rows; -1 is 2.
            seq_length: Tokens a row; -1 is 8.
            framework: Ignored: tensors are PyTorch's.
            sizes: Size by axis name, for axes that are neither of these.

        Returns:
            Input name to tensor, in the order of `inputs`.
        """
        graph = super().graphs[0]
        wanted = {"batch": batch_size, "sequence": seq_length, **sizes}
        complete = arrays.trace_sizes(graph) | {name: size for name, size in wanted.items() if size > 0}
        made = arrays.make(graph, complete, self.config, "right")
        return {name: torch.from_numpy(array) for name, array in made.items()}

    def _arrays(self, sizes: Mapping[str, int]) -> dict[str, arrays.Array]:
        made = self.generate_dummy_inputs(
            self._preprocessor,
            batch_size=sizes.get("batch", DEFAULT_BATCH),
            seq_length=sizes.get("sequence", DEFAULT_SEQUENCE),
        )
        return {name: np.asarray(value) for name, value in made.items()}


class OnnxConfigWithPast(OnnxConfig):
    """A decoder-only model, with keys and values of past tokens where `use_past` is set."""

    def __init__(self, config: Any, task: str = "default", use_past: bool = False) -> None:
        super().__init__(config, task)  # a task that ends in "-with-past" asks for it too
        self.use_past = use_past or self.use_past

    @classmethod
    def with_past(cls, config: Any, task: str = "default") -> OnnxConfigWithPast:
        """The form with past."""
        return cls(config, task, use_past=True)

    @property
    def part(self) -> Part:
        return "decoder" if self.use_past else "model"

    @property
    def outputs(self) -> Mapping[str, Axes]:
        outputs = dict(super().outputs)
        if self.use_past:
            self.fill_with_past_key_values_(outputs, direction="outputs")
        return outputs

    @property
    def num_layers(self) -> int:
        """Layers with a cache."""
        return int(self.config.num_hidden_layers)

    def fill_with_past_key_values_(
        self, inputs_or_outputs: MutableMapping[str, Axes], direction: Literal["inputs", "outputs"]
    ) -> None:
        """Add keys and values of every layer, in place."""
        inputs_or_outputs.update(self._cache(direction))

    def _cache(self, direction: Literal["inputs", "outputs"]) -> Mapping[str, Axes]:
        if direction == "inputs":
            return cache_axes(PAST, self.num_layers, "past_sequence")
        return cache_axes(PRESENT, self.num_layers, "past_sequence+sequence")


class OnnxSeq2SeqConfigWithPast(OnnxConfigWithPast):
    """An encoder-decoder, with keys and values of both attentions where `use_past` is set."""

    @property
    def part(self) -> Part:
        return "encoder_decoder" if self.use_past else "model"

    @property
    def num_layers(self) -> int:
        return int(getattr(self.config, "num_decoder_layers", None) or self.config.decoder_layers)

    def _cache(self, direction: Literal["inputs", "outputs"]) -> Mapping[str, Axes]:
        if direction == "inputs":
            return cross_cache_axes(PAST, self.num_layers, "past_decoder_sequence", "encoder_sequence")
        tokens = "past_decoder_sequence+decoder_sequence"
        return cross_cache_axes(PRESENT, self.num_layers, tokens, "encoder_sequence")
