"""Files in lower precision: what rounding costs is allowed, and hides no fault of the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from exporter.architectures import Graph, describe
from exporter.inputs import trace_sizes
from exporter.onnx import OnnxOptions, export_graphs, open_double
from exporter.results import Status, Validation
from exporter.runner import Array
from exporter.validation import Settings, validate_artifact
from exporter.validation.cases import inputs_of, plan
from tests.validation.conftest import Export, Exported
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.surgery import Surgery
from tests.validation.strangers import checkpoint, complaints, judged_file

Lowering = Callable[[Path, Path], None]


def eight_bits(source: Path, target: Path) -> None:
    quantize_dynamic(source, target)


def eight_bits_by_channel(source: Path, target: Path) -> None:
    quantize_dynamic(source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QUInt8)


def half(source: Path, target: Path) -> None:
    onnx.save(convert_float_to_float16(onnx.load(source)), target)


def half_inside(source: Path, target: Path) -> None:
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def brain_weights(source: Path, target: Path) -> None:
    """Matrices in bfloat16, computed with in float32."""
    model = onnx.load(source)
    for tensor in [each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT]:
        if len(tensor.dims) > 1:
            bits = numpy_helper.to_array(tensor).view(np.uint32)
            rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
            name = f"{tensor.name}_brain"
            stored = helper.make_tensor(name, TensorProto.BFLOAT16, tensor.dims, rounded.tobytes(), raw=True)
            model.graph.node.insert(0, helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(stored)
    onnx.save(model, target)


def judged(export: Export, lower: Lowering, folder: Path, fault: str = "", index: int = 0) -> Validation:
    source = export.subject.artifacts[index].path
    if fault:
        model = onnx.load(str(source))
        assert FAULTS[fault](Surgery(model))
        source = folder / "faulty.onnx"
        onnx.save(model, str(source))
    lower(source, folder / "lowered.onnx")
    return validate_artifact(replace(export.with_file(folder / "lowered.onnx", index), asked=None), Settings())


def rounding_in_float64(validation: Validation) -> float:
    return max(each.rounding or 0.0 for case in validation.cases if "@float64" in case.case for each in case.outputs)


@pytest.mark.parametrize(
    ("family", "lower"),
    [
        ("distilbert", eight_bits),
        ("distilbert", brain_weights),
        ("gpt2", half_inside),
        ("vit", eight_bits_by_channel),
        ("vit", half),
        ("whisper", eight_bits),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_healthy_file_passes_to_the_last_digit(
    family: str, lower: Lowering, exported: Exported, tmp_path: Path
) -> None:
    validation = judged(exported(family), lower, tmp_path)
    assert complaints(validation) == []
    assert validation.left_out == ()
    assert rounding_in_float64(validation) < 1e-6
    told = next(check.message for check in validation.checks if check.name == "rounded weights")
    assert "matrices are the checkpoint's, rounded to " in told


@pytest.mark.parametrize(
    ("family", "fault", "lower"),
    [
        ("distilbert", "mask-ignored", eight_bits),
        ("distilbert", "mask-as-length", half),
        ("distilbert", "long-texts-scaled", brain_weights),
        ("gpt2", "causality-lost", eight_bits),
        ("gpt2", "constant-rounded", eight_bits_by_channel),
        ("vit", "batch-mixed", eight_bits),
        ("vit", "epsilon-of-one-norm", half),
        ("vit", "other-activation", eight_bits),
        ("vit", "attention-scaled", half),
        ("vit", "square-weight-transposed", eight_bits),
        ("vit", "first-weight-scaled", eight_bits_by_channel),
    ],
)
def test_a_fault_of_the_graph_is_caught(
    family: str, fault: str, lower: Lowering, exported: Exported, tmp_path: Path
) -> None:
    assert judged(exported(family), lower, tmp_path, fault).status is Status.FAILED


def test_a_matrix_that_is_not_the_checkpoint_s_is_named(exported: Exported, tmp_path: Path) -> None:
    validation = judged(exported("vit"), eight_bits, tmp_path, "rows-of-a-weight-swapped")
    told = next(check for check in validation.checks if check.name == "rounded weights")
    assert told.status is Status.FAILED
    assert told.message.startswith("further from the checkpoint than rounding takes them: ")
    assert " stands where " in told.message


def test_where_a_number_can_t_be_placed_the_report_says_so(exported: Exported, tmp_path: Path) -> None:
    """Two matrices stored as one are none of the checkpoint's; the file is right all the same."""

    def merged(source: Path, target: Path) -> None:
        model = onnx.load(source)
        surgery = Surgery(model)
        weight = surgery.value(surgery.multiplied()[0])
        assert weight is not None
        model.graph.initializer.append(numpy_helper.from_array(np.concatenate([weight, weight * 2]), "both"))
        consumer = surgery.consumers(surgery.multiplied()[0])[0]
        surgery.before(consumer, 1, lambda emit, _: emit("Slice", "both", [0], [len(weight)], [0]))
        half(_saved(model, target), target)

    validation = judged(exported("vit"), merged, tmp_path)
    assert validation.status is Status.PASSED
    assert [each for each in validation.left_out if "of no parameter is it known that it became both" in each]


@pytest.mark.parametrize(
    ("model_type", "task", "lower"),
    [
        ("clip", "default", brain_weights),  # a scale that is one number, and stays in float32
        ("deberta-v2", "question-answering", brain_weights),  # buckets of distances that float64 decides otherwise
        ("m2m-100", "seq2seq-lm", half),  # the root of 32, which half precision makes 5.65625
        ("mobilenet-v1", "image-classification", eight_bits_by_channel),  # folded, so that no number can be placed
    ],
)
def test_what_lower_precision_does_to_other_models_is_no_fault(
    model_type: str, task: str, lower: Lowering, tmp_path: Path
) -> None:
    folder, model = checkpoint(model_type, task, tmp_path / "checkpoint")
    (path,) = export_graphs(model, describe(model.config, task).graphs, OnnxOptions(17, "legacy"), tmp_path)
    lower(path, tmp_path / "lowered.onnx")
    assert complaints(judged_file(tmp_path / "lowered.onnx", folder, task)) == []


@pytest.mark.parametrize("lower", [eight_bits, half, brain_weights, "calibrated"])
def test_a_normalisation_that_was_folded_is_no_wrong_weight(lower: Lowering | str, tmp_path: Path) -> None:
    folder, model = checkpoint("resnet", "image-classification", tmp_path / "checkpoint")
    graphs = describe(model.config, "image-classification").graphs
    (path,) = export_graphs(model, graphs, OnnxOptions(opset=17, engine="legacy"), tmp_path)
    lowered = tmp_path / "lowered.onnx"
    if callable(lower):
        lower(path, lowered)
    else:
        quantize_static(path, lowered, Drawn(graphs[0], model.config))
    validation = judged_file(lowered, folder, "image-classification")
    assert complaints(validation) == []
    assert [each for each in validation.left_out if "of no parameter is it known that it became" in each]


class Drawn(CalibrationDataReader):
    """Drawn inputs of every size, to calibrate with."""

    def __init__(self, graph: Graph, config: Any) -> None:
        cases = plan(graph, trace_sizes(graph), config, seed=7)
        self._inputs = iter([inputs_of(case, graph, config) for case in cases])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._inputs, None)


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path


def test_calibrated_activations_are_left_as_they_are(exported: Exported, tmp_path: Path) -> None:
    export = exported("vit")
    graph, config = export.subject.artifacts[0].graph, export.architecture.config

    def calibrated(source: Path, target: Path) -> None:
        quantize_static(source, target, Drawn(graph, config))

    assert rounding_in_float64(judged(export, calibrated, tmp_path)) < 1e-6


def test_a_quantised_matrix_is_what_its_integers_stand_for(exported: Exported, tmp_path: Path) -> None:
    eight_bits_by_channel(exported("vit").subject.artifacts[0].path, tmp_path / "lowered.onnx")
    for matrix in open_double(tmp_path / "lowered.onnx").contract().quantised:
        whole = matrix.values / matrix.step
        assert np.abs(whole - whole.round()).max() < 1e-9
        assert np.abs(whole).max() <= 255
