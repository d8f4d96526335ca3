"""A merged decoder seen as the two decoders that it holds, each with its own names: what the judge compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from exporter.architectures import Graph
from exporter.architectures.cache import PAST
from exporter.onnx.contract import read_model
from exporter.onnx.merge import USE_CACHE_BRANCH
from exporter.onnx.runtime import OnnxRunner, open_model
from exporter.results import TensorInfo
from exporter.runner import Array, Contract

__all__ = ["BranchRunner", "declared_names", "open_branch"]


class BranchRunner:
    """One branch of a merged file, run as clients run it: what the branch doesn't read is fed empty.

    Attributes:
        inputs: What the branch reads, as the graph orders it.
        outputs: What the graph wants of it.
    """

    def __init__(self, merged: OnnxRunner, graph: Graph) -> None:
        self._merged = merged
        self._use_cache = any(name.startswith(PAST) for name in graph.inputs)
        self.inputs = tuple(each for name in graph.inputs for each in merged.inputs if each.name == name)
        self.outputs = tuple(each for name in graph.outputs for each in merged.outputs if each.name == name)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The branch's outputs by name.

        Raises:
            ExportError: ONNX Runtime refused.
        """
        batch = next(iter(inputs.values())).shape[0]
        filled = {each.name: _empty(each, batch) for each in self._merged.inputs if each.name not in inputs}
        given = self._merged.run({**filled, **inputs, USE_CACHE_BRANCH: np.array([self._use_cache])})
        return {each.name: given[each.name] for each in self.outputs}

    def contract(self) -> Contract:
        """What the whole file promises."""
        return self._merged.contract()

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Stored weights of the whole file."""
        return self._merged.weights()


def open_branch(path: Path, graph: Graph, optimise: bool = True) -> BranchRunner:
    """Open the branch of a merged file that computes `graph`.

    Raises:
        ExportError: The file is no model that ONNX Runtime can load.
    """
    return BranchRunner(open_model(path, optimise), graph)


def declared_names(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and outputs of a file, which is not opened for running.

    Raises:
        ExportError: The file is no ONNX.
    """
    graph = read_model(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(value.name for value in graph.input if value.name not in weights)
    return inputs, tuple(value.name for value in graph.output)


def _empty(tensor: TensorInfo, batch: int) -> Array:
    """Zeros of the least size: axes that vary are 0, but for the batch, which is the first."""
    shape = [axis if isinstance(axis, int) else (0 if index else batch) for index, axis in enumerate(tensor.shape)]
    return np.zeros(shape, tensor.dtype)
