"""Operations on ONNX graphs that know no model: find nodes, change weights, put operators after a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Emit", "Surgery"]

Emit = Callable[..., str]
"""Writes a node and returns the name of its output: ``emit("Add", x, emit.constant(1.0))``."""


class Surgery:
    """A graph on the table.

    Attributes:
        model: The model; changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self._count = 0

    @property
    def inputs(self) -> list[str]:
        weights = {tensor.name for tensor in self.graph.initializer}
        return [value.name for value in self.graph.input if value.name not in weights]

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.graph.output]

    def nodes(self, *operators: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type in operators]

    def producer(self, value: str) -> onnx.NodeProto | None:
        return next((node for node in self.graph.node if value in node.output), None)

    def consumers(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if value in node.input]

    def value(self, name: str) -> np.ndarray | None:
        """What a name stands for, where that is a constant."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return numpy_helper.to_array(tensor)
        node = self.producer(name)
        if node is not None and node.op_type == "Constant":
            return (
                np.asarray(helper.get_attribute_value(node.attribute[0]))
                if node.attribute[0].name != "value"
                else (numpy_helper.to_array(node.attribute[0].t))
            )
        return None

    def weights(self, dimensions: int = 2) -> list[str]:
        """Names of stored float matrices (or vectors ...), in the order in which nodes read them."""
        found = {
            tensor.name
            for tensor in self.graph.initializer
            if tensor.data_type == TensorProto.FLOAT
            and len(tensor.dims) == dimensions
            and min(tensor.dims, default=0) > 1
        }
        order = [name for node in self.graph.node for name in node.input if name in found]
        return list(dict.fromkeys(order))

    def tables(self) -> list[str]:
        """Names of matrices from which rows are gathered."""
        return [name for name in self.weights() if any(node.op_type == "Gather" for node in self.consumers(name))]

    def multiplied(self) -> list[str]:
        """Names of matrices that something is multiplied with."""
        kinds = ("MatMul", "Gemm")
        return [name for name in self.weights() if any(node.op_type in kinds for node in self.consumers(name))]

    def set(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Replace a stored tensor; False when nothing changed."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                before = numpy_helper.to_array(tensor)
                after = change(before.copy()).astype(before.dtype)
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(after), name))
                return not np.array_equal(before, after)
        return False

    def after(self, value: str, build: Callable[[Emit, str], str]) -> None:
        """Whoever reads `value` reads what `build` makes of it."""
        position = 0
        producer = self.producer(value)
        if producer is None:
            source = value
        else:
            source = self._name()
            producer.output[list(producer.output).index(value)] = source
            position = list(self.graph.node).index(producer) + 1
        made: list[onnx.NodeProto] = []
        result = build(self._emitter(made), source)
        if producer is None:
            for node in self.graph.node:
                for index, name in enumerate(node.input):
                    if name == value:
                        node.input[index] = result
        else:
            made.append(helper.make_node("Identity", [result], [value]))
        self._insert(position, made)

    def before(self, node: onnx.NodeProto, index: int, build: Callable[[Emit, str], str]) -> None:
        """One input of one node becomes what `build` makes of it."""
        made: list[onnx.NodeProto] = []
        result = build(self._emitter(made), node.input[index])
        position = list(self.graph.node).index(node)
        node.input[index] = result
        self._insert(position, made)

    def bypass(self, node: onnx.NodeProto, index: int = 0) -> None:
        """A node passes one of its inputs on."""
        source, target = node.input[index], node.output[0]
        position = list(self.graph.node).index(node)
        del self.graph.node[position]
        self._insert(position, [helper.make_node("Identity", [source], [target])])

    def _insert(self, position: int, nodes: list[onnx.NodeProto]) -> None:
        for offset, node in enumerate(nodes):
            self.graph.node.insert(position + offset, node)

    def _emitter(self, made: list[onnx.NodeProto]) -> Emit:
        def emit(operator: str, *inputs: str | float | int | list[int] | np.ndarray, **attributes: Any) -> str:
            names = [each if isinstance(each, str) else self._constant(each, made) for each in inputs]
            name = self._name()
            made.append(helper.make_node(operator, names, [name], **attributes))
            return name

        return emit

    def _constant(self, value: float | int | list[int] | np.ndarray, made: list[onnx.NodeProto]) -> str:
        if isinstance(value, np.ndarray):
            array = value
        else:
            array = np.asarray(value, np.float32 if isinstance(value, float) else np.int64)
        name = self._name()
        made.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"fault_{self._count}"

    def walk_back(self, value: str, *operators: str) -> Iterator[onnx.NodeProto]:
        """Nodes of some kinds that a value depends on, nearest first."""
        waiting, seen = [value], set()
        while waiting:
            node = self.producer(waiting.pop(0))
            if node is None or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            if node.op_type in operators:
                yield node
            waiting += list(node.input)
