"""Two decoder files as one: ``decoder_model_merged.onnx``, where ``use_cache_branch`` says which half runs.

This is the layout that clients of encoder-decoder models load. Weights that both halves have are stored once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
from onnx import helper

from exporter.architectures import Axes, Graph
from exporter.onnx.finish import save
from exporter.results import ExportError

__all__ = ["USE_CACHE_BRANCH", "merge_decoders"]

USE_CACHE_BRANCH = "use_cache_branch"


def merge_decoders(first: Path, following: Path, path: Path, graph: Graph) -> Path:
    """Write the merged file.

    Args:
        first: The decoder without past.
        following: The decoder with past; it need not give cross-attention's keys and values, which don't change.
        path: Where the merged file goes; large weights go to ``<name>_data`` beside it.
        graph: Inputs and outputs of the merged file.

    Returns:
        `path`.

    Raises:
        ExportError: The halves have different operator sets, or an output is in neither.
    """
    halves = {"first": onnx.load(str(first)), "following": onnx.load(str(following))}
    opsets = {name: _opsets(model) for name, model in halves.items()}
    if any(opsets["first"].get(domain, version) != version for domain, version in opsets["following"].items()):
        raise ExportError("merge-failed", f"{first.name} and {following.name} have different operator sets.")
    weights = _Weights()
    branches = {name: _branch(name, model.graph, graph, weights) for name, model in halves.items()}
    choice = helper.make_node(
        "If",
        [USE_CACHE_BRANCH],
        list(graph.outputs),
        name="decoder",
        then_branch=branches["following"],
        else_branch=branches["first"],
    )
    merged = helper.make_graph(
        [choice],
        "decoder_model_merged",
        _inputs(graph, (model.graph for model in halves.values())),
        _outputs(graph, halves["first"].graph),
        initializer=weights.kept,
    )
    domains = {**opsets["first"], **opsets["following"]}
    model = helper.make_model(
        merged,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=max(model.ir_version for model in halves.values()),
        producer_name=halves["first"].producer_name,
        producer_version=halves["first"].producer_version,
        functions=_functions(halves.values()),
    )
    save(model, path)
    return path


class _Weights:
    """Initialisers by content: what two graphs share is kept once."""

    def __init__(self) -> None:
        self.kept: list[onnx.TensorProto] = []
        self._names: dict[bytes, str] = {}

    def keep(self, tensor: onnx.TensorProto) -> str:
        """The name under which this content is stored."""
        content = onnx.TensorProto()
        content.CopyFrom(tensor)
        content.name = ""
        key = hashlib.sha256(content.SerializeToString(deterministic=True)).digest()
        if key not in self._names:
            self._names[key] = content.name = f"weight_{len(self.kept)}"
            self.kept.append(content)
        return self._names[key]


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {entry.domain: entry.version for entry in model.opset_import}


def _branch(name: str, half: onnx.GraphProto, graph: Graph, weights: _Weights) -> onnx.GraphProto:
    """One half as a branch of the ``If``: no inputs of its own, every inner name marked, all outputs in order."""
    outer = {tensor.name: weights.keep(tensor) for tensor in half.initializer}
    outer |= {each: each for each in graph.inputs}
    given = {value.name: value for value in half.output}
    taken = {value.name: value for value in half.input}
    nodes = [_renamed_node(node, outer, f"{name}/") for node in half.node]
    outputs = []
    for output in graph.outputs:
        # Cross-attention's keys and values don't change: the half that doesn't give them gives what it took.
        past = output.replace("present.", "past_key_values.", 1)
        value = given.get(output) or taken.get(past)
        if value is None:
            raise ExportError("merge-failed", f"the decoder {half.name!r} gives no {output!r}.")
        # An output of a branch must be computed inside it.
        final = f"{name}/out/{output}"
        nodes.append(helper.make_node("Identity", [_renamed(value.name, outer, f"{name}/")], [final], name=final))
        outputs.append(helper.make_tensor_value_info(final, value.type.tensor_type.elem_type, None))
    return helper.make_graph(nodes, name, [], outputs)


def _renamed(name: str, outer: Mapping[str, str], prefix: str) -> str:
    """What a value is called inside a branch; an absent optional input has no name and stays so."""
    return outer.get(name, prefix + name) if name else name


def _renamed_node(node: onnx.NodeProto, outer: Mapping[str, str], prefix: str) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.name = prefix + node.name
    copied.input[:] = [_renamed(name, outer, prefix) for name in node.input]
    copied.output[:] = [_renamed(name, outer, prefix) for name in node.output]
    for attribute in copied.attribute:
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            _rename_graph(inner, outer, prefix)
    return copied


def _rename_graph(graph: onnx.GraphProto, outer: Mapping[str, str], prefix: str) -> None:
    """Rename what a graph inside a node reads and makes."""
    nodes = [_renamed_node(node, outer, prefix) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = _renamed(value.name, outer, prefix)


def _inputs(graph: Graph, halves: Iterable[onnx.GraphProto]) -> list[onnx.ValueInfoProto]:
    values = {value.name: value for half in halves for value in half.input}
    values[USE_CACHE_BRANCH] = helper.make_tensor_value_info(USE_CACHE_BRANCH, onnx.TensorProto.BOOL, [1])
    return [_with_axes(values[name], axes) for name, axes in graph.inputs.items() if name in values]


def _outputs(graph: Graph, half: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    values = {value.name: value for value in half.output}
    return [_with_axes(values[name], axes) for name, axes in graph.outputs.items()]


def _with_axes(value: onnx.ValueInfoProto, axes: Axes) -> onnx.ValueInfoProto:
    """The same tensor with the axes of the merged graph, which vary where those of one half may not."""
    named = onnx.ValueInfoProto()
    named.CopyFrom(value)
    for index, name in axes.items():
        named.type.tensor_type.shape.dim[index].dim_param = name
    return named


def _functions(models: Iterable[onnx.ModelProto]) -> list[onnx.FunctionProto]:
    """Functions that both halves call; the engines write the same one under the same name."""
    return list({(each.domain, each.name): each for model in models for each in model.functions}.values())
