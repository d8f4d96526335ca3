"""What one model type takes and gives: names, axes and sizes, no tensors.

One description serves every format. A leaf class says only what differs from its family:

>>> class DistilBert(TextEncoder):                              # doctest: +SKIP
...     model_types = ("distilbert",)

The three class attributes a leaf usually sets are `model_types`, `tasks` and `input_names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from exporter import tasks

__all__ = ["Architecture", "Axes", "AxisRange", "Graph", "Part"]

Axes = Mapping[int, str]
"""Which axes of a tensor may vary, and what they are called: ``{0: "batch", 1: "sequence"}``."""

Part = Literal["model", "decoder", "encoder", "decoder_first", "decoder_next", "decoder_merged"]
"""Which computation of the eager model a graph is; `exporter.eager` knows how to run each.

``model``: one call of ``forward`` without cache. ``decoder``: a decoder-only model with past keys and values.
``encoder``: the encoder of an encoder-decoder. ``decoder_first``: its decoder without past, all presents out.
``decoder_next``: its decoder with past, self-attention presents out. ``decoder_merged``: both in one graph.
"""


@dataclass(frozen=True)
class AxisRange:
    """The sizes that an axis may take, both ends included."""

    minimum: int = 1
    maximum: int | None = None
    multiple_of: int = 1


@dataclass(frozen=True)
class Graph:
    """One file to export: what goes in, what comes out, and which part of the model computes it.

    Attributes:
        file: Stem of the file: ``model``, ``encoder_model`` ...
        part: The computation.
        inputs: Ordered as ``forward`` takes them; each with the axes that may vary.
        outputs: Ordered as the file returns them.
    """

    file: str
    part: Part
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]


class Architecture:
    """What a model type takes and gives for a task.

    Args:
        config: The model's configuration; read by attribute, never imported from.
        task: Canonical task name or synonym.
        use_past: Whether keys and values of past tokens are inputs and outputs.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("default",)
    tasks_with_past: ClassVar[tuple[str, ...]] = ()
    input_names: ClassVar[tuple[str, ...]] = ()
    default_onnx_opset: int = 18
    atol_for_validation: float | None = None

    def __init__(self, config: Any, task: str = "default", use_past: bool = False) -> None:
        self.config = config
        self.task = tasks.find(task).name
        self.use_past = use_past or tasks.split_past(task)[1]

    @classmethod
    def features(cls) -> tuple[str, ...]:
        """Every (task, cache) pair that is described, as feature names."""
        return tuple(
            name
            for task in cls.tasks
            for name in (task, *((task + tasks.PAST_SUFFIX,) if task in cls.tasks_with_past else ()))
        )

    @property
    def inputs(self) -> Mapping[str, Axes]:
        """Inputs of the one graph that this description is about, in the order of ``forward``."""
        raise NotImplementedError

    @property
    def outputs(self) -> Mapping[str, Axes]:
        """Outputs of that graph, in the order the file returns them."""
        return OUTPUTS[self.task]

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The files that together make the model usable; one, unless encoder and decoder part ways."""
        return (Graph("model", "model", self.inputs, self.outputs),)

    def axis(self, name: str) -> AxisRange:
        """The sizes that an axis may take."""
        return AxisRange()


_BATCH: Axes = {0: "batch"}
_TOKENS: Axes = {0: "batch", 1: "sequence"}

OUTPUTS: Mapping[str, Mapping[str, Axes]] = {
    "default": {"last_hidden_state": _TOKENS},
    "masked-lm": {"logits": _TOKENS},
    "causal-lm": {"logits": _TOKENS},
    "seq2seq-lm": {"logits": {0: "batch", 1: "decoder_sequence"}},
    "speech2seq-lm": {"logits": {0: "batch", 1: "decoder_sequence"}},
    "vision2seq-lm": {"logits": {0: "batch", 1: "decoder_sequence"}},
    "sequence-classification": {"logits": _BATCH},
    "multiple-choice": {"logits": {0: "batch", 1: "num_choices"}},
    "token-classification": {"logits": _TOKENS},
    "question-answering": {"start_logits": _TOKENS, "end_logits": _TOKENS},
    "image-classification": {"logits": _BATCH},
    "object-detection": {"logits": _BATCH, "pred_boxes": _BATCH},
    "image-segmentation": {"logits": _BATCH, "pred_boxes": _BATCH, "pred_masks": _BATCH},
    "semantic-segmentation": {"logits": _BATCH},
    "masked-im": {"reconstruction": _BATCH},
    "audio-classification": {"logits": _BATCH},
    "ctc": {"logits": {0: "batch", 1: "frames"}},
    "depth-estimation": {"predicted_depth": _BATCH},
}
"""Outputs by task where a family doesn't say otherwise; the names are attributes of the eager model's output."""
