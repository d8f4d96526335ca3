"""Traced files: what they promise, what they carry, what they refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporter import inputs
from exporter.architectures import describe
from exporter.eager import GraphModule
from exporter.results import ExportError
from exporter.torchscript import TorchScriptOptions, export_graph, open_model, traced_sizes
from exporter.torchscript.archive import without_debug_records
from exporter.torchscript.export import SIGNATURE_FILE
from tests.architectures.tiny import build

# Loaded as users load it: with the deprecated functions that this format has.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def exported(
    model_type: str, task: str, folder: Path, options: TorchScriptOptions | None = None
) -> tuple[Path, GraphModule]:
    options = options or TorchScriptOptions()
    model = build(model_type, task)
    described = describe(model.config, task)
    module = GraphModule(model, described.graphs[0])
    sizes = traced_sizes(module.graph, options)
    return export_graph(module, options, folder / "model.pt", sizes), module


def test_the_signature_has_names_and_flat_outputs_in_order(tmp_path: Path) -> None:
    path, _ = exported("bert", "question-answering", tmp_path)
    module = torch.jit.load(str(path))
    schema = str(module.forward.schema)
    assert "Tensor input_ids, Tensor attention_mask, Tensor token_type_ids) -> ((Tensor, Tensor))" in schema
    runner = open_model(path)
    assert [each.name for each in runner.outputs] == ["start_logits", "end_logits"]


def test_names_and_shapes_are_inside_the_file(tmp_path: Path) -> None:
    path, _ = exported("bert", "masked-lm", tmp_path, TorchScriptOptions(batch_size=2, sequence_length=12))
    extra = {SIGNATURE_FILE: ""}
    torch.jit.load(str(path), _extra_files=extra)
    signature = json.loads(extra[SIGNATURE_FILE])
    assert signature["inputs"][0] == {"name": "input_ids", "dtype": "int64", "shape": [2, 12]}
    assert signature["outputs"] == [{"name": "logits", "dtype": "float32", "shape": [2, 12, 99]}]


@pytest.mark.parametrize(
    ("model_type", "task"), [("bert", "default"), ("gpt2", "causal-lm"), ("vit", "image-classification")]
)
def test_the_file_computes_what_eager_does(model_type: str, task: str, tmp_path: Path) -> None:
    path, module = exported(model_type, task, tmp_path)
    runner = open_model(path)
    sizes = {"batch": 1, "sequence": runner.inputs[0].shape[1]}
    values = inputs.make(module.graph, sizes, module.model.config, "right", seed=5)
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, values.values()))
    for output, reference in zip(runner.run(values).values(), expected, strict=True):
        np.testing.assert_allclose(output, reference.numpy(), atol=2e-5)


def test_a_text_may_be_padded_where_its_only_global_token_was(tmp_path: Path) -> None:
    path, module = exported("longformer", "sequence-classification", tmp_path)
    runner = open_model(path)
    values = inputs.make(module.graph, {"batch": 1, "sequence": runner.inputs[0].shape[1]}, module.model.config, "left")
    assert values["attention_mask"][0, 0] == 0
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, values.values()))
    np.testing.assert_allclose(runner.run(values)["logits"], expected[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("sizes", [(1, 11), (2, 12), (1, 1), (2, 6), (12, 1)])
def test_fixed_sizes_refuse_every_other_size(sizes: tuple[int, int], tmp_path: Path) -> None:
    path, module = exported("bert", "default", tmp_path, TorchScriptOptions(1, 12, fixed_sizes=True))
    runner = open_model(path)
    config = module.model.config
    runner.run(inputs.make(module.graph, {"batch": 1, "sequence": 12}, config))
    with pytest.raises(ExportError, match="TorchScript: "):
        runner.run(inputs.make(module.graph, {"batch": sizes[0], "sequence": sizes[1]}, config))


def test_tied_weights_stay_tied_unless_the_old_way_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tied").mkdir()
    (tmp_path / "untied").mkdir()
    tied, module = exported("gpt2", "causal-lm", tmp_path / "tied")
    untied, _ = exported("gpt2", "causal-lm", tmp_path / "untied", TorchScriptOptions(untie_weights=True))
    table = module.model.get_input_embeddings().weight.nbytes
    stored = [open_model(path).contract().parameter_bytes for path in (tied, untied)]
    assert stored[1] - stored[0] == table
    sizes = {"batch": 1, "sequence": open_model(tied).inputs[0].shape[1]}
    values = inputs.make(module.graph, sizes, module.model.config)
    first, second = (open_model(path).run(values)["logits"] for path in (tied, untied))
    np.testing.assert_array_equal(first, second)


def test_nothing_tells_of_the_build(tmp_path: Path) -> None:
    path, _ = exported("bert", "default", tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_operators_keep_the_meaning_they_were_traced_with(tmp_path: Path) -> None:
    class Quarter(nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return value / 4

    path = tmp_path / "model.pt"
    script = torch.jit.trace(Quarter(), torch.tensor([3]), check_trace=False)
    torch.jit.save(script, str(path))
    without_debug_records(path)
    assert torch.jit.load(str(path))(torch.tensor([3])).tolist() == [0.75]


def test_tensors_stay_aligned_for_memory_mapping(tmp_path: Path) -> None:
    path, _ = exported("bert", "default", tmp_path)
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for info in archive.infolist():
            if "/data/" in info.filename:
                raw.seek(info.header_offset + 26)
                name, extra = (int.from_bytes(raw.read(2), "little") for _ in range(2))
                assert (info.header_offset + 30 + name + extra) % 64 == 0, info.filename


def test_a_length_the_model_cannot_take_is_an_error_that_names_its_maximum(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="more than the 66 tokens"):
        exported("bert", "default", tmp_path, TorchScriptOptions(sequence_length=67))


def test_the_default_length_is_the_models_maximum_where_that_is_short(tmp_path: Path) -> None:
    path, _ = exported("bert", "default", tmp_path)
    assert open_model(path).inputs[0].shape == (1, 66)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_what_is_no_torchscript_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"can't load m\.pt"):
        open_model(path)


PROGRAM = r"""
#include <torch/script.h>
#include <iostream>
int main(int, char** argv) {
  torch::jit::Module module = torch::jit::load(argv[1]);
  c10::InferenceMode guard;
  auto options = torch::TensorOptions().dtype(torch::kLong);
  auto ids = torch::arange(12, options).remainder(90).reshape({1, 12});
  auto output = module.forward({ids, torch::ones({1, 12}, options), torch::zeros({1, 12}, options)});
  std::cout.precision(9);
  auto values = output.toTuple()->elements()[0].toTensor().flatten();
  for (int64_t i = 0; i < values.numel(); ++i) std::cout << values[i].item<float>() << "\n";
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_cpp_program_runs_the_file_against_torchs_own_library(tmp_path: Path) -> None:
    path, module = exported("bert", "default", tmp_path, TorchScriptOptions(sequence_length=12))
    (tmp_path / "run.cpp").write_text(PROGRAM)
    root = Path(torch.__file__).parent
    binary = tmp_path / "run"
    subprocess.run(
        [
            *("g++", "-std=c++20", "-O0", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"),
            *(f"-I{root / folder}" for folder in ("include", "include/torch/csrc/api/include")),
            *(str(tmp_path / "run.cpp"), "-o", str(binary), f"-L{root / 'lib'}", f"-Wl,-rpath,{root / 'lib'}"),
            *("-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"),
        ],
        check=True,
    )
    printed = subprocess.run([str(binary), str(path)], check=True, capture_output=True, text=True).stdout
    ids = (torch.arange(12) % 90).reshape(1, 12)
    with torch.no_grad():
        expected = module(ids, torch.ones_like(ids), torch.zeros_like(ids))[0]
    np.testing.assert_allclose([float(line) for line in printed.split()], expected.flatten().numpy(), atol=2e-5)
