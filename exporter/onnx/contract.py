"""What an ONNX file promises, read without running it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from exporter.onnx.finish import opset_of
from exporter.results import Check, ExportError, Status
from exporter.runner import Array, Contract

__all__ = ["Read", "contract_of", "graphs_of", "names_read", "read_contract", "read_model", "stored_weights"]

Read = Callable[[Path], onnx.ModelProto]
"""`read_model`, or what remembers its result where a file is opened in several ways; that isn't to be changed then."""


def read_model(path: Path) -> onnx.ModelProto:
    """The graph without its external data, after a look at where that data is said to be.

    Raises:
        ExportError: Not an ONNX file, or external data is missing, short, or outside the file's folder.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's decoder raises a class that is not public
        raise ExportError("not-loadable", f"{path.name} is no ONNX file: it can't be decoded.") from error
    if not model.graph.node or not model.opset_import:
        raise ExportError("not-loadable", f"{path.name} is no ONNX file: it holds no graph.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(path, tensor)
    return model


def read_contract(path: Path, read: Read = read_model) -> Contract:
    """The promises of a file.

    Raises:
        ExportError: See `read_model`.
    """
    return replace(contract_of(path, read(path)), checks=(_checker(path),))


def contract_of(path: Path, model: onnx.ModelProto) -> Contract:
    """The promises of a file that was read already; without the checks, which read it again."""
    locations = {_external(tensor)["location"] for tensor in _external_tensors(model.graph)}
    return Contract(
        files=(path, *(path.parent / location for location in sorted(locations))),
        opset=opset_of(model),
        parameter_bytes=sum(_nbytes(tensor) for tensor in _tensors(model.graph)),
        unused_inputs=_unused_inputs(model.graph),
    )


def stored_weights(path: Path, read: Read = read_model) -> Iterator[tuple[str, Array]]:
    """Initialisers and constants by name, one at a time."""
    for tensor in _tensors(read(path).graph):
        yield tensor.name, np.asarray(numpy_helper.to_array(tensor, str(path.parent)))


def _checker(path: Path) -> Check:
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        return Check(name="onnx.checker", status=Status.FAILED, message=first)
    return Check(name="onnx.checker", status=Status.PASSED)


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the graphs of its control flow."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from graphs_of(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for each in graphs_of(graph):
        yield from each.initializer
        for node in each.node:
            yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _external_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    return (tensor for tensor in _tensors(graph) if tensor.data_location == onnx.TensorProto.EXTERNAL)


def _external(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _check_external(path: Path, tensor: onnx.TensorProto) -> None:
    entry = _external(tensor)
    location = entry.get("location", "")
    data = (path.parent / location).resolve()
    if not location or not data.is_relative_to(path.parent.resolve()):
        raise ExportError(
            "external-data",
            f"{path.name}: the weight {tensor.name!r} is said to be in {location!r}, outside the folder.",
        )
    if not data.is_file():
        raise ExportError(
            "external-data", f"{path.name}: the file {location!r} with the weight {tensor.name!r} is missing."
        )
    places = [entry.get(key, "0") for key in ("offset", "length")]
    if not all(each.isdecimal() for each in places):
        raise ExportError(
            "external-data", f"{path.name}: where the weight {tensor.name!r} starts and how long it is are no numbers."
        )
    if data.stat().st_size < sum(map(int, places)):
        raise ExportError(
            "external-data", f"{path.name}: {location!r} ends before the weight {tensor.name!r} does; it is cut short."
        )


def _nbytes(tensor: onnx.TensorProto) -> int:
    itemsize: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims)) * itemsize


def names_read(graph: onnx.GraphProto) -> set[str]:
    """What the nodes of a graph and of its control flow read, and what these graphs give."""
    read = {name for each in graphs_of(graph) for node in each.node for name in node.input}
    return read | {value.name for each in graphs_of(graph) for value in each.output}


def _unused_inputs(graph: onnx.GraphProto) -> tuple[str, ...]:
    read = names_read(graph)
    weights = {tensor.name for tensor in graph.initializer}
    return tuple(value.name for value in graph.input if value.name not in read | weights)
