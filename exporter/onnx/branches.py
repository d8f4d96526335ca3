"""A merged decoder seen as the two decoders that it holds, each with its own names: what the judge compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from exporter.architectures import Graph
from exporter.architectures.cache import takes_past
from exporter.onnx.contract import Read, names_read, read_model
from exporter.onnx.merge import USE_CACHE_BRANCH
from exporter.onnx.runtime import OnnxRunner, open_model
from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Contract

__all__ = ["BranchRunner", "declared_names", "open_branch", "read_branch"]


class BranchRunner:
    """One branch of a merged file, run as clients run it: what the branch doesn't read is fed empty.

    Attributes:
        inputs: What the branch reads, as the graph orders it.
        outputs: What the graph wants of it.
    """

    def __init__(self, merged: OnnxRunner, graph: Graph) -> None:
        self._merged = merged
        self._use_cache = takes_past(graph)
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


def open_branch(path: Path, graph: Graph, optimise: bool = True, read: Read = read_model) -> BranchRunner:
    """Open the branch of a merged file that computes `graph`.

    Args:
        path: The merged file.
        graph: One of its two graphs.
        optimise: See `open_model`.
        read: Likewise.

    Raises:
        ExportError: The file is no model that ONNX Runtime can load.
    """
    return BranchRunner(open_model(path, optimise, read=read), graph)


def read_branch(path: Path, graph: Graph, read: Read = read_model) -> onnx.ModelProto:
    """A merged file with one branch in place of the choice, and only what that reads and `graph` wants.

    Args:
        path: The merged file.
        graph: One of its two graphs.
        read: Gives the whole.

    Raises:
        ExportError: It is put together in another way (kind ``no-float64``), or see `read_model`.
    """
    model = read(path)
    whole = model.graph
    choices = [node for node in whole.node if node.op_type == "If" and USE_CACHE_BRANCH in node.input]
    if len(choices) != 1:
        raise ExportError("no-float64", f"{path.name} isn't one choice between two graphs.")
    side = "then_branch" if takes_past(graph) else "else_branch"
    branch = next(each.g for each in choices[0].attribute if each.name == side)
    nodes: list[onnx.NodeProto] = []
    for node in whole.node:
        nodes += _in_place(branch, node) if node is choices[0] else [node]
    inlined = helper.make_graph(
        nodes,
        whole.name,
        whole.input,
        [value for value in whole.output if value.name in graph.outputs],
        initializer=[*whole.initializer, *branch.initializer],
    )
    wanted = names_read(inlined)
    for value in [each for each in inlined.input if each.name not in wanted]:
        inlined.input.remove(value)
    return helper.make_model(
        inlined, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )


def _in_place(branch: onnx.GraphProto, choice: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield from branch.node
    for inner, outer in zip(branch.output, choice.output, strict=True):
        yield helper.make_node("Identity", [inner.name], [outer])


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
