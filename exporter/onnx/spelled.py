"""Operators that ONNX Runtime computes in float32 only, spelled out in operators that it computes in float64 too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from numpy.polynomial import chebyshev
from onnx import helper, numpy_helper

from exporter.onnx.scalars import beside, either, meant

__all__ = ["attribute_meant", "can_spell", "spelled_out"]

_INT64_MAX = 2**63 - 1


def spelled_out(node: onnx.NodeProto, computed: Mapping[float, float]) -> list[onnx.NodeProto] | None:
    """Nodes that compute the same in float64; None where the operator needs none or can't be spelled out.

    Args:
        node: The operator.
        computed: See `attribute_meant`.
    """
    spell = _spelling(node)
    if spell is None:
        return None
    nodes = _Nodes(node, computed)
    result = spell(nodes)
    if result is None:
        return None
    nodes.also(0, result)
    return nodes.made


def can_spell(node: onnx.NodeProto) -> bool:
    """Whether an operator is one of those that are spelled out, with numbers in float64."""
    return _spelling(node) is not None


def _spelling(node: onnx.NodeProto) -> Spelling | None:
    spellings = {"": _SPELLINGS, "ai.onnx": _SPELLINGS, "com.microsoft": _FUSED}
    return spellings.get(node.domain, {}).get(node.op_type)


def attribute_meant(
    node: onnx.NodeProto, attribute: onnx.AttributeProto, computed: Mapping[float, float]
) -> float | None:
    """The number that was meant by a float attribute, which keeps a float32; None where that can't be told.

    Args:
        node: The operator.
        attribute: Its attribute.
        computed: Numbers that exporters compute from the checkpoint's, by what float32 makes of them.
    """
    # ONNX Runtime multiplies two factors that were rounded when it fuses a product.
    near = (0, 1, -1, 2, -2) if node.op_type == "FusedMatMul" else (0,)
    found = (meant(beside(attribute.f, steps)) for steps in near)
    return either(next((number for number in found if number is not None), None), computed.get(attribute.f))


def _attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto, computed: Mapping[float, float]) -> Any:
    value = helper.get_attribute_value(attribute)
    return attribute_meant(node, attribute, computed) or value if isinstance(value, float) else value


class _Nodes:
    """Nodes being written in the place of another, with names that nothing else has.

    Attributes:
        inputs: Inputs of the node that is replaced; `outputs` and `attributes` likewise.
        made: Nodes written so far.
    """

    def __init__(self, node: onnx.NodeProto, computed: Mapping[float, float]) -> None:
        self.outputs: tuple[str, ...] = tuple(node.output)
        self.inputs: tuple[str, ...] = tuple(node.input)
        self.attributes: dict[str, Any] = {each.name: _attribute(node, each, computed) for each in node.attribute}
        self.made: list[onnx.NodeProto] = []
        self._prefix = f"float64::{node.output[0]}"

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self._prefix}::{len(self.made)}"
        self.made.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def also(self, output: int, value: str) -> None:
        """Make a value an output of the node that is replaced."""
        self.made.append(helper.make_node("Identity", [value], [self.outputs[output]]))

    def loop(self, coefficients: Sequence[float], start: tuple[str, str], factor: str) -> tuple[str, str]:
        """``newer, older = factor * newer - older + coefficient, newer`` for every coefficient: the last two."""
        table = self("Constant", value=numpy_helper.from_array(np.asarray(coefficients, np.float64)))
        inner = _Nodes(onnx.NodeProto(output=[f"{self._prefix}::{len(self.made)}"]), {})
        turn, go_on, newer, older = (f"{inner._prefix}::{name}" for name in ("turn", "go_on", "newer", "older"))
        stepped = inner("Sub", inner("Mul", factor, newer), older)
        results = (
            inner("Identity", go_on),
            inner("Add", stepped, inner("Gather", table, turn)),
            inner("Identity", newer),
        )
        body = helper.make_graph(
            inner.made,
            "recurrence",
            [
                helper.make_tensor_value_info(turn, onnx.TensorProto.INT64, []),
                helper.make_tensor_value_info(go_on, onnx.TensorProto.BOOL, []),
                *(helper.make_tensor_value_info(each, onnx.TensorProto.DOUBLE, None) for each in (newer, older)),
            ],
            [
                helper.make_tensor_value_info(results[0], onnx.TensorProto.BOOL, []),
                *(helper.make_tensor_value_info(each, onnx.TensorProto.DOUBLE, None) for each in results[1:]),
            ],
        )
        end = self("Constant", value=numpy_helper.from_array(np.asarray(len(coefficients), np.int64)))
        name = f"{self._prefix}::{len(self.made)}"
        self.made.append(helper.make_node("Loop", [end, "", *start], [name, f"{name}::older"], body=body))
        return name, f"{name}::older"

    def number(self, value: float) -> str:
        return self("Constant", value=numpy_helper.from_array(np.asarray(value, np.float64)))

    def whole(self, *values: int) -> str:
        return self("Constant", value=numpy_helper.from_array(np.asarray(values, np.int64)))

    def size(self, value: str, axis: int) -> str:
        """Size of one axis, as a tensor of one element."""
        return self("Gather", self("Shape", value), self.whole(axis))


Spelling = Callable[[_Nodes], str | None]

_ERF_END = 5.5
_ERF_DEGREE = 30


def _erf_series() -> npt.NDArray[np.float64]:
    """erf(x) / x as a Chebyshev series in x² over [0, 5.5²]: erf is odd, and 1 beyond; the error is below 1e-13."""

    def ratio(position: Any) -> Any:
        squares = np.maximum((position + 1) / 2 * _ERF_END**2, 1e-30)
        return np.asarray([math.erf(math.sqrt(square)) / math.sqrt(square) for square in squares])

    return np.asarray(chebyshev.chebinterpolate(ratio, _ERF_DEGREE), np.float64)


def _erf_of(value: str, nodes: _Nodes) -> str:
    """Clenshaw's recurrence, as a loop: a graph of thousands of nodes takes ONNX Runtime seconds to open."""
    x = nodes("Clip", value, nodes.number(-_ERF_END), nodes.number(_ERF_END))
    # Twice the position in [-1, 1], which is what the recurrence multiplies with.
    twice = nodes("Sub", nodes("Mul", nodes("Mul", x, x), nodes.number(4 / _ERF_END**2)), nodes.number(2))
    first, *others = _erf_series()
    zero = nodes("Mul", twice, nodes.number(0))
    newer, older = nodes.loop(others[::-1], (zero, zero), twice)
    half = nodes("Mul", nodes("Mul", twice, nodes.number(0.5)), newer)
    return nodes("Mul", x, nodes("Add", nodes("Sub", half, older), nodes.number(float(first))))


def _erf(nodes: _Nodes) -> str:
    return _erf_of(nodes.inputs[0], nodes)


def _gelu(nodes: _Nodes) -> str:
    tanh = nodes.attributes.get("approximate", b"none") == b"tanh"
    return _tanh_gelu_of(nodes.inputs[0], nodes) if tanh else _erf_gelu_of(nodes.inputs[0], nodes)


def _tanh_gelu_of(x: str, nodes: _Nodes) -> str:
    cubic = nodes("Mul", nodes("Mul", x, nodes("Mul", x, x)), nodes.number(0.044715))
    bent = nodes("Tanh", nodes("Mul", nodes("Add", x, cubic), nodes.number(math.sqrt(2 / math.pi))))
    return nodes("Mul", nodes("Mul", x, nodes.number(0.5)), nodes("Add", bent, nodes.number(1)))


def _erf_gelu_of(x: str, nodes: _Nodes) -> str:
    bent = _erf_of(nodes("Mul", x, nodes.number(math.sqrt(0.5))), nodes)
    return nodes("Mul", nodes("Mul", x, nodes.number(0.5)), nodes("Add", bent, nodes.number(1)))


def _shifted(nodes: _Nodes) -> str:
    """The first input, with the second added where there is one."""
    x, *bias = nodes.inputs
    return nodes("Add", x, bias[0]) if bias and bias[0] else x


def _fast_gelu(nodes: _Nodes) -> str:
    return _tanh_gelu_of(_shifted(nodes), nodes)


def _bias_gelu(nodes: _Nodes) -> str:
    return _erf_gelu_of(_shifted(nodes), nodes)


def _quick_gelu(nodes: _Nodes) -> str:
    x = nodes.inputs[0]
    return nodes("Mul", x, nodes("Sigmoid", nodes("Mul", x, nodes.number(nodes.attributes.get("alpha", 1.702)))))


def _fused_product(nodes: _Nodes) -> str | None:
    """A matrix product with its factor; ONNX Runtime keeps the factor in float32."""
    if nodes.attributes.get("transBatchA") or nodes.attributes.get("transBatchB"):
        return None
    factors = [
        nodes("Einsum", each, equation="...ij->...ji") if nodes.attributes.get(turned) else each
        for each, turned in zip(nodes.inputs, ("transA", "transB"), strict=True)
    ]
    product = nodes("MatMul", *factors)
    return nodes("Mul", product, nodes.number(nodes.attributes.get("alpha", 1.0)))


def _hard_sigmoid_of(value: str, nodes: _Nodes, alpha: float, beta: float) -> str:
    line = nodes("Add", nodes("Mul", value, nodes.number(alpha)), nodes.number(beta))
    return nodes("Clip", line, nodes.number(0), nodes.number(1))


def _hard_sigmoid(nodes: _Nodes) -> str:
    return _hard_sigmoid_of(
        nodes.inputs[0], nodes, nodes.attributes.get("alpha", 0.2), nodes.attributes.get("beta", 0.5)
    )


def _hard_swish(nodes: _Nodes) -> str:
    return nodes("Mul", nodes.inputs[0], _hard_sigmoid_of(nodes.inputs[0], nodes, 1 / 6, 0.5))


def _leaky_relu(nodes: _Nodes) -> str:
    x, zero = nodes.inputs[0], nodes.number(0)
    below = nodes("Mul", nodes("Min", x, zero), nodes.number(nodes.attributes.get("alpha", 0.01)))
    return nodes("Add", nodes("Max", x, zero), below)


def _elu(nodes: _Nodes) -> str:
    x, zero = nodes.inputs[0], nodes.number(0)
    below = nodes("Sub", nodes("Exp", nodes("Min", x, zero)), nodes.number(1))
    return nodes("Add", nodes("Max", x, zero), nodes("Mul", below, nodes.number(nodes.attributes.get("alpha", 1.0))))


def _softplus_of(value: str, nodes: _Nodes) -> str:
    small = nodes("Exp", nodes("Neg", nodes("Abs", value)))
    return nodes("Add", nodes("Max", value, nodes.number(0)), nodes("Log", nodes("Add", small, nodes.number(1))))


def _softplus(nodes: _Nodes) -> str:
    return _softplus_of(nodes.inputs[0], nodes)


def _mish(nodes: _Nodes) -> str:
    return nodes("Mul", nodes.inputs[0], nodes("Tanh", _softplus_of(nodes.inputs[0], nodes)))


def _layer_normalization(nodes: _Nodes) -> str | None:
    """Over the last axis; ONNX Runtime can do it in float64, but with an epsilon that was rounded to float32."""
    if nodes.attributes.get("axis", -1) != -1 or len(nodes.outputs) > 1:
        return None
    x, weight, *bias = nodes.inputs
    return _normalised(x, (weight, *bias), nodes.attributes.get("epsilon", 1e-5), nodes)


def _skip_layer_normalization(nodes: _Nodes) -> str | None:
    """The sum of two or three values, normalised; the sum is the fourth output."""
    if any(nodes.outputs[1:3]):
        return None
    x, skip, weight, *rest = nodes.inputs
    total = nodes("Add", x, skip)
    if len(rest) > 1 and rest[1]:
        total = nodes("Add", total, rest[1])
    if len(nodes.outputs) > 3 and nodes.outputs[3]:
        nodes.also(3, total)
    return _normalised(total, (weight, *rest[:1]), nodes.attributes.get("epsilon", 1e-12), nodes)


def _normalised(x: str, weight_and_bias: tuple[str, ...], epsilon: float, nodes: _Nodes) -> str:
    weight, *bias = weight_and_bias
    centred = nodes("Sub", x, _mean_over_last(x, nodes))
    variance = _mean_over_last(nodes("Mul", centred, centred), nodes)
    deviation = nodes("Sqrt", nodes("Add", variance, nodes.number(epsilon)))
    scaled = nodes("Mul", nodes("Div", centred, deviation), weight)
    return nodes("Add", scaled, bias[0]) if bias and bias[0] else scaled


def _mean_over_last(value: str, nodes: _Nodes) -> str:
    """The mean over the last axis, which is left as 1; as a product, because `ReduceMean` changed its face."""
    size = nodes.size(value, -1)
    ones = nodes("ConstantOfShape", size, value=numpy_helper.from_array(np.ones(1, np.float64)))
    column = nodes("Reshape", ones, nodes.whole(-1, 1))
    return nodes("Div", nodes("MatMul", value, column), nodes("Cast", size, to=onnx.TensorProto.DOUBLE))


def _global_average(nodes: _Nodes) -> str:
    """The mean over everything behind batch and channels, each axis left as 1."""
    shape = nodes("Shape", nodes.inputs[0])
    ones = nodes("Div", shape, shape)
    first = nodes("Slice", shape, nodes.whole(0), nodes.whole(2))
    rest = nodes("Slice", ones, nodes.whole(2), nodes.whole(_INT64_MAX))
    mean = _mean_over_last(nodes("Reshape", nodes.inputs[0], nodes.whole(0, 0, -1)), nodes)
    return nodes("Reshape", mean, nodes("Concat", first, rest, axis=0))


def _instance_normalization(nodes: _Nodes) -> str:
    x, weight, bias = nodes.inputs
    flat = nodes("Reshape", x, nodes.whole(0, 0, -1))
    centred = nodes("Sub", flat, _mean_over_last(flat, nodes))
    variance = _mean_over_last(nodes("Mul", centred, centred), nodes)
    deviation = nodes("Sqrt", nodes("Add", variance, nodes.number(nodes.attributes.get("epsilon", 1e-5))))
    column = nodes.whole(-1, 1)
    scaled = nodes("Mul", nodes("Div", centred, deviation), nodes("Reshape", weight, column))
    return nodes("Reshape", nodes("Add", scaled, nodes("Reshape", bias, column)), nodes("Shape", x))


def _batch_normalization(nodes: _Nodes) -> str | None:
    """ONNX Runtime can do it in float64; what its epsilon was rounded by is added to the variance."""
    if nodes.attributes.get("training_mode") or len(nodes.outputs) > 1:
        return None
    x, weight, bias, mean, variance = nodes.inputs
    epsilon = nodes.attributes.get("epsilon", 1e-5)
    exact = nodes("Add", variance, nodes.number(epsilon - float(np.float32(epsilon))))
    return nodes("BatchNormalization", x, weight, bias, mean, exact, epsilon=epsilon)


def _taps(nodes: _Nodes) -> list[str] | None:
    """What each position of a kernel sees: (batch, channels, positions of the output) by position of the kernel."""
    kernel = nodes.attributes.get("kernel_shape")
    if kernel is None or nodes.attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or nodes.attributes.get("ceil_mode"):
        return None
    axes = range(len(kernel))
    strides, dilations = (nodes.attributes.get(name, [1] * len(kernel)) for name in ("strides", "dilations"))
    pads = nodes.attributes.get("pads", [0] * 2 * len(kernel))
    padded = nodes("Pad", nodes.inputs[0], nodes.whole(0, 0, *pads[: len(kernel)], 0, 0, *pads[len(kernel) :]))
    reach = nodes(
        "Concat",
        *(
            nodes("Sub", nodes.size(padded, 2 + axis), nodes.whole(dilations[axis] * (kernel[axis] - 1)))
            for axis in axes
        ),
        axis=0,
    )
    spatial, steps = nodes.whole(*(2 + axis for axis in axes)), nodes.whole(*strides)
    taps = []
    for position in np.ndindex(*kernel):
        start = nodes.whole(*(position[axis] * dilations[axis] for axis in axes))
        taps.append(nodes("Slice", padded, start, nodes("Add", reach, start), spatial, steps))
    return taps


def _conv(nodes: _Nodes) -> str | None:
    """A convolution as one matrix product over what the kernel's positions see."""
    taps = _taps(nodes)
    if taps is None:
        return None
    groups = nodes.attributes.get("group", 1)
    weight, per_group = nodes.inputs[1], nodes.size(nodes.inputs[1], 1)
    # (batch, groups, kernel positions x channels of a group, output positions)
    grouped = nodes("Concat", nodes.whole(0, groups), per_group, nodes.whole(-1), axis=0)
    columns = nodes("Concat", *(nodes("Reshape", tap, grouped) for tap in taps), axis=2)
    # (groups, channels out of a group, kernel positions x channels of a group)
    split = nodes("Concat", nodes.whole(groups, -1), per_group, nodes.whole(len(taps)), axis=0)
    turned = nodes("Transpose", nodes("Reshape", weight, split), perm=[0, 1, 3, 2])
    product = nodes("MatMul", nodes("Reshape", turned, nodes.whole(0, 0, -1)), columns)
    places = nodes("Slice", nodes("Shape", taps[0]), nodes.whole(2), nodes.whole(_INT64_MAX))
    result = nodes("Reshape", product, nodes("Concat", nodes.whole(0, -1), places, axis=0))
    if len(nodes.inputs) < 3 or not nodes.inputs[2]:
        return result
    flat = (1,) * len(nodes.attributes["kernel_shape"])
    return nodes("Add", result, nodes("Reshape", nodes.inputs[2], nodes.whole(1, -1, *flat)))


def _average_pool(nodes: _Nodes) -> str | None:
    # At the edge of padding fewer values may count; that is left to float32.
    taps = None if any(nodes.attributes.get("pads", [0])) else _taps(nodes)
    return None if taps is None else nodes("Div", nodes("Sum", *taps), nodes.number(len(taps)))


_SPELLINGS: Mapping[str, Spelling] = {
    "Erf": _erf,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Softplus": _softplus,
    "Mish": _mish,
    "LayerNormalization": _layer_normalization,
    "GlobalAveragePool": _global_average,
    "InstanceNormalization": _instance_normalization,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "AveragePool": _average_pool,
}

_FUSED: Mapping[str, Spelling] = {
    "Gelu": lambda nodes: _erf_gelu_of(nodes.inputs[0], nodes),
    "FastGelu": _fast_gelu,
    "BiasGelu": _bias_gelu,
    "QuickGelu": _quick_gelu,
    "FusedMatMul": _fused_product,
    "SkipLayerNormalization": _skip_layer_normalization,
}
"""What ONNX Runtime writes when it saves a graph that it has optimised."""
