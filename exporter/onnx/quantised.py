"""A quantised graph without its quantisation: the same nodes, computed with what the stored integers stand for.

What eight bits cost hides most faults of a graph. So activations are left as they are and stored integers become the
numbers that they stand for; the rest of the graph keeps its place. A quantised activation is then its own value with a
scale of 1 and a zero point of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exporter.onnx.contract import graphs_of
from exporter.results import ExportError
from exporter.runner import Array, Quantised

__all__ = ["Unquantised", "unquantise"]

_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_MOVES = frozenset({"Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Expand"})
_STORED = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT16, TensorProto.UINT16})


@dataclass(frozen=True)
class Unquantised:
    """What a graph had quantised.

    Attributes:
        weights: The stored matrices.
        scales: Names of the scales: numbers that are exactly what they are stored as.
    """

    weights: tuple[Quantised, ...]
    scales: frozenset[str]


def unquantise(model: onnx.ModelProto, read: Callable[[TensorProto], Array]) -> Unquantised:
    """Take the quantisation out of a graph, in place; stored integers become float64.

    Args:
        model: The graph; scales are still in the type they are stored in.
        read: Gives the values of a stored tensor.

    Raises:
        ExportError: It is quantised in a way that is not known here (kind ``no-float64``).
    """
    graphs = list(graphs_of(model.graph))
    if not any(_is_quantised(node) for graph in graphs for node in graph.node):
        return Unquantised((), frozenset())
    for graph in graphs:
        _lift_constants(graph)
    return _Unquantising(graphs, read).result()


def _is_quantised(node: onnx.NodeProto) -> bool:
    return node.op_type in ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", *_PRODUCTS)


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Integers that nodes give become stored tensors as the others are."""
    lifted = [
        node
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].t.data_type in (TensorProto.INT8, TensorProto.UINT8)
    ]
    for node in lifted:
        tensor = node.attribute[0].t
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


@dataclass
class _Weight:
    """A stored matrix while its uses are looked at; `scale` and `zero` can be laid over `stored`."""

    stored: Array
    scale: Array
    zero: Array
    gathered: bool = False
    multiplied: bool = False


@dataclass
class _Unquantising:
    """One model on its way."""

    graphs: list[onnx.GraphProto]
    read: Callable[[TensorProto], Array]
    weights: dict[str, _Weight] = field(default_factory=dict)
    scales: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tensors = {tensor.name: tensor for graph in self.graphs for tensor in graph.initializer}
        nodes = [node for graph in self.graphs for node in graph.node]
        self.makers = {name: node for node in nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def result(self) -> Unquantised:
        """Rewrite everything."""
        replaced = {id(graph): [self._replaced(node) for node in graph.node] for graph in self.graphs}
        for graph in self.graphs:
            nodes = [new for group in replaced[id(graph)] for new in group]
            kept = [self._stored(tensor) for tensor in graph.initializer]
            del graph.node[:], graph.initializer[:]
            graph.node.extend(nodes)
            graph.initializer.extend(kept)
        weights = tuple(_stands_for(name, weight) for name, weight in self.weights.items())
        return Unquantised(weights, frozenset(self.scales))

    def _replaced(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.op_type == "DynamicQuantizeLinear":
            return list(_as_it_is(node))
        if node.op_type == "QuantizeLinear":
            return [self._unrounded(node)]
        if node.op_type == "DequantizeLinear":
            return self._dequantised(node)
        if node.op_type in _PRODUCTS:
            return [self._product(node)]
        return [onnx.NodeProto.FromString(node.SerializeToString())]

    def _unrounded(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A rectifier is left out where the lowest integer stands for 0; so it is put back."""
        zero = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.uint8)
        if zero is not None and zero.dtype.kind in "iu" and (zero == np.iinfo(zero.dtype).min).all():
            return helper.make_node("Relu", [node.input[0]], list(node.output))
        return helper.make_node("Identity", [node.input[0]], list(node.output))

    def _dequantised(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        name, moved = self._origin(node.input[0])
        if name is None:
            return [helper.make_node("Identity", [node.input[0]], list(node.output))]
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        scale = self._value(node.input[1])
        if scale is None or attributes.get("block_size"):
            raise ExportError("no-float64", f"{node.name} dequantises with scales that come in blocks or are computed.")
        zero = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.int8)
        rank = len(self.tensors[name].dims)
        if scale.size > 1 and any(each.op_type != "Identity" for each in moved):
            raise ExportError("no-float64", f"{node.name} dequantises by channel what was moved before.")
        axis = attributes.get("axis", 1) % max(rank, 1)
        wide = _along(scale, axis, rank)
        self._use(name, wide, None if zero is None else _along(zero, axis, rank), moved)
        self.scales.add(node.input[1])
        if scale.size == 1:
            return [helper.make_node("Mul", [node.input[0], node.input[1]], list(node.output))]
        shape = f"{node.output[0]}::shape"
        laid = helper.make_node(
            "Constant", [], [shape], value=numpy_helper.from_array(np.asarray(wide.shape, np.int64))
        )
        turned = helper.make_node("Reshape", [node.input[1], shape], [f"{shape}::scale"])
        return [laid, turned, helper.make_node("Mul", [node.input[0], turned.output[0]], list(node.output))]

    def _product(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A product with stored integers whose scale follows behind it."""
        name, moved = self._origin(node.input[1])
        made = self.makers.get(self._root(node.input[0]))
        if name is None or made is None or made.op_type != "DynamicQuantizeLinear":
            raise ExportError("no-float64", f"{node.name} multiplies integers that are no stored weight.")
        axis = 0 if node.op_type == "ConvInteger" else -1
        rank = len(self.tensors[name].dims)
        zero = self._value(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros(1, np.int8)
        scale = _along(self._scale_behind(node), axis % rank, rank)
        if moved and scale.size > 1:
            raise ExportError("no-float64", f"{node.name} multiplies by channel what was moved before.")
        self._use(name, scale, None if zero is None else _along(zero, axis % rank, rank), moved)
        self.weights[name].multiplied = True
        product = helper.make_node(_PRODUCTS[node.op_type], list(node.input[:2]), list(node.output), name=node.name)
        product.attribute.extend(node.attribute)
        if node.op_type == "ConvInteger" and not any(each.name == "kernel_shape" for each in node.attribute):
            product.attribute.append(helper.make_attribute("kernel_shape", list(self.tensors[name].dims[2:])))
        return product

    def _scale_behind(self, node: onnx.NodeProto) -> Array:
        """The stored scale that the result of an integer product is multiplied with."""
        value = node.output[0]
        for _ in range(2):
            for reader in self.readers.get(value, []):
                if reader.op_type == "Mul":
                    other = reader.input[1] if reader.input[0] == value else reader.input[0]
                    maker = self.makers.get(other)
                    names = list(maker.input) if maker is not None and maker.op_type == "Mul" else [other]
                    for name in names:
                        scale = self._value(self._root(name))
                        if scale is not None:
                            self.scales.add(self._root(name))
                            return scale.reshape(-1) if scale.size > 1 else scale
                if reader.op_type == "Cast":
                    value = reader.output[0]
        raise ExportError("no-float64", f"{node.name} multiplies integers whose scale can't be found.")

    def _use(self, name: str, scale: Array, zero: Array | None, moved: list[onnx.NodeProto]) -> None:
        """Remember what a stored matrix stands for; all of its uses have to agree."""
        if zero is None:
            raise ExportError("no-float64", f"the zero point of {name} is computed.")
        weight = self.weights.setdefault(name, _Weight(self.read(self.tensors[name]), scale, zero))
        if not (np.array_equal(weight.scale, scale) and np.array_equal(weight.zero, zero)):
            raise ExportError("no-float64", f"{name} is dequantised in two ways.")
        if any(each.op_type == "Gather" for each in moved):
            weight.gathered = True
        else:
            weight.multiplied = True

    def _origin(self, value: str) -> tuple[str | None, list[onnx.NodeProto]]:
        """The stored integers that a value is, and the nodes that moved them."""
        moved = []
        while value not in self.tensors:
            node = self.makers.get(value)
            if node is None or node.op_type not in _MOVES:
                return None, []
            moved.append(node)
            value = node.input[0]
        return (value, moved) if self.tensors[value].data_type in _STORED else (None, [])

    def _root(self, value: str) -> str:
        while value not in self.tensors and value in self.makers and self.makers[value].op_type in _MOVES:
            value = self.makers[value].input[0]
        return value

    def _value(self, name: str) -> Array | None:
        if name in self.tensors:
            return self.read(self.tensors[name])
        node = self.makers.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].HasField("t"):
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        return None

    def _stored(self, tensor: TensorProto) -> TensorProto:
        weight = self.weights.get(tensor.name)
        if weight is None:
            return tensor
        return numpy_helper.from_array(weight.stored.astype(np.float64) - weight.zero, tensor.name)


def _stands_for(name: str, weight: _Weight) -> Quantised:
    values = (weight.stored.astype(np.float64) - weight.zero) * weight.scale
    return Quantised(name, values, weight.scale, weight.gathered, weight.multiplied)


def _as_it_is(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Identity", [node.input[0]], [node.output[0]])
    one = numpy_helper.from_array(np.asarray(1, np.float32))
    yield helper.make_node("Constant", [], [node.output[1]], value=one)
    yield helper.make_node("Constant", [], [node.output[2]], value=numpy_helper.from_array(np.asarray(0, np.uint8)))


def _along(values: Array, axis: int, rank: int) -> Array:
    """One number for all, or one for each index of an axis, as float64 that can be laid over a tensor."""
    wide = values.astype(np.float64)
    if wide.size == 1:
        return wide.reshape(())
    shape = [1] * rank
    shape[axis] = wide.size
    return wide.reshape(shape)
