"""Files that can't be judged, by the command line: exit code 1, one reason that a person understands, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

MakeCheckpoint = Callable[[str, str], Path]

FEATURES = ("pixel_values",)


def model(inputs: tuple[str, ...] = FEATURES, opset: int = 18, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A file of the right form: adds its inputs and a weight."""
    weight = numpy_helper.from_array(np.ones(4, helper.tensor_dtype_to_np_dtype(kind)), "weight")
    values = [helper.make_tensor_value_info(name, kind, ["batch", 4]) for name in (*inputs, "logits")]
    nodes, last = [], "weight"
    for name in inputs:
        result = "logits" if name == inputs[-1] else f"{name}_added"
        nodes.append(helper.make_node("Add", [name, last], [result]))
        last = result
    graph = helper.make_graph(nodes, "g", values[:-1], values[-1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def with_external_data(location: str, **entries: str) -> onnx.ModelProto:
    made = model()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": "16", **entries}.items():
        weight.external_data.add(key=key, value=value)
    return made


def custom_operator(path: Path) -> None:
    """TorchScript with an operator that only this process has."""
    library = torch.library.Library("strange", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")

    class Twice(torch.nn.Module):
        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return torch.ops.strange.twice(pixel_values)

    torch.jit.save(torch.jit.script(Twice()), str(path))


def saved(made: onnx.ModelProto) -> Callable[[Path], None]:
    return lambda path: onnx.save(made, str(path))


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no onnx": ("x.onnx", lambda path: path.write_bytes(b"not a model"), "x.onnx is no ONNX file"),
    "nothing": ("x.onnx", lambda path: path.write_bytes(b""), "x.onnx is no ONNX file"),
    "another model": (
        "x.onnx",
        saved(model(("input_ids",), kind=TensorProto.INT64)),
        "the model knows no input input_ids",
    ),
    "more inputs": ("x.onnx", saved(model(("pixel_values", "other"))), "the model knows no input other"),
    "newer opset": ("x.onnx", saved(model(opset=99)), "99"),
    "data outside": ("x.onnx", saved(with_external_data("../weights")), "outside the folder"),
    "data missing": ("x.onnx", saved(with_external_data("gone")), "is missing"),
    "offset no number": ("x.onnx", saved(with_external_data("x.onnx", offset="abc")), "are no numbers"),
    "no torchscript": ("x.pt", lambda path: torch.save({"weight": torch.ones(2)}, path), "can't load x.pt"),
    "custom operator": ("x.pt", custom_operator, "strange::twice"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_has_one_reason(kind: str, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    name, write, reason = BAD[kind]
    write(tmp_path / name)
    checkpoint = make_checkpoint("vit", "image-classification")
    done = subprocess.run(
        [sys.executable, "-m", "entrypoint", "validate", name, "--model", str(checkpoint)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=280,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert reason in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if "[x]" in line]) <= 1


def test_a_file_without_an_input_that_the_model_needs(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    from tests.validation.strangers import complaints, judged_file

    onnx.save(model(("attention_mask",), kind=TensorProto.INT64), str(tmp_path / "x.onnx"))
    told = complaints(judged_file(tmp_path / "x.onnx", make_checkpoint("distilbert", "masked-lm"), "masked-lm"))
    assert told[0].startswith("input names: the file has no input input_ids, without which the eager model refuses")
