"""Numbers that a file keeps in float32, where the graph is computed in float64."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch

from exporter.architectures import describe
from exporter.onnx import OnnxOptions, export_graphs, open_double
from exporter.results import Status
from tests.architectures.tiny import build
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.surgery import Surgery
from tests.validation.strangers import checkpoint, complaints, judged_file


@pytest.mark.parametrize(
    ("engine", "scale"),
    [("legacy", math.log(100)), ("dynamo", math.log(100)), ("dynamo", math.log(1 / 0.07)), ("dynamo", 2.6592)],
)
def test_a_scale_of_which_the_logarithm_is_stored(engine: str, scale: float, tmp_path: Path) -> None:
    """Exporters fold it in float32, and a little off: of log(100), as CLIP's checkpoints have it, 100 is left."""
    model = copy.deepcopy(build("clip", "default", 0))
    with torch.no_grad():
        model.logit_scale.fill_(scale)
    model.save_pretrained(tmp_path / "checkpoint")
    graphs = describe(model.config, "default").graphs
    (path,) = export_graphs(model, graphs, OnnxOptions(18, engine), tmp_path)  # type: ignore[arg-type]
    assert complaints(judged_file(path, tmp_path / "checkpoint", "default")) == []
    fused = optimised(path)
    assert "FusedMatMul" in {node.op_type for node in onnx.load(str(fused)).graph.node}
    assert complaints(judged_file(fused, tmp_path / "checkpoint", "default")) == []


def optimised(path: Path) -> Path:
    """The file as ONNX Runtime saves what it makes of it: the scale is a factor of a product then."""
    options, target = ort.SessionOptions(), path.with_name("optimised.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return target


def test_the_epsilon_of_a_batch_normalisation_is_the_one_that_was_meant(tmp_path: Path) -> None:
    """So that a file with one is looked at as closely as others: this fault is smaller than float32 rounds."""
    folder, model = checkpoint("groupvit", "default", tmp_path / "checkpoint")
    (path,) = export_graphs(model, describe(model.config, "default").graphs, OnnxOptions(17, "legacy"), tmp_path)
    assert "BatchNormalization" in {node.op_type for node in onnx.load(str(path)).graph.node}
    scalars = open_double(path, {model.logit_scale.item()}).contract().float32_scalars
    assert scalars == ()
    assert complaints(judged_file(path, folder, "default")) == []
    faulty = onnx.load(str(path))
    assert FAULTS["product-scaled"](Surgery(faulty))
    onnx.save(faulty, str(path))
    assert judged_file(path, folder, "default").status is Status.FAILED


def test_a_file_that_rounds_more_in_one_case_is_sound(tmp_path: Path) -> None:
    """Folded normalisations round many times more in one batch than in others; a fault stays one."""
    folder, model = checkpoint("levit", "default", tmp_path / "checkpoint")
    (path,) = export_graphs(model, describe(model.config, "default").graphs, OnnxOptions(17, "legacy"), tmp_path)
    assert complaints(judged_file(path, folder, "default")) == []
    faulty = onnx.load(str(path))
    assert FAULTS["attention-scaled"](Surgery(faulty))
    onnx.save(faulty, str(path))
    assert judged_file(path, folder, "default").status is Status.FAILED
