"""What one model type takes and gives: names, axes and sizes, no tensors.

One description serves every format. A leaf class says only what differs from its family:

>>> class DistilBert(TextEncoder):                              # doctest: +SKIP
...     model_types = ("distilbert",)

The class attributes a leaf usually sets are `model_types`, `tasks` and `input_names`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from exporter import tasks

__all__ = ["Architecture", "Axes", "AxisRange", "Graph", "Part"]

Axes = Mapping[int, str]
"""Which axes of a tensor may vary, and what they are called: ``{0: "batch", 1: "sequence"}``."""

Part = Literal[
    "model",
    "decoder",
    "decoder_prefill",
    "encoder_decoder",
    "encoder",
    "decoder_first",
    "decoder_next",
    "decoder_merged",
]
"""Which computation of the eager model a graph is; `exporter.eager` knows how to run each.

``model``: one call of ``forward`` without cache. ``decoder``: a decoder-only model with past keys and values.
``decoder_prefill``: the same without past in; only files of other exporters are this.
``encoder_decoder``: a whole encoder-decoder with past. ``encoder``: its encoder alone. ``decoder_first``: its decoder
without past, all presents out. ``decoder_next``: its decoder with past, self-attention presents out.
``decoder_merged``: both decoders in one file, chosen by the input ``use_cache_branch``.
"""


@dataclass(frozen=True)
class AxisRange:
    """The sizes that an axis may take.

    Attributes:
        minimum: Smallest size.
        maximum: Largest size, included; None where there is no limit.
        multiple_of: What a size must be a multiple of.
        usual: The size that the model was made for, where there is one: the side of an image.
    """

    minimum: int = 1
    maximum: int | None = None
    multiple_of: int = 1
    usual: int | None = None

    def nearest(self, size: int) -> int:
        """The usual size, or else the allowed size nearest above `size`, or below it at the end of the range."""
        if self.usual is not None:
            return self.usual
        step = self.multiple_of
        above = max(-(-size // step), -(-self.minimum // step)) * step
        return above if self.maximum is None else min(above, self.maximum // step * step)


@dataclass(frozen=True)
class Graph:
    """One file to export: what goes in, what comes out, and which part of the model computes it.

    Attributes:
        file: Stem of the file: ``model``, ``encoder_model`` ...
        part: The computation.
        inputs: Ordered as ``forward`` takes them; each with the axes that may vary.
        outputs: Ordered as the file returns them.
        ranges: The sizes that an axis may take, by its name; any size where it is missing.
        ignored: Inputs that the model takes and never reads. A preprocessor returns them, so a file takes them too.
        generate: Makes arrays for inputs that nobody else knows, from sizes by axis name; from a custom configuration.
        fixed: Sizes of axes that could vary and may not: no longer among the axes, still needed to make inputs.
    """

    file: str
    part: Part
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    ranges: Mapping[str, AxisRange] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    generate: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)


class Architecture:
    """What a model type takes and gives for a task.

    Attributes:
        model_types: Types described, as ``config.model_type`` says them.
        tasks: Canonical names of the tasks described; `tasks_with_past` are those that also have a form with cache.
        input_names: What the preprocessor of such a model returns.
        default_onnx_opset: Opset of the documented Python API where nobody asks for another.
        atol_for_validation: Absolute tolerance where the model is known to need one of its own.

    Args:
        config: The model's configuration; read by attribute, never imported from.
        task: Canonical task name or synonym.
        use_past: Whether keys and values of past tokens are inputs and outputs.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("default",)
    tasks_with_past: ClassVar[tuple[str, ...]] = ()
    input_names: tuple[str, ...] = ()
    default_onnx_opset: int = 11
    atol_for_validation: float | None = None

    def __init__(self, config: Any, task: str = "default", use_past: bool = False) -> None:
        self.config = config
        self.task = tasks.find(task).name
        self.use_past = use_past or tasks.split_past(task)[1]

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
        return (self.whole,)

    @property
    def whole(self) -> Graph:
        """The one graph that `inputs` and `outputs` are about."""
        return self.graph("model", self.part, self.inputs, self.outputs)

    @property
    def merged(self) -> Graph | None:
        """The file that two decoders become, where there are two."""
        return None

    @property
    def part(self) -> Part:
        """The computation of the whole."""
        return "model"

    def graph(self, file: str, part: Part, inputs: Mapping[str, Axes], outputs: Mapping[str, Axes]) -> Graph:
        """A graph with the ranges of its axes."""
        names = {name for axes in (*inputs.values(), *outputs.values()) for name in axes.values()}
        ranges = {name: self.axis(name) for name in sorted(names)}
        limited = {name: each for name, each in ranges.items() if each != AxisRange()}
        return Graph(file, part, inputs, outputs, limited, tuple(name for name in self.ignored if name in inputs))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Inputs that ``forward`` takes and doesn't read with this configuration."""
        return ()

    def axis(self, name: str) -> AxisRange:
        """The sizes that an axis may take."""
        return AxisRange()

    def fed_by(self, names: Sequence[str]) -> Architecture:
        """The same for a checkpoint whose preprocessor returns other inputs than is usual for its type.

        Args:
            names: ``model_input_names`` of the checkpoint's preprocessor.

        Returns:
            Itself, unless the family takes whatever a tokenizer returns.
        """
        return self

    def _with_input_names(self, names: Sequence[str]) -> Architecture:
        if set(names) == set(self.input_names):
            return self
        fed = copy.copy(self)
        usual = [name for name in self.input_names if name in names]
        fed.input_names = (*usual, *(name for name in names if name not in usual))
        return fed


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
