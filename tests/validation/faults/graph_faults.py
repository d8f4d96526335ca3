"""Faults planted by graph surgery: none of them knows a model, an architecture or a layer's name.

A fault returns False where a graph has nothing to break that way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.validation.faults.surgery import Emit, Surgery

__all__ = ["FAULTS", "Fault"]

Fault = Callable[[Surgery], bool]

FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


def _end(numbers: int = 2**62) -> list[int]:
    return [numbers]


def _first(surgery: Surgery, *operators: str) -> str | None:
    nodes = surgery.nodes(*operators)
    return nodes[0].output[0] if nodes else None


def _last(surgery: Surgery, *operators: str) -> str | None:
    nodes = surgery.nodes(*operators)
    return nodes[-1].output[0] if nodes else None


def _middle_product(surgery: Surgery) -> str | None:
    """Result of a matrix product with a weight, in the middle of the graph."""
    weights = surgery.multiplied()
    return surgery.consumers(weights[len(weights) // 2])[0].output[0] if weights else None


def _mask(surgery: Surgery) -> str | None:
    return next((name for name in surgery.inputs if name.endswith("attention_mask")), None)


def _ids(surgery: Surgery) -> str | None:
    return next((name for name in surgery.inputs if name.endswith("input_ids")), None)


def _float_input(surgery: Surgery) -> str | None:
    return next((name for name in surgery.inputs if name in ("pixel_values", "input_features")), None)


def _past(surgery: Surgery) -> list[str]:
    return [name for name in surgery.inputs if name.startswith("past_key_values.")]


# --- what goes in ---


@fault
def mask_ignored(surgery: Surgery) -> bool:
    if (mask := _mask(surgery)) is None:
        return False
    surgery.after(mask, lambda emit, x: emit("Add", emit("Mul", x, 0), 1))
    return True


@fault
def mask_inverted(surgery: Surgery) -> bool:
    if (mask := _mask(surgery)) is None:
        return False
    surgery.after(mask, lambda emit, x: emit("Sub", 1, x))
    return True


@fault
def mask_of_first_row_for_all(surgery: Surgery) -> bool:
    if (mask := _mask(surgery)) is None:
        return False
    surgery.after(mask, lambda emit, x: emit("Expand", emit("Slice", x, [0], [1], [0]), emit("Shape", x)))
    return True


@fault
def mask_as_length(surgery: Surgery) -> bool:
    """As if padding could only be at the end: right for right padding, wrong for every other."""
    if (mask := _mask(surgery)) is None:
        return False

    def build(emit: Emit, x: str) -> str:
        length = emit("ReduceSum", x, [-1], keepdims=1)
        place = emit("CumSum", emit("Add", emit("Mul", x, 0), 1), -1)
        return emit("Cast", emit("LessOrEqual", place, length), to=TensorProto.INT64)

    surgery.after(mask, build)
    return True


@fault
def mask_ignored_in_last_softmax(surgery: Surgery) -> bool:
    for node in reversed(surgery.nodes("Softmax")):
        masked = next(surgery.walk_back(node.input[0], "Add", "Where"), None)
        if masked is not None and masked.op_type == "Add" and masked.output[0] == node.input[0]:
            surgery.bypass(masked, 0)
            return True
    return False


@fault
def mask_too_weak(surgery: Surgery) -> bool:
    """Padding keeps a little attention: the largest negative number became -8."""
    changed = False
    for node in surgery.nodes("Softmax"):
        surgery.before(node, 0, lambda emit, x: emit("Max", x, -8.0))
        changed = True
    return changed and _mask(surgery) is not None


@fault
def ids_cut_at_the_end_of_the_vocabulary(surgery: Surgery) -> bool:
    tables = surgery.tables()
    if (ids := _ids(surgery)) is None or not tables:
        return False
    rows = max(surgery.value(table).shape[0] for table in tables)
    surgery.after(ids, lambda emit, x: emit("Min", x, rows - 2))
    return True


@fault
def ids_wrap_around(surgery: Surgery) -> bool:
    if (ids := _ids(surgery)) is None:
        return False
    surgery.after(ids, lambda emit, x: emit("Mod", x, 64))
    return True


@fault
def token_types_ignored(surgery: Surgery) -> bool:
    if "token_type_ids" not in surgery.inputs:
        return False
    surgery.after("token_type_ids", lambda emit, x: emit("Mul", x, 0))
    return True


@fault
def channels_swapped(surgery: Surgery) -> bool:
    if "pixel_values" not in surgery.inputs:
        return False
    surgery.after("pixel_values", lambda emit, x: emit("Gather", x, [2, 1, 0], axis=1))
    return True


@fault
def bright_values_clipped(surgery: Surgery) -> bool:
    if (name := _float_input(surgery)) is None:
        return False
    surgery.after(name, lambda emit, x: emit("Clip", x, -1.2, 1.2))
    return True


@fault
def corner_lost(surgery: Surgery) -> bool:
    """The last column is a copy of the one before it."""
    if (name := _float_input(surgery)) is None:
        return False

    def build(emit: Emit, x: str) -> str:
        return emit("Concat", emit("Slice", x, [0], [-1], [-1]), emit("Slice", x, [-2], [-1], [-1]), axis=-1)

    surgery.after(name, build)
    return True


# --- sizes ---


@fault
def rows_after_the_third_are_zero(surgery: Surgery) -> bool:
    output = surgery.outputs[0]

    def build(emit: Emit, x: str) -> str:
        kept = emit("Slice", x, [0], [3], [0])
        rest = emit("Mul", emit("Slice", x, [3], [2**62], [0]), 0.0)
        return emit("Concat", kept, rest, axis=0)

    surgery.after(output, build)
    return True


@fault
def batch_mixed(surgery: Surgery) -> bool:
    """A little of the first row in every row."""
    if (value := _middle_product(surgery)) is None:
        return False
    surgery.after(value, lambda emit, x: emit("Add", x, emit("Mul", emit("Slice", x, [0], [1], [0]), 0.001)))
    return True


@fault
def axis_frozen_in_a_reshape(surgery: Surgery) -> bool:
    """The first reshape to a computed shape gets the traced batch."""
    for node in surgery.nodes("Reshape"):
        if surgery.value(node.input[1]) is None:

            def build(emit: Emit, x: str) -> str:
                return emit("Concat", [2], emit("Slice", x, [1], [2**62], [0]), axis=0)

            surgery.before(node, 1, build)
            return True
    return False


@fault
def axis_declared_static(surgery: Surgery) -> bool:
    surgery.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    return True


@fault
def last_position_lost(surgery: Surgery) -> bool:
    """From the 20th position on, each is a copy of the 20th."""
    for table in surgery.tables():
        node = surgery.consumers(table)[0]
        rows = surgery.value(table).shape[0]
        if _ids(surgery) in node.input or rows > 90 or rows < 30:
            continue
        surgery.before(node, 1, lambda emit, x: emit("Min", x, 20))
        return True
    return False


@fault
def long_texts_scaled(surgery: Surgery) -> bool:
    """Beyond 48 positions the outputs are 1 % too large."""
    if (ids := _ids(surgery)) is None:
        return False

    def build(emit: Emit, x: str) -> str:
        length = emit("Gather", emit("Shape", ids), -1)
        long = emit("Cast", emit("Greater", length, 48), to=TensorProto.FLOAT)
        return emit("Mul", x, emit("Add", emit("Mul", long, 0.01), 1.0))

    surgery.after(surgery.outputs[0], build)
    return True


@fault
def first_token_repeated_when_alone(surgery: Surgery) -> bool:
    """Of one token alone the result is halved."""
    if (ids := _ids(surgery)) is None:
        return False

    def build(emit: Emit, x: str) -> str:
        length = emit("Gather", emit("Shape", ids), -1)
        single = emit("Cast", emit("Equal", length, 1), to=TensorProto.FLOAT)
        return emit("Mul", x, emit("Sub", 1.0, emit("Mul", single, 0.5)))

    surgery.after(surgery.outputs[0], build)
    return True


# --- what comes out ---


@fault
def outputs_swapped(surgery: Surgery) -> bool:
    outputs = surgery.graph.output
    shapes = [str(value.type.tensor_type.shape) for value in outputs]
    for index, shape in enumerate(shapes):
        if shape in shapes[index + 1 :]:
            other = shapes.index(shape, index + 1)
            first, second = outputs[index].name, outputs[other].name
            for node in surgery.graph.node:
                renamed = {first: second, second: first}
                node.output[:] = [renamed.get(name, name) for name in node.output]
                node.input[:] = [renamed.get(name, name) for name in node.input]
            return True
    return False


@fault
def output_in_half_precision(surgery: Surgery) -> bool:
    def build(emit: Emit, x: str) -> str:
        return emit("Cast", emit("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)

    surgery.after(surgery.outputs[0], build)
    return True


@fault
def output_is_double(surgery: Surgery) -> bool:
    surgery.after(surgery.outputs[0], lambda emit, x: emit("Cast", x, to=TensorProto.DOUBLE))
    surgery.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return True


@fault
def output_constant(surgery: Surgery) -> bool:
    surgery.after(surgery.outputs[0], lambda emit, x: emit("Mul", x, 0.0))
    return True


@fault
def output_shifted(surgery: Surgery) -> bool:
    """By a millionth of what is usual: a tenth of the smallest tolerance that others use."""
    surgery.after(surgery.outputs[0], lambda emit, x: emit("Add", x, 2e-6))
    return True


@fault
def last_value_nan(surgery: Surgery) -> bool:
    def build(emit: Emit, x: str) -> str:
        nan = emit("Div", 0.0, 0.0)
        kept = emit("Slice", x, [0], [-1], [-1])
        return emit("Concat", kept, emit("Mul", emit("Slice", x, [-1], [2**62], [-1]), nan), axis=-1)

    surgery.after(surgery.outputs[0], build)
    return True


@fault
def output_renamed(surgery: Surgery) -> bool:
    name = surgery.outputs[0]
    for node in surgery.graph.node:
        node.output[:] = ["renamed" if each == name else each for each in node.output]
        node.input[:] = ["renamed" if each == name else each for each in node.input]
    surgery.graph.output[0].name = "renamed"
    return True


@fault
def positions_reversed(surgery: Surgery) -> bool:
    shape = surgery.graph.output[0].type.tensor_type.shape
    if len(shape.dim) < 3:
        return False
    surgery.after(surgery.outputs[0], lambda emit, x: emit("Slice", x, [-1], [-(2**62)], [1], [-1]))
    return True


# --- operators ---


@fault
def epsilon_of_every_norm(surgery: Surgery) -> bool:
    changed = False
    for node in surgery.nodes("LayerNormalization"):
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f = 1e-5 if attribute.f < 1e-6 else attribute.f * 10
                changed = True
    return changed


@fault
def epsilon_of_one_norm(surgery: Surgery) -> bool:
    norms = surgery.nodes("LayerNormalization")
    if not norms:
        return False
    attribute = next(each for each in norms[len(norms) // 2].attribute if each.name == "epsilon")
    attribute.f = 1e-5 if attribute.f < 1e-6 else attribute.f * 10
    return True


@fault
def other_activation(surgery: Surgery) -> bool:
    """The approximation of GELU for GELU, or the other way round; for ReLU a leak."""
    for node in surgery.nodes("Erf"):
        # erf(x) ~ tanh(1.1284 x + 0.1009 x^3): what the approximation of GELU comes to.
        node.op_type = "Tanh"

        def build(emit: Emit, x: str) -> str:
            cubic = emit("Mul", emit("Mul", x, emit("Mul", x, x)), 0.10091)
            return emit("Add", emit("Mul", x, 1.12838), cubic)

        surgery.before(node, 0, build)
        return True
    for node in surgery.nodes("Relu"):
        node.op_type = "LeakyRelu"
        node.attribute.append(helper.make_attribute("alpha", 0.001))
        return True
    for node in surgery.nodes("Tanh"):
        surgery.before(node, 0, lambda emit, x: emit("Mul", x, 1.001))
        return True
    return False


@fault
def attention_scaled(surgery: Surgery) -> bool:
    """A temperature of 1.002 in one layer."""
    nodes = surgery.nodes("Softmax")
    if not nodes:
        return False
    surgery.before(nodes[0], 0, lambda emit, x: emit("Mul", x, 1.002))
    return True


@fault
def softmax_over_queries(surgery: Surgery) -> bool:
    for node in surgery.nodes("Softmax")[-1:]:
        for attribute in node.attribute:
            if attribute.name == "axis":
                attribute.i = 2
                return True
    return False


@fault
def residual_lost(surgery: Surgery) -> bool:
    norms = surgery.nodes("LayerNormalization")
    for norm in reversed(norms):
        added = surgery.producer(norm.input[0])
        if (
            added is not None
            and added.op_type == "Add"
            and not any(surgery.value(name) is not None for name in added.input)
        ):
            surgery.bypass(added, 0)
            return True
    return False


@fault
def norm_left_out(surgery: Surgery) -> bool:
    norms = surgery.nodes("LayerNormalization")
    if not norms:
        return False
    surgery.bypass(norms[len(norms) // 2])
    return True


@fault
def heads_mixed_up(surgery: Surgery) -> bool:
    """Attention scores of the heads in another order."""
    nodes = surgery.nodes("Softmax")
    if not nodes:
        return False
    surgery.after(nodes[-1].output[0], lambda emit, x: emit("Slice", x, [-1], [-(2**62)], [1], [-1]))
    return True


@fault
def noise_in_every_run(surgery: Surgery) -> bool:
    """Dropout that was left on, as good as invisible."""
    if (value := _middle_product(surgery)) is None:
        return False
    surgery.after(value, lambda emit, x: emit("Add", x, emit("RandomNormalLike", x, scale=1e-6)))
    return True


@fault
def activation_clipped(surgery: Surgery) -> bool:
    if (value := _middle_product(surgery)) is None:
        return False
    surgery.after(value, lambda emit, x: emit("Clip", x, -1.5, 1.5))
    return True


@fault
def intermediate_in_half_precision(surgery: Surgery) -> bool:
    if (value := _middle_product(surgery)) is None:
        return False

    def build(emit: Emit, x: str) -> str:
        return emit("Cast", emit("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)

    surgery.after(value, build)
    return True


@fault
def constant_rounded(surgery: Surgery) -> bool:
    """A small constant with three digits, such as 0.707 for the root of a half."""
    for node in surgery.nodes("Mul", "Div"):
        for index, name in enumerate(node.input):
            value = surgery.value(name)
            if value is None or value.dtype != np.float32 or value.size != 1:
                continue
            rounded = np.asarray(float(f"{value.item():.3g}"), np.float32)
            if rounded != value:
                surgery.before(node, index, lambda emit, x, rounded=rounded: emit("Identity", rounded))
                return True
    return False


@fault
def causality_lost(surgery: Surgery) -> bool:
    """In one layer everyone sees everything."""
    if "past_key_values.0.key" not in surgery.inputs and not surgery.nodes("Trilu", "LessOrEqual", "GreaterOrEqual"):
        return False
    return mask_ignored_in_last_softmax(surgery)


# --- weights ---


@fault
def first_weight_scaled(surgery: Surgery) -> bool:
    weights = surgery.multiplied()
    return bool(weights) and surgery.set(weights[0], lambda array: array * 1.003)


@fault
def last_weight_scaled(surgery: Surgery) -> bool:
    weights = surgery.multiplied()
    return bool(weights) and surgery.set(weights[-1], lambda array: array * 1.003)


@fault
def product_scaled(surgery: Surgery) -> bool:
    """By an operator that no weight shows."""
    if (value := _middle_product(surgery)) is None:
        return False
    surgery.after(value, lambda emit, x: emit("Mul", x, 1.003))
    return True


@fault
def square_weight_transposed(surgery: Surgery) -> bool:
    for name in surgery.multiplied():
        shape = surgery.value(name).shape
        if shape[0] == shape[1]:
            return surgery.set(name, lambda array: array.T)
    return False


@fault
def one_weight_in_half_precision(surgery: Surgery) -> bool:
    weights = surgery.multiplied()
    return bool(weights) and surgery.set(
        weights[len(weights) // 2], lambda array: array.astype(np.float16).astype(np.float32)
    )


@fault
def one_weight_in_eight_bits(surgery: Surgery) -> bool:
    def quantised(array: np.ndarray) -> np.ndarray:
        scale = np.abs(array).max() / 127
        return np.round(array / scale) * scale

    weights = surgery.multiplied()
    return bool(weights) and surgery.set(weights[-1], quantised)


@fault
def one_number_wrong(surgery: Surgery) -> bool:
    def changed(array: np.ndarray) -> np.ndarray:
        array[-1, -1] *= 1.01
        return array

    weights = surgery.multiplied()
    return bool(weights) and surgery.set(weights[len(weights) // 2], changed)


@fault
def embedding_row_duplicated(surgery: Surgery) -> bool:
    def changed(array: np.ndarray) -> np.ndarray:
        array[-2] = array[-3]
        return array

    tables = surgery.tables()
    return bool(tables) and surgery.set(tables[0], changed)


@fault
def position_row_zero(surgery: Surgery) -> bool:
    """The last row of the last table."""

    def changed(array: np.ndarray) -> np.ndarray:
        array[-1] = 0
        return array

    tables = surgery.tables()
    return bool(tables) and surgery.set(tables[-1], changed)


@fault
def last_bias_dropped(surgery: Surgery) -> bool:
    biases = surgery.weights(1)
    return bool(biases) and surgery.set(biases[-1], np.zeros_like)


@fault
def rows_of_a_weight_swapped(surgery: Surgery) -> bool:
    def changed(array: np.ndarray) -> np.ndarray:
        array[[0, 1]] = array[[1, 0]]
        return array

    weights = surgery.multiplied()
    return bool(weights) and surgery.set(weights[0], changed)


@fault
def sign_of_a_bias(surgery: Surgery) -> bool:
    biases = surgery.weights(1)
    return bool(biases) and surgery.set(biases[len(biases) // 2], lambda array: -array)


# --- caches ---


@fault
def past_lost(surgery: Surgery) -> bool:
    past = _past(surgery)
    if not past:
        return False
    surgery.after(past[-1], lambda emit, x: emit("Mul", x, 0.0))
    return True


@fault
def past_off_by_one(surgery: Surgery) -> bool:
    """Keys one place too early: the first goes to the end."""
    past = _past(surgery)
    if not past:
        return False

    def build(emit: Emit, x: str) -> str:
        return emit("Concat", emit("Slice", x, [1], [2**62], [2]), emit("Slice", x, [0], [1], [2]), axis=2)

    surgery.after(past[0], build)
    return True


@fault
def past_cut_to_a_window(surgery: Surgery) -> bool:
    """Older than ten tokens is forgotten."""
    past = _past(surgery)
    if not past:
        return False

    def build(emit: Emit, x: str) -> str:
        old = emit("Mul", emit("Slice", x, [0], [-10], [2]), 0.0)
        return emit("Concat", old, emit("Slice", x, [-10], [2**62], [2]), axis=2)

    surgery.after(past[0], build)
    return True


@fault
def present_without_the_new_token(surgery: Surgery) -> bool:
    """The last keys given back are those of the token before."""
    present = [name for name in surgery.outputs if name.startswith("present.")]
    if not present:
        return False

    def build(emit: Emit, x: str) -> str:
        return emit("Concat", emit("Slice", x, [0], [-1], [2]), emit("Slice", x, [-2], [-1], [2]), axis=2)

    name = present[-1]
    producer = surgery.producer(name)
    assert producer is not None
    surgery.after(name, build)
    return True


@fault
def positions_from_zero(surgery: Surgery) -> bool:
    if "position_ids" not in surgery.inputs:
        return False

    def build(emit: Emit, x: str) -> str:
        return emit("Sub", x, emit("Slice", x, [0], [1], [1]))

    surgery.after("position_ids", build)
    return True


# --- the contract ---


@fault
def other_opset(surgery: Surgery) -> bool:
    surgery.model.opset_import[0].version = 16 if not surgery.nodes("LayerNormalization") else 18
    return not surgery.nodes("ReduceMean", "ReduceMax", "Split", "Pad")


@fault
def input_nobody_reads(surgery: Surgery) -> bool:
    name = surgery.inputs[-1]
    if name == surgery.inputs[0]:
        return False
    value = next(each for each in surgery.graph.input if each.name == name)
    shape = [2 if dim.HasField("dim_param") else dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(shape) != 2:
        return False
    ids = _ids(surgery)
    like = helper.make_node("Shape", [ids], ["fault_like"])
    ones = helper.make_node(
        "ConstantOfShape", ["fault_like"], ["fault_ones"], value=numpy_helper.from_array(np.ones(1, np.int64))
    )
    for node in surgery.graph.node:
        node.input[:] = ["fault_ones" if each == name else each for each in node.input]
    surgery.graph.node.insert(0, ones)
    surgery.graph.node.insert(0, like)
    return True
