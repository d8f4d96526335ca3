"""The same ONNX graph computed in float64, to see what rounding hides.

A wrong epsilon or a weight that is 0.3 % too large may change a small model's outputs by less than float32 rounds. With
weights, constants and casts widened, the graph itself is left: whatever then differs from eager in float64 is a fault
of the graph. Scalars of a model's code are widened to the numbers that were meant (`exporter.onnx.scalars`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from exporter.onnx.contract import Read, contract_of, graphs_of, names_read, read_model
from exporter.onnx.quantised import unquantise
from exporter.onnx.runtime import OnnxRunner
from exporter.onnx.scalars import either, exponentials, meant, meant_in_half
from exporter.onnx.spelled import attribute_meant, can_spell, spelled_out
from exporter.results import ExportError
from exporter.runner import Array, Contract, few_values

__all__ = ["LARGEST_BYTES", "DoubleRunner", "open_double", "open_probe"]

LARGEST_BYTES = 1_000_000_000
"""Files with more bytes of weights than this are not widened."""

_INLINE_BYTES = 1024

_SMALLEST_HALF = 2.0**-23

# Operators that ONNX Runtime computes in float32 only; those of a later version are found by trying.
_FLOAT32_ONLY = frozenset({"Conv", "ConvTranspose", "AveragePool"})
_NOT_IMPLEMENTED = re.compile(
    r"implementation for (\w+)\(|Type 'tensor\(double\)' of input parameter .* of operator \((\w+)\)"
)
_TRIES = 12

_HALF_BITS = {"float16": 10, "bfloat16": 7}

# Inputs that are float32 by definition, whatever the data is.
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


class DoubleRunner(OnnxRunner):
    """A file that computes in float64, but for some operators."""

    def __init__(self, path: Path, session: ort.InferenceSession, contract: Contract) -> None:
        super().__init__(path, session)
        self._contract = contract

    def contract(self) -> Contract:
        """What the file promises, and what still rounds to float32; the checks are made where it is opened as usual."""
        return self._contract


def open_double(path: Path, own_scalars: Collection[float] = frozenset(), read: Read = read_model) -> DoubleRunner:
    """Open a file so that it computes in float64; floating-point inputs and outputs are float64 too.

    Args:
        path: The file.
        own_scalars: Numbers that are the checkpoint's own, and so are what they are stored as.
        read: Gives the graph: the file's, or a part of it.

    Raises:
        ExportError: The file can't be opened, or can't be widened (kind ``no-float64``): too large, not float32, or
            with operators that nothing here computes in float64.
    """
    return _opened(path, read(path), own_scalars)


def open_probe(path: Path, own_scalars: Collection[float] = frozenset(), read: Read = read_model) -> DoubleRunner:
    """Open a file in float64 with every intermediate floating-point value as an output, in the order of computation.

    Args:
        path: The file.
        own_scalars: See `open_double`.
        read: Likewise.

    Raises:
        ExportError: See `open_double`.
    """
    return _opened(path, read(path), own_scalars, _show_everything)


def _opened(
    path: Path,
    model: onnx.ModelProto,
    own_scalars: Collection[float],
    prepare: Callable[[onnx.ModelProto], None] | None = None,
) -> DoubleRunner:
    if model.functions:
        raise ExportError("no-float64", f"{path.name} has functions of its own.")
    model = _copy(model)
    weights = _Weights(path, _narrow_types(model), frozenset(own_scalars))
    float32_only, promised = set(_FLOAT32_ONLY), contract_of(path, model)
    _drop_unread(model.graph)
    quantised = unquantise(model, weights.read)
    weights.exact = quantised.scales
    computed, nodes = weights.computed, [node for each in graphs_of(model.graph) for node in each.node]
    weights.rounded += [node.name for node in nodes if _keeps_float32(node, computed)]
    _widen(model.graph, weights)
    if prepare is not None:
        prepare(model)
    for _ in range(_TRIES):
        widened = _copy(model)
        narrowed = tuple(sorted(set(_replace_nodes(widened.graph, float32_only, _wide_values(widened), computed))))
        try:
            contract = replace(
                promised,
                float32_operators=narrowed,
                float32_scalars=tuple(weights.rounded),
                quantised=quantised.weights,
            )
            return DoubleRunner(path, weights.session(widened), contract)
        except Exception as error:  # ONNX Runtime raises a class of its own for each status code
            found = _NOT_IMPLEMENTED.search(str(error))
            missing = (found[1] or found[2]) if found else ""
            if not missing or missing in float32_only:
                first = str(error).strip().splitlines()[0]
                raise ExportError("no-float64", f"{path.name} can't be computed in float64: {first}") from error
            float32_only.add(missing)
    raise ExportError("no-float64", f"{path.name} has too many operators that exist in float32 only.")


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _keeps_float32(node: onnx.NodeProto, computed: Mapping[float, float]) -> bool:
    """Whether an attribute of a node, which is float32 in any graph, may have been another number."""
    attributes = [attribute for attribute in node.attribute if attribute.type == onnx.AttributeProto.FLOAT]
    numbers = [(each.f, attribute_meant(node, each, computed)) for each in attributes]
    return any(number is None or (number != stored and not can_spell(node)) for stored, number in numbers)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Leave out the weights that nothing reads: ONNX Runtime drops them, and then objects to their values."""
    read = names_read(graph)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]


def _show_everything(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    shown = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in shown and kinds.get(name) == TensorProto.DOUBLE:
                model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))


class _Weights:
    """Widened weights, kept outside the graph so that they are in memory once.

    Args:
        path: The file; external data is beside it.

    Attributes:
        narrow: Types that become float64. Half precision is one only where the weights are stored so: in a float32
            model it is a fault that has to stay.
        own_scalars: Numbers that are the checkpoint's, and stay what they are.
        computed: Numbers that exporters compute from those, by what float32 makes of them.
        exact: Names of tensors that are exactly what they are stored as: scales of what was quantised.
        rounded: Names of scalars that may have been another number before they were stored.
    """

    def __init__(self, path: Path, narrow: frozenset[int], own_scalars: frozenset[float]) -> None:
        self._path = path
        self.narrow = narrow
        self.own_scalars = own_scalars
        self.computed = exponentials(own_scalars)
        self.exact: frozenset[str] = frozenset()
        self.rounded: list[str] = []
        self._values: dict[str, ort.OrtValue] = {}
        self._bytes = 0

    def read(self, tensor: TensorProto) -> Array:
        """The values of a tensor as they are stored."""
        return np.asarray(numpy_helper.to_array(tensor, str(self._path.parent)))

    def take(self, tensor: TensorProto) -> TensorProto:
        """The widened form of a stored tensor."""
        array = self.read(tensor)
        self._bytes += array.nbytes
        if self._bytes > LARGEST_BYTES:
            raise ExportError("no-float64", f"{self._path.name} is too large to be computed in float64.")
        wide = self.widened(array, tensor.name) if tensor.data_type in self.narrow else array
        if not tensor.name or wide.nbytes <= _INLINE_BYTES:
            return numpy_helper.from_array(wide, tensor.name)
        self._values[tensor.name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(wide))
        outside = TensorProto(name=tensor.name, dims=wide.shape, data_location=TensorProto.EXTERNAL)
        outside.data_type = helper.np_dtype_to_tensor_dtype(wide.dtype)
        outside.external_data.add(key="location", value="float64")
        return outside

    def widened(self, array: Array, name: str) -> Array:
        """An array in float64, a scalar or what was spread from one as the number that was meant."""
        wide: Array = array.astype(np.float64)
        if name in self.exact or not (array.size and few_values(array)):
            return wide
        half = _HALF_BITS.get(str(array.dtype))
        stored_own = {float(array.dtype.type(each)) for each in self.own_scalars} if half else self.own_scalars
        for value in np.unique(wide[~np.isnan(wide)]).tolist():
            number = meant_in_half(value, array.dtype.type, half) if half else meant(value)
            own = value in stored_own
            if not half and not own:
                number = either(number, self.computed.get(value))
            if half and 0 < abs(value) <= _SMALLEST_HALF:
                # Converters write this for an epsilon that is smaller still.
                self.rounded.append(name)
                continue
            # In half precision every third number rounds like some simple one.
            if own and (half or number is None or array.size > 1):
                continue
            if number is None or (own and number != value):
                self.rounded.append(name)
            else:
                wide[wide == value] = number
        return wide

    def session(self, model: onnx.ModelProto) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # It runs a few small cases: laying the weights out anew for speed takes longer than it saves.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_external_initializers(list(self._values), list(self._values.values()))
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _widen(graph: onnx.GraphProto, weights: _Weights) -> None:
    """Make every float32 of a graph a float64: values, constants, casts."""
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in weights.narrow:
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
        attribute.t.CopyFrom(_wide(attribute.t, weights))
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        wide = weights.widened(np.asarray(values, np.float32), node.output[0])
        attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(wide)))
    elif attribute.name in ("to", "dtype") and attribute.i in weights.narrow:
        attribute.i = TensorProto.DOUBLE
    for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
        _widen(inner, weights)


def _wide(tensor: TensorProto, weights: _Weights) -> TensorProto:
    array = np.asarray(numpy_helper.to_array(tensor))
    wide = weights.widened(array, tensor.name) if tensor.data_type in weights.narrow else array
    return numpy_helper.from_array(wide, tensor.name)


def _narrow_types(model: onnx.ModelProto) -> frozenset[int]:
    """The types that a model computes in: float32, and half precision where most weights are stored so."""
    stored = Counter[int]()
    for tensor in model.graph.initializer:
        stored[tensor.data_type] += math.prod(tensor.dims)
    half = stored[TensorProto.FLOAT16] + stored[TensorProto.BFLOAT16]
    if half > stored[TensorProto.FLOAT]:
        return frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
    return frozenset({TensorProto.FLOAT})


def _wide_values(model: onnx.ModelProto) -> frozenset[str]:
    """Names of what is float64, as far as that can be inferred."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.DOUBLE}
    return frozenset(names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.DOUBLE})


def _replace_nodes(
    graph: onnx.GraphProto, float32_only: set[str], wide: frozenset[str], computed: Mapping[float, float]
) -> list[str]:
    """Spell out what has no float64 kernel, and put casts around what can't be spelled out: the operators returned."""
    float_values = _FloatValues()
    narrowed: list[str] = []
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                narrowed += _replace_nodes(inner, float32_only, wide, computed)
        spelled = spelled_out(node, computed)
        if spelled is not None:
            nodes += spelled
        elif node.op_type in float32_only:
            narrowed.append(node.op_type)
            taken = tuple(index for index, name in enumerate(node.input) if name in wide)
            nodes += float_values.island(node, taken, outputs=bool(taken))
        elif node.op_type in _FLOAT32_INPUTS:
            nodes += float_values.island(node, _FLOAT32_INPUTS[node.op_type], outputs=False)
        else:
            if node.domain not in ("", "ai.onnx"):
                narrowed.append(node.op_type)  # whatever its kernel is said to do
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return narrowed


class _FloatValues:
    """Casts around nodes."""

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
