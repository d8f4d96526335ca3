"""The same ONNX graph computed in float64, to see what rounding hides.

A wrong epsilon or a weight that is 0.3 % too large may change a small model's outputs by less than float32 rounds. With
weights, constants and casts widened, the graph itself is left: whatever then differs from eager in float64 is a fault of
the graph, but for constants that were stored in float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.polynomial import chebyshev
from onnx import TensorProto, helper, numpy_helper

from exporter.onnx.contract import read_model
from exporter.onnx.runtime import OnnxRunner
from exporter.results import ExportError
from exporter.runner import Array

__all__ = ["LARGEST_BYTES", "open_double"]

LARGEST_BYTES = 1_000_000_000
"""Files with more bytes of weights than this are not widened."""

_INLINE_BYTES = 1024

# Operators that ONNX Runtime computes in float32 only; those of a later version are found by trying.
_FLOAT32_ONLY = frozenset({"Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "InstanceNormalization"})
_NOT_IMPLEMENTED = re.compile(r"implementation for (\w+)\(")
_TRIES = 12

# Inputs that are float32 by definition, whatever the data is.
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


def open_double(path: Path) -> OnnxRunner:
    """Open a file so that it computes in float64; floating-point inputs and outputs are float64 too.

    Raises:
        ExportError: The file can't be opened, or can't be widened (kind ``no-float64``): too large, not float32, or
            with operators that no runtime here computes in float64.
    """
    model = read_model(path)
    weights = _Weights(path)
    float32_only = set(_FLOAT32_ONLY)
    _widen(model.graph, weights)
    if model.functions:
        raise ExportError("no-float64", f"{path.name} has functions of its own.")
    for _ in range(_TRIES):
        widened = onnx.ModelProto()
        widened.CopyFrom(model)
        _replace_nodes(widened.graph, float32_only)
        try:
            return OnnxRunner(path, weights.session(widened))
        except Exception as error:  # ONNX Runtime raises a class of its own for each status code
            missing = _NOT_IMPLEMENTED.search(str(error))
            if missing is None or missing[1] in float32_only:
                first = str(error).strip().splitlines()[0]
                raise ExportError("no-float64", f"{path.name} can't be computed in float64: {first}") from error
            float32_only.add(missing[1])
    raise ExportError("no-float64", f"{path.name} has too many operators that exist in float32 only.")


class _Weights:
    """Widened weights, kept outside the graph so that they are in memory once.

    Args:
        path: The file; external data is beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, ort.OrtValue] = {}
        self._bytes = 0

    def take(self, tensor: TensorProto) -> TensorProto:
        """The widened form of a stored tensor."""
        if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            raise ExportError("no-float64", f"{self._path.name} stores weights in half precision.")
        array = np.asarray(numpy_helper.to_array(tensor, str(self._path.parent)))
        self._bytes += array.nbytes
        if self._bytes > LARGEST_BYTES:
            raise ExportError("no-float64", f"{self._path.name} is too large to be computed in float64.")
        wide = array.astype(np.float64) if array.dtype == np.float32 else array
        if not tensor.name or wide.nbytes <= _INLINE_BYTES:
            return numpy_helper.from_array(wide, tensor.name)
        self._values[tensor.name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(wide))
        outside = TensorProto(name=tensor.name, dims=wide.shape, data_location=TensorProto.EXTERNAL)
        outside.data_type = helper.np_dtype_to_tensor_dtype(wide.dtype)
        outside.external_data.add(key="location", value="float64")
        return outside

    def session(self, model: onnx.ModelProto) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers(list(self._values), list(self._values.values()))
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _widen(graph: onnx.GraphProto, weights: _Weights) -> None:
    """Make every float32 of a graph a float64: values, constants, casts."""
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    initializers = [weights.take(tensor) for tensor in graph.initializer]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float32))))
        for attribute in node.attribute:
            _widen_attribute(node, attribute, weights)


def _widen_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto, weights: _Weights) -> None:
    if attribute.HasField("t"):
        attribute.t.CopyFrom(weights.take(attribute.t) if not attribute.t.name else _wide(attribute.t))
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.asarray(values, np.float64))))
    elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.DOUBLE
    for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
        _widen(inner, weights)


def _wide(tensor: TensorProto) -> TensorProto:
    array = np.asarray(numpy_helper.to_array(tensor))
    return numpy_helper.from_array(array.astype(np.float64) if array.dtype == np.float32 else array, tensor.name)


def _replace_nodes(graph: onnx.GraphProto, float32_only: set[str]) -> None:
    """Spell out `Erf`, and put casts around what exists in float32 only."""
    float_values = _FloatValues()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _replace_nodes(inner, float32_only)
        if node.op_type == "Erf":
            nodes += _erf(node)
        elif node.op_type in float32_only:
            nodes += float_values.island(node, tuple(range(len(node.input))), outputs=True)
        elif node.op_type in _FLOAT32_INPUTS:
            nodes += float_values.island(node, _FLOAT32_INPUTS[node.op_type], outputs=False)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


class _FloatValues:
    """Casts around nodes; all inputs of the operators in question are floating point."""

    def __init__(self) -> None:
        self._count = 0

    def island(self, node: onnx.NodeProto, inputs: tuple[int, ...], outputs: bool) -> Iterator[onnx.NodeProto]:
        """A node between casts to float32 and, where `outputs`, back."""
        for index in inputs:
            if index < len(node.input) and node.input[index]:
                narrow = self._name()
                yield helper.make_node("Cast", [node.input[index]], [narrow], to=TensorProto.FLOAT)
                node.input[index] = narrow
        given = list(node.output)
        if outputs:
            node.output[0] = self._name()
        yield node
        if outputs:
            yield helper.make_node("Cast", [node.output[0]], [given[0]], to=TensorProto.DOUBLE)

    def _name(self) -> str:
        self._count += 1
        return f"float64::narrow_{self._count}"


_ERF_END = 5.5
_ERF_DEGREE = 30


def _erf_coefficients() -> Array:
    """erf(x) / x as a Chebyshev series in x² over [0, 5.5²]: erf is odd, and 1 beyond; error below 1e-13."""

    def ratio(position: Array) -> Array:
        squares = np.maximum((position + 1) / 2 * _ERF_END**2, 1e-30)
        return np.asarray([math.erf(math.sqrt(square)) / math.sqrt(square) for square in squares])

    return np.asarray(chebyshev.chebinterpolate(ratio, _ERF_DEGREE))


def _erf(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Nodes that compute ``Erf`` in float64, by Clenshaw's recurrence."""
    prefix = f"float64::{node.output[0]}"
    count = 0

    def emit(operator: str, *inputs: str) -> tuple[onnx.NodeProto, str]:
        nonlocal count
        count += 1
        name = f"{prefix}::{count}"
        return helper.make_node(operator, list(inputs), [name]), name

    def constant(value: float) -> tuple[onnx.NodeProto, str]:
        made, name = emit("Constant")
        made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.asarray(value, np.float64))))
        return made, name

    low, low_name = constant(-_ERF_END)
    high, high_name = constant(_ERF_END)
    clipped, x = emit("Clip", node.input[0], low_name, high_name)
    squared, square = emit("Mul", x, x)
    scale, scale_name = constant(4 / _ERF_END**2)
    scaled, scaled_name = emit("Mul", square, scale_name)
    two, two_name = constant(2.0)
    # Twice the position in [-1, 1], which is what the recurrence multiplies with.
    twice, t = emit("Sub", scaled_name, two_name)
    yield from (low, high, clipped, squared, scale, scaled, two, twice)
    coefficients = _erf_coefficients()
    zero, newer = constant(0.0)
    yield zero
    older = newer
    for value in coefficients[:0:-1]:
        factor, factor_name = constant(float(value))
        product, product_name = emit("Mul", t, newer)
        difference, difference_name = emit("Sub", product_name, older)
        total, total_name = emit("Add", difference_name, factor_name)
        yield from (factor, product, difference, total)
        older, newer = newer, total_name
    half, half_name = constant(0.5)
    position, position_name = emit("Mul", t, half_name)
    product, product_name = emit("Mul", position_name, newer)
    difference, difference_name = emit("Sub", product_name, older)
    first, first_name = constant(float(coefficients[0]))
    series, series_name = emit("Add", difference_name, first_name)
    yield from (half, position, product, difference, first, series)
    yield helper.make_node("Mul", [x, series_name], list(node.output))
