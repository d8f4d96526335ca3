"""TorchScript files of strangers: whichever way they were traced, right ones pass and wrong ones don't."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exporter.results import ExportError, Status
from tests.validation.strangers import Flat, checkpoint, complaints, judged_file, sample, styles

# People trace as they always did, whatever it warns of.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning"
)

MODELS = {
    "bert": ("default", ("last_hidden_state", "pooler_output")),
    "distilbert": ("sequence-classification", ("logits",)),
    "roberta": ("token-classification", ("logits",)),
    "gpt2": ("causal-lm", ("logits",)),
    "vit": ("image-classification", ("logits",)),
    "t5": ("seq2seq-lm", ("logits",)),
    "whisper": ("speech2seq-lm", ("logits",)),
}


def saved(script: Any, folder: Path) -> Path:
    path = folder / "strange.pt"
    torch.jit.save(script, str(path))
    return path


@pytest.mark.parametrize("model_type", MODELS)
def test_every_way_of_tracing_passes(model_type: str, tmp_path: Path) -> None:
    task, outputs = MODELS[model_type]
    folder, model = checkpoint(model_type, task, tmp_path / "checkpoint")
    for style, make in styles(model, outputs):
        validation = judged_file(saved(make(), tmp_path), folder, task)
        assert (style, complaints(validation)) == (style, [])
        assert {each.output for case in validation.cases for each in case.outputs} >= set(outputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("model_type", ["distilbert", "vit"])
def test_a_trace_in_another_precision_passes(model_type: str, dtype: torch.dtype, tmp_path: Path) -> None:
    task, _ = MODELS[model_type]
    folder, model = checkpoint(model_type, task, tmp_path / "checkpoint")
    values = {name: each.to(dtype) if each.is_floating_point() else each for name, each in sample(model).items()}
    flat = Flat(model.to(dtype), tuple(values), lambda given: given.logits).eval()
    script = torch.jit.trace(flat, tuple(values.values()), strict=False)
    assert complaints(judged_file(saved(script, tmp_path), folder, task)) == []


def epsilon(model: torch.nn.Module) -> None:
    norm = next(module for module in model.modules() if isinstance(module, torch.nn.LayerNorm))
    norm.eps = 1e-8  # less than float32 rounds


def one_weight(model: torch.nn.Module) -> None:
    linear = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    linear.weight.data[0] *= 1.003


def swapped(given: Any) -> Any:
    return given.end_logits, given.start_logits


def honest(given: Any) -> Any:
    return given.start_logits, given.end_logits


def cut(given: Any) -> Any:
    return (given.start_logits,)


def wide(given: Any) -> Any:
    return given.start_logits.double(), given.end_logits.double()


@pytest.mark.parametrize(
    ("plant", "pick"),
    [(epsilon, honest), (one_weight, honest), (None, swapped), (None, cut), (None, wide)],
    ids=["epsilon", "weight", "swapped", "output missing", "output in float64"],
)
def test_a_fault_that_was_traced_is_found(
    plant: Callable[[torch.nn.Module], None] | None, pick: Callable[[Any], Any], tmp_path: Path
) -> None:
    folder, model = checkpoint("bert", "question-answering", tmp_path / "checkpoint")
    if plant is not None:
        plant(model)
    values = sample(model)
    script = torch.jit.trace(Flat(model, tuple(values), pick).eval(), tuple(values.values()), strict=False)
    assert judged_file(saved(script, tmp_path), folder, "question-answering").status is Status.FAILED


def test_a_trace_that_is_right_only_at_its_own_size_is_wrong_at_the_others_that_it_takes(tmp_path: Path) -> None:
    folder, model = checkpoint("distilbert", "sequence-classification", tmp_path / "checkpoint")

    class Frozen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            scale = input_ids.shape[1] / float(int(input_ids.shape[1]))
            return (self.model(input_ids, attention_mask).logits * scale,)

    script = torch.jit.trace(Frozen().eval(), tuple(sample(model).values()), strict=False)
    validation = judged_file(saved(script, tmp_path), folder, "sequence-classification")
    assert validation.status is Status.FAILED
    cases = {case.case: case.status for case in validation.cases}
    assert cases["traced"] is Status.PASSED
    assert cases["sequence=13"] is Status.FAILED


def test_what_a_trace_refuses_it_does_not_promise(tmp_path: Path) -> None:
    folder, model = checkpoint("distilbert", "sequence-classification", tmp_path / "checkpoint")

    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            # Only one shape passes both.
            return self.model(input_ids.view(1, 16), attention_mask.expand(1, 16)).logits

    script = torch.jit.trace(Fixed().eval(), tuple(sample(model, 1, 16).values()), strict=False)
    validation = judged_file(saved(script, tmp_path), folder, "sequence-classification")
    assert complaints(validation) == []
    assert "the file takes only batch=1, sequence=16" in validation.notes
    assert {case.sizes["sequence"] for case in validation.cases} == {16}
    assert "sequence=13: the file refuses these sizes" in validation.left_out


def test_a_trace_of_another_model_is_refused_with_a_reason(tmp_path: Path) -> None:
    folder, _ = checkpoint("bert", "question-answering", tmp_path / "checkpoint")
    _, other = checkpoint("vit", "image-classification", tmp_path / "other")
    script = torch.jit.trace(Flat(other, ("pixel_values",), lambda given: given.logits), sample(other)["pixel_values"])
    validation = judged_file(saved(script, tmp_path), folder, "question-answering")
    assert complaints(validation)[0].startswith("output names: it ran at no size that was tried: ")


def test_the_command_says_how_it_read_the_file(tmp_path: Path) -> None:
    folder, model = checkpoint("vit", "image-classification", tmp_path / "checkpoint")
    script = torch.jit.trace(Flat(model, ("pixel_values",), lambda given: given.logits), sample(model)["pixel_values"])
    done = subprocess.run(
        [sys.executable, "-m", "entrypoint", "validate", str(saved(script, tmp_path)), "--model", str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All good" in done.stdout
    assert "Note: outputs are taken by position: output_0 as logits" in done.stderr


@pytest.mark.parametrize("content", [b"", b"PK\3\4junk", b"no model"], ids=["empty", "cut", "text"])
def test_what_is_no_torchscript_has_a_reason(content: bytes, tmp_path: Path) -> None:
    folder, _ = checkpoint("vit", "image-classification", tmp_path / "checkpoint")
    path = tmp_path / "strange.pt"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"PyTorch can't load strange\.pt"):
        judged_file(path, folder, "image-classification")
