"""Opening files of strangers: each refusal has its reason, none has a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporter.onnx import open_model
from exporter.results import ExportError


def model_file(path: Path, opset: int = 18, domain: str = "", external: str | None = None) -> Path:
    """``y = x + w`` with the weight inside, or said to be in the file `external`."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)
    if external is not None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
        weight.external_data.add(key="length", value="16")
    node = helper.make_node("Add", ["x", "w"], ["y"], domain=domain)
    unused = helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    graph = helper.make_graph([node], "g", [x, unused], [y], [weight])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return path


def test_a_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    runner = open_model(model_file(tmp_path / "m.onnx"))
    assert [(each.name, each.dtype, each.shape) for each in runner.outputs] == [("y", "float32", ("batch", 4))]
    values = runner.run({"x": np.zeros((3, 4), np.float32), "unused": np.zeros(1, np.float32), "other": np.zeros(9)})
    np.testing.assert_array_equal(values["y"], np.ones((3, 4), np.float32))
    assert runner.contract().unused_inputs == ("unused",)
    assert runner.contract().parameter_bytes == 16
    assert [name for name, _ in runner.weights()] == ["w"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no graph"),
        (b"junk", "can't be decoded"),
        (b"PK\x03\x04" * 50, "can't be decoded"),
        (b"\x08\x07", "no graph"),
    ],
)
def test_what_is_no_onnx_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=reason):
        open_model(path)


def test_an_opset_newer_than_the_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ONNX Runtime can't load m.onnx.*[Oo]pset"):
        open_model(model_file(tmp_path / "m.onnx", opset=99))


def test_operators_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ONNX Runtime can't load m.onnx.*Add"):
        open_model(model_file(tmp_path / "m.onnx", domain="com.example"))


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", ""])
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(16))
    with pytest.raises(ExportError, match="outside the folder"):
        open_model(model_file(folder / "m.onnx", external=location))


def test_external_data_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(16))
    (folder / "inside.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ExportError, match="outside the folder"):
        open_model(model_file(folder / "m.onnx", external="inside.bin"))


def test_external_data_that_is_missing_or_short_is_refused(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", external="w.bin")
    with pytest.raises(ExportError, match=r"'w.bin'.* is missing"):
        open_model(path)
    (tmp_path / "w.bin").write_bytes(bytes(15))
    with pytest.raises(ExportError, match="cut short"):
        open_model(path)
    (tmp_path / "w.bin").write_bytes(bytes(16))
    assert [file.name for file in open_model(path).contract().files] == ["m.onnx", "w.bin"]


def test_inputs_of_a_wrong_shape_are_the_runtimes_refusal(tmp_path: Path) -> None:
    runner = open_model(model_file(tmp_path / "m.onnx"))
    with pytest.raises(ExportError, match="ONNX Runtime: ") as caught:
        runner.run({"x": np.zeros((3, 5), np.float32), "unused": np.zeros(1, np.float32)})
    assert caught.value.problem.kind == "run-failed"


def test_the_checker_is_asked(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    model.graph.node[0].attribute.append(helper.make_attribute("invented", 1))
    path.write_bytes(model.SerializeToString())
    from exporter.onnx.contract import read_contract

    (check,) = read_contract(path).checks
    assert check.status == "failed"
    assert "invented" in check.message
