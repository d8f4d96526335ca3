"""Which graph a stranger's ONNX file is, whatever it is called and whichever form of the task was named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from exporter.architectures import describe
from exporter.onnx import OnnxOptions, export_graphs, merge_decoders
from exporter.results import ExportError, Status, Validation
from tests.validation.faults.surgery import Surgery
from tests.validation.strangers import checkpoint, complaints, judged_file

OPTIONS = OnnxOptions(opset=17, engine="legacy")


def outputs_of(validation: Validation) -> set[str]:
    return {each.output for case in validation.cases for each in case.outputs}


def scaled(path: Path, output: str) -> None:
    model = onnx.load(str(path))
    Surgery(model).after(output, lambda emit, x: emit("Mul", x, 1.001))
    onnx.save(model, str(path))


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its encoder and decoders under names of nobody's, and both decoders as one file."""
    folder = tmp_path_factory.mktemp("t5")
    _, model = checkpoint("t5", "seq2seq-lm", folder / "checkpoint")
    graphs = describe(model.config, "seq2seq-lm-with-past")
    for each in ("files", "parts"):
        (folder / each).mkdir()
    encoder, first, following = export_graphs(model, graphs.graphs, OPTIONS, folder / "parts")
    merge_decoders(first, following, folder / "files" / "both.onnx", graphs.merged)
    encoder.rename(folder / "files" / "reads.onnx")
    first.rename(folder / "begins.onnx")
    following.rename(folder / "goes on.onnx")
    return folder


@pytest.mark.parametrize("task", ["seq2seq-lm", "seq2seq-lm-with-past"])
@pytest.mark.parametrize(
    ("file", "output"),
    [
        ("files/reads.onnx", "last_hidden_state"),
        ("begins.onnx", "present.0.encoder.key"),
        ("goes on.onnx", "present.0.decoder.key"),
        ("files/both.onnx", "present.0.encoder.key"),
    ],
)
def test_a_part_is_known_by_what_it_takes(file: str, output: str, task: str, t5: Path) -> None:
    validation = judged_file(t5 / file, t5 / "checkpoint", task)
    assert complaints(validation) == []
    assert output in outputs_of(validation)


def test_a_folder_is_judged_file_by_file_and_as_a_whole(t5: Path) -> None:
    validation = judged_file(t5 / "files", t5 / "checkpoint", "seq2seq-lm")
    assert complaints(validation) == []
    assert {"last_hidden_state", "logits", "present.0.decoder.key"} <= outputs_of(validation)
    assert "greedy text as generate writes it" in {check.name for check in validation.checks}
    assert not validation.left_out, "both branches are looked at in float64 too"


@pytest.mark.parametrize("factor", [-1.0, 1.000001], ids=["blatant", "below float32's rounding"])
@pytest.mark.parametrize("branch", ["then_branch", "else_branch"])
def test_a_fault_in_either_branch_of_a_merged_file_is_found(
    branch: str, factor: float, t5: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(t5 / "files" / "both.onnx"))
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    graph = next(attribute.g for attribute in choice.attribute if attribute.name == branch)
    logits = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if name == logits else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Constant", [], ["factor"], value_float=factor))
    graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], [logits]))
    onnx.save(model, str(tmp_path / "both.onnx"))
    validation = judged_file(tmp_path / "both.onnx", t5 / "checkpoint", "seq2seq-lm-with-past")
    assert complaints(validation)


def test_a_decoder_that_gives_no_cache_is_one_too(t5: Path, tmp_path: Path) -> None:
    _, model = checkpoint("t5", "seq2seq-lm", tmp_path / "checkpoint")
    first = describe(model.config, "seq2seq-lm-with-past").graphs[1]
    plain = replace(first, outputs={"logits": first.outputs["logits"]})
    (path,) = export_graphs(model, (plain,), OPTIONS, tmp_path)
    assert complaints(judged_file(path, t5 / "checkpoint", "seq2seq-lm")) == []
    scaled(path, "logits")
    assert judged_file(path, t5 / "checkpoint", "seq2seq-lm").status is Status.FAILED


@pytest.mark.parametrize(
    ("made", "asked"), [("causal-lm", "causal-lm-with-past"), ("causal-lm-with-past", "causal-lm")]
)
def test_a_decoder_is_what_it_takes_whatever_the_task_is_called(made: str, asked: str, tmp_path: Path) -> None:
    folder, model = checkpoint("gpt2", "causal-lm", tmp_path / "checkpoint")
    (path,) = export_graphs(model, describe(model.config, made).graphs, OPTIONS, tmp_path)
    validation = judged_file(path, folder, asked)
    assert complaints(validation) == []
    assert ("present.0.key" in outputs_of(validation)) == made.endswith("-with-past")


def renamed_like_transformers_own(path: Path) -> None:
    """The cache under the names that ``transformers.exporters`` gives it."""
    model = onnx.load(str(path))
    names = {
        each.name: re.sub(r"present\.(\d+)\.(\w+)", r"past_key_values.layers.\1.\2s", each.name)
        for each in model.graph.output
    }
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    for each in model.graph.output:
        each.name = names[each.name]
    onnx.save(model, str(path))


@pytest.mark.parametrize("theirs", [False, True], ids=["optimum's names", "transformers' names"])
def test_a_decoder_that_gives_a_cache_and_takes_none(theirs: bool, tmp_path: Path) -> None:
    folder, model = checkpoint("gpt2", "causal-lm", tmp_path / "checkpoint")
    (plain,) = describe(model.config, "causal-lm").graphs
    cache = {f"present.{layer}.{part}": {0: "batch", 2: "sequence"} for layer in range(2) for part in ("key", "value")}
    graph = replace(plain, part="decoder_prefill", outputs={**plain.outputs, **cache})
    (path,) = export_graphs(model, (graph,), OPTIONS, tmp_path)
    if theirs:
        renamed_like_transformers_own(path)
    validation = judged_file(path, folder, "causal-lm")
    assert complaints(validation) == []
    assert outputs_of(validation) == {"logits", *cache}
    scaled(path, onnx.load(str(path)).graph.output[-1].name)
    assert judged_file(path, folder, "causal-lm").status is Status.FAILED


def test_what_eager_gives_beyond_the_task_is_judged_too(tmp_path: Path) -> None:
    folder, model = checkpoint("bert", "default", tmp_path / "checkpoint")
    (graph,) = describe(model.config, "default").graphs
    more = {"pooler_output": {0: "batch"}, "hidden_states.1": {0: "batch", 1: "sequence"}}
    (path,) = export_graphs(model, (replace(graph, outputs={**graph.outputs, **more}),), OPTIONS, tmp_path)
    validation = judged_file(path, folder, "default")
    assert complaints(validation) == []
    assert outputs_of(validation) == {"last_hidden_state", "pooler_output", "hidden_states.1"}
    whole = path.read_bytes()
    for output in more:
        path.write_bytes(whole)
        scaled(path, output)
        assert judged_file(path, folder, "default").status is Status.FAILED


def test_a_folder_without_model_files_has_a_reason(t5: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no model file"):
        judged_file(tmp_path, t5 / "checkpoint", "seq2seq-lm")
