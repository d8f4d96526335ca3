"""Two decoders as one file: the halves it is made of, weights stored once, both branches as the halves were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporter import architectures, inputs
from exporter.architectures import Graph
from exporter.architectures.seq2seq import EncoderDecoder
from exporter.onnx import OnnxOptions, export_graphs, open_model
from exporter.onnx.merge import merge_decoders
from exporter.results import ExportError
from tests.architectures.tiny import build


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, EncoderDecoder]:
    model = build("t5", "seq2seq-lm")
    described = architectures.describe(model.config, "seq2seq-lm-with-past")
    assert isinstance(described, EncoderDecoder)
    folder = tmp_path_factory.mktemp("decoders")
    first, following = export_graphs(model, described.graphs[1:], OnnxOptions(engine="legacy"), folder)
    return first, following, described


def test_each_branch_gives_what_its_half_gave(decoders: tuple[Path, Path, EncoderDecoder], tmp_path: Path) -> None:
    first, following, described = decoders
    assert described.merged
    merged = merge_decoders(first, following, tmp_path / "merged.onnx", described.merged)
    onnx.checker.check_model(str(merged), full_check=True)
    for past, half in ((0, first), (5, following)):
        sizes = {"batch": 2, "decoder_sequence": 3, "past_decoder_sequence": past, "encoder_sequence": 7}
        given = inputs.make(described.merged, sizes, build("t5", "seq2seq-lm").config, "right")
        expected, actual = open_model(half).run(given), open_model(merged).run(given)
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value)
        # Cross-attention's keys and values don't change: what came in goes out.
        if past:
            np.testing.assert_array_equal(actual["present.1.encoder.key"], given["past_key_values.1.encoder.key"])


def test_weights_that_both_halves_have_are_stored_once(
    decoders: tuple[Path, Path, EncoderDecoder], tmp_path: Path
) -> None:
    first, following, described = decoders
    assert described.merged
    merged = onnx.load(str(merge_decoders(first, following, tmp_path / "merged.onnx", described.merged)))

    contents = [tensor.raw_data for tensor in merged.graph.initializer if len(tensor.raw_data) > 64]
    assert len(contents) == len(set(contents))
    stored = sum(len(tensor.raw_data) for tensor in merged.graph.initializer)
    alone = sum(len(tensor.raw_data) for tensor in onnx.load(str(first)).graph.initializer)
    assert stored < 1.05 * alone, "the decoder with past has no weights of its own"
    assert [value.name for value in merged.graph.input] == list(described.merged.inputs)
    assert [value.name for value in merged.graph.output] == list(described.merged.outputs)


GRAPH = Graph("merged", "decoder_merged", {"x": {0: "batch"}, "use_cache_branch": {}}, {"y": {0: "batch"}})


def half(path: Path, output: str = "y", opset: int = 18, inner: bool = False) -> Path:
    """A file that doubles its input, in a branch of its own where asked."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("x", output)]
    add = helper.make_node("Add", ["x", "x"], [output if not inner else "inner"], name="add")
    nodes = [add]
    if inner:
        branches = {
            f"{name}_branch": helper.make_graph(
                [helper.make_node("Identity", ["inner"], [f"{name}_out"])],
                name,
                [],
                [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
            )
            for name in ("then", "else")
        }
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        nodes += [
            helper.make_node("Constant", [], ["condition"], value=yes),
            helper.make_node("If", ["condition"], [output], name="if", **branches),
        ]
    graph = helper.make_graph(nodes, "half", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, str(path))
    return path


def test_names_inside_inner_graphs_are_kept_apart(tmp_path: Path) -> None:
    one, two = half(tmp_path / "one.onnx", inner=True), half(tmp_path / "two.onnx", inner=True)
    merged = merge_decoders(one, two, tmp_path / "merged.onnx", GRAPH)
    for branch in (True, False):
        given = {"x": np.array([1.0, 2.0], np.float32), "use_cache_branch": np.array([branch])}
        assert open_model(merged).run(given)["y"].tolist() == [2.0, 4.0]


def test_halves_of_different_opsets_are_refused(tmp_path: Path) -> None:
    one, two = half(tmp_path / "one.onnx"), half(tmp_path / "two.onnx", opset=17)
    with pytest.raises(ExportError, match=r"one\.onnx and two\.onnx have different operator sets"):
        merge_decoders(one, two, tmp_path / "merged.onnx", GRAPH)


def test_an_output_that_a_half_lacks_is_named(tmp_path: Path) -> None:
    one, two = half(tmp_path / "one.onnx"), half(tmp_path / "two.onnx", output="z")
    with pytest.raises(ExportError, match="gives no 'y'"):
        merge_decoders(one, two, tmp_path / "merged.onnx", GRAPH)
