"""From what an engine wrote to the file that users load: named axes, no traces of the build, weights in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

from exporter.architectures import Axes, Graph
from exporter.onnx.tied import share_transposed
from exporter.results import ExportError
from exporter.runner import Array

__all__ = ["EXTERNAL_DATA_BYTES", "finish", "opset_of", "save"]

EXTERNAL_DATA_BYTES = 1_800_000_000
"""Models above this have their weights in a second file: a protobuf ends at 2 GiB."""


def finish(written: Path, path: Path, graph: Graph, opset: int, sample: Mapping[str, Array]) -> None:
    """Turn an engine's file into the final one.

    Args:
        written: What the engine wrote, with its weights inside or beside it.
        path: Where the model goes; large weights go to ``<name>_data`` beside it, where clients look.
        graph: Names of inputs, outputs and axes.
        opset: The opset that was asked for.
        sample: What the graph was traced with.

    Raises:
        ExportError: The engine wrote another opset than it was asked for.
    """
    model = onnx.load(str(written))
    actual = opset_of(model)
    if actual != opset:
        raise ExportError("opset", f"opset {opset} was asked for, but the engine wrote opset {actual}.")
    _forget_the_build(model)
    share_transposed(model.graph)
    _restore_ignored(model.graph, graph, sample)
    _name_axes(model.graph.input, graph.inputs)
    _name_axes(model.graph.output, graph.outputs)
    save(model, path)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model whose weights are inside it; large ones go to ``<name>_data`` beside it, where clients look."""
    external = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_DATA_BYTES
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=external,
        all_tensors_to_one_file=True,
        location=f"{path.name}_data",
        size_threshold=1024,
    )


def opset_of(model: onnx.ModelProto) -> int:
    """Opset of the standard domain; 0 when the model names none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _forget_the_build(model: onnx.ModelProto) -> None:
    """Drop what the engines note about the code they read: paths, line numbers, stack traces."""
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        values = [*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node]
        for item in (graph, *values):
            item.doc_string = ""
            del item.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                graphs.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    model.doc_string = ""
    del model.metadata_props[:]


def _restore_ignored(written: onnx.GraphProto, graph: Graph, sample: Mapping[str, Array]) -> None:
    """Give back the inputs that a preprocessor returns and the model never reads: engines drop them."""
    values = {value.name: value for value in written.input}
    for name in graph.ignored:
        if name not in values:
            dtype = onnx.helper.np_dtype_to_tensor_dtype(sample[name].dtype)
            dims = [graph.inputs[name].get(index, size) for index, size in enumerate(sample[name].shape)]
            values[name] = onnx.helper.make_tensor_value_info(name, dtype, dims)
    del written.input[:]
    written.input.extend(values[name] for name in graph.inputs if name in values)


def _name_axes(values: Iterable[onnx.ValueInfoProto], named: Mapping[str, Axes]) -> None:
    """Give dynamic axes their declared names; an axis that the engine made static stays as it is, for all to see."""
    for value in values:
        dims = value.type.tensor_type.shape.dim
        for index, name in named.get(value.name, {}).items():
            if index < len(dims) and not dims[index].HasField("dim_value"):
                dims[index].dim_param = name
