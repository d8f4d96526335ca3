"""Both engines, from an eager model to a file that ONNX Runtime runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from exporter import inputs
from exporter.architectures import describe
from exporter.eager import GraphModule
from exporter.onnx import OnnxOptions, engine_order, export_graphs, open_model
from exporter.onnx.finish import opset_of
from exporter.results import ExportError
from tests.architectures.tiny import build


def exported(model_type: str, task: str, options: OnnxOptions, folder: Path) -> tuple[Path, GraphModule]:
    model = build(model_type, task)
    graph = describe(model.config, task).graphs[0]
    path, *_ = export_graphs(model, (graph,), options, folder)
    return path, GraphModule(model, graph)


@pytest.mark.parametrize("engine", ["legacy", "dynamo"])
def test_the_file_computes_what_eager_does_at_sizes_it_was_not_traced_with(engine: str, tmp_path: Path) -> None:
    path, module = exported("gpt2", "causal-lm-with-past", OnnxOptions(18, engine), tmp_path)
    runner = open_model(path)
    for sizes in ({"batch": 1, "sequence": 1, "past_sequence": 0}, {"batch": 3, "sequence": 7, "past_sequence": 11}):
        values = inputs.make(module.graph, sizes, module.model.config, "left", seed=3)
        given = runner.run(values)
        with torch.no_grad():
            expected = module(*map(torch.from_numpy, values.values()))
        # What eager gives for a token that is padding means nothing.
        real = values["attention_mask"][:, -sizes["sequence"] :] == 1
        np.testing.assert_allclose(given["logits"][real], expected[0].numpy()[real], atol=2e-5)


@pytest.mark.parametrize("engine", ["legacy", "dynamo"])
def test_axes_have_their_names_and_nothing_tells_of_the_build(engine: str, tmp_path: Path) -> None:
    path, _ = exported("bert", "masked-lm", OnnxOptions(18, engine), tmp_path)
    runner = open_model(path)
    assert [(each.name, each.shape) for each in runner.inputs] == [
        (name, ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert runner.outputs[0].shape[:2] == ("batch", "sequence")
    content = path.read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content
    assert b"stack_trace" not in content


@pytest.mark.parametrize("opset", [11, 13, 14, 17, 20])
def test_legacy_writes_the_opset_that_was_asked_for(opset: int, tmp_path: Path) -> None:
    path, _ = exported("bert", "default", OnnxOptions(opset, "legacy"), tmp_path)
    assert opset_of(onnx.load(str(path))) == opset


@pytest.mark.parametrize("opset", [18, 21])
def test_dynamo_writes_the_opset_that_was_asked_for(opset: int, tmp_path: Path) -> None:
    path, _ = exported("bert", "default", OnnxOptions(opset, "dynamo"), tmp_path)
    assert opset_of(onnx.load(str(path))) == opset


@pytest.mark.parametrize(("engine", "opset"), [("legacy", 21), ("dynamo", 17), ("auto", 99)])
def test_an_opset_nobody_writes_is_an_error_that_names_the_range(engine: str, opset: int) -> None:
    with pytest.raises(ExportError, match=r"(\d+) to (\d+)"):
        engine_order("bert", 1000, OnnxOptions(opset, engine))


def test_auto_leaves_out_the_engine_that_cannot_write_the_opset() -> None:
    assert engine_order("bert", 1000, OnnxOptions(11)) == ("legacy",)
    assert engine_order("bert", 1000, OnnxOptions(21)) == ("dynamo",)
    assert engine_order("bert", 2_000_000_000, OnnxOptions(18))[0] == "dynamo"


@pytest.mark.parametrize("engine", ["legacy", "dynamo"])
def test_tied_weights_are_stored_once(engine: str, tmp_path: Path) -> None:
    path, module = exported("gpt2", "causal-lm", OnnxOptions(18, engine), tmp_path)
    parameters = sum(parameter.nbytes for parameter in module.model.parameters())
    table = module.model.get_input_embeddings().weight.nbytes
    assert parameters <= open_model(path).contract().parameter_bytes < parameters + table


def test_an_export_leaves_the_model_in_evaluation_mode(tmp_path: Path) -> None:
    _, module = exported("bert", "default", OnnxOptions(18, "legacy"), tmp_path)
    assert not any(each.training for each in module.modules())


@pytest.mark.parametrize("engine", ["legacy", "dynamo"])
def test_two_exports_are_the_same_to_the_byte(engine: str, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path, _ = exported("distilbert", "default", OnnxOptions(18, engine), tmp_path / name)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_weights_that_do_not_fit_are_stored_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.onnx.finish.EXTERNAL_DATA_BYTES", 10_000)
    path, module = exported("bert", "default", OnnxOptions(18, "legacy"), tmp_path)
    contract = open_model(path).contract()
    assert [file.name for file in contract.files] == ["model.onnx", "model.onnx_data"]
    assert path.stat().st_size < contract.files[1].stat().st_size
    values = inputs.make(module.graph, {"batch": 2, "sequence": 5}, module.model.config)
    assert open_model(path).run(values)["last_hidden_state"].shape == (2, 5, 32)
