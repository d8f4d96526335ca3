"""One run of someone else's file beside eager, to learn what it gives and which sizes it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from exporter.architectures import Axes, AxisRange, Graph
from exporter.eager import every_output
from exporter.inputs import make, trace_sizes
from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Runner
from exporter.validation.feeding import fed

__all__ = ["Trial", "declared_sizes", "try_out"]

_LENGTHS = (8, 128, 16, 32, 64, 10, 20, 256, 384, 512, 5, 7)
"""Lengths that people trace with, the commonest first."""


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        arrays: The inputs, by the graph's names.
        eager: All that eager gives for them, by name.
        axes: Axes of what eager gives beyond the graph's outputs.
        given: All that the file gives, by its names; empty where it ran at no size.
        refused: Why it did not run.
        fixed: Sizes of axes that a file refuses to vary, where it declares nothing.
    """

    arrays: Mapping[str, Array]
    eager: Mapping[str, Array]
    axes: Mapping[str, Axes]
    given: Mapping[str, Array] = field(default_factory=dict)
    refused: str = ""
    fixed: Mapping[str, int] = field(default_factory=dict)

    def alike(self, name: str, theirs: str) -> bool:
        """Whether an output of the file has the shape and kind of one of eager's; true where it did not run."""
        if not self.given:
            return True
        ours, other = self.eager.get(name), self.given[theirs]
        return ours is not None and ours.shape == other.shape and ours.dtype.kind == other.dtype.kind

    def passes_on(self, output: str, name: str) -> bool:
        """Whether eager gives back an input as it came."""
        given, taken = self.eager.get(output), self.arrays.get(name)
        return given is not None and taken is not None and np.array_equal(given, taken)


@dataclass(frozen=True)
class _Bench:
    """A file on the bench: what it is run with, by sizes."""

    graph: Graph
    config: Any
    runner: Runner
    pairs: Mapping[str, str]
    idle: tuple[TensorInfo, ...]

    def arrays(self, sizes: Mapping[str, int]) -> dict[str, Array]:
        return make(self.graph, sizes, self.config)

    def run(self, sizes: Mapping[str, int]) -> dict[str, Array]:
        return self.runner.run(fed(self.runner, self.pairs, self.idle, self.arrays(sizes)))

    def refusal(self, sizes: Mapping[str, int]) -> str:
        try:
            self.run(sizes)
        except ExportError as error:
            return error.problem.message
        return ""


def try_out(
    graph: Graph, model: nn.Module, runner: Runner, pairs: Mapping[str, str], idle: tuple[TensorInfo, ...]
) -> Trial:
    """Run a file and eager once, at the sizes that the file declares.

    A file that declares no sizes is tried at several, and then at others, one axis at a time: what it refuses to vary
    is what it promises.

    Args:
        graph: The graph with the inputs that the file has.
        model: The eager model.
        runner: The file.
        pairs: Name of an input in the file by name in the graph.
        idle: Inputs that nothing reads.

    Raises:
        ExportError: Eager itself refuses (kind ``eager-refuses``).
    """
    config: Any = model.config
    bench = _Bench(graph, config, runner, pairs, idle)
    usual = trace_sizes(graph) | declared_sizes(graph, runner, pairs)
    undeclared = not any(each.shape for each in runner.inputs)
    tried = [usual, *_common(graph, usual)] if undeclared else [usual]
    taken = next((sizes for sizes in tried if not bench.refusal(sizes)), None)
    sizes = taken or usual
    others = {axis: _another(size, graph.ranges.get(axis, AxisRange())) for axis, size in sizes.items()}
    fixed = {}
    if taken and undeclared:
        fixed = {axis: size for axis, size in sizes.items() if bench.refusal({**sizes, axis: others[axis]})}
    arrays, given = bench.arrays(sizes), bench.run(sizes) if taken else {}
    more: dict[str, Axes] = {name: {} for name in (*given, *(each.name for each in runner.outputs))}
    asked = replace(graph, outputs={**graph.outputs, **more})
    eager = _eager(model, asked, arrays)
    return Trial(
        arrays,
        eager,
        _axes(graph, (sizes, others), (eager, _eager_at(model, asked, bench, others))),
        given=given,
        refused="" if taken else bench.refusal(usual),
        fixed=fixed,
    )


def declared_sizes(graph: Graph, runner: Runner, pairs: Mapping[str, str]) -> dict[str, int]:
    """Sizes that a file declares for axes which the graph leaves open."""
    declared = {each.name: each.shape for each in runner.inputs}
    return {
        axis: size
        for name, theirs in pairs.items()
        for index, axis in graph.inputs[name].items()
        if index < len(declared[theirs]) and isinstance(size := declared[theirs][index], int)
    }


def _common(graph: Graph, usual: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Sizes that people trace with: every text as long as the others."""
    texts = [axis for axis in usual if axis.endswith("sequence")]
    ends = [graph.ranges[axis].maximum for axis in texts if axis in graph.ranges]
    longest = min((end for end in ends if end is not None), default=None)
    lengths = [*_LENGTHS, longest] if longest else list(_LENGTHS)
    for length in lengths if texts else [0]:
        for batch in (1, 2, 4, 8):
            if longest is None or length <= longest:
                yield {**usual, **dict.fromkeys(texts, length), "batch": batch}


def _another(size: int, allowed: AxisRange) -> int:
    """A size beside another one, where an axis has room for it."""
    larger, smaller = size + allowed.multiple_of, size - allowed.multiple_of
    if allowed.maximum is None or larger <= allowed.maximum:
        return larger
    return smaller if smaller >= max(allowed.minimum, 1) else size


def _eager(model: nn.Module, graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    try:
        with torch.no_grad():
            given = every_output(model, graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
    except Exception as error:  # whatever a model's own code raises
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
        raise ExportError("eager-refuses", f"the eager model refuses these inputs: {reason}") from error
    # What a decoder says of the encoder is what it was given, or stands in for it.
    foreign = "encoder_" if graph.part.startswith("decoder") else None
    tensors = {
        name: each
        for name, each in given.items()
        if isinstance(each, torch.Tensor) and not (foreign and name.startswith(foreign))
    }
    return {name: each.numpy() for name, each in tensors.items() if each.dtype is not torch.bfloat16}


def _eager_at(model: nn.Module, asked: Graph, bench: _Bench, sizes: Mapping[str, int]) -> dict[str, Array]:
    try:
        return _eager(model, asked, bench.arrays(sizes))
    except ExportError:
        return {}


def _axes(
    graph: Graph, sizes: Iterable[Mapping[str, int]], eager: Iterable[Mapping[str, Array]]
) -> dict[str, dict[int, str]]:
    """Axes of each of eager's outputs: those whose size is an axis's at two sizes of it."""
    first, second = sizes
    names = {axis for axes in (*graph.inputs.values(), *graph.outputs.values()) for axis in axes.values()}
    known = {name: (_size(name, first), _size(name, second)) for name in sorted(names)}
    here, there = eager
    return {
        output: {
            index: axis
            for index, pair in enumerate(zip(array.shape, there[output].shape, strict=True))
            for axis, both in known.items()
            if both == pair and pair[0] != pair[1]
        }
        if output in there and there[output].ndim == array.ndim
        else {}
        for output, array in here.items()
    }


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    return sum(sizes.get(part.strip(), 0) for part in axis.split("+"))
