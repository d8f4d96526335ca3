"""Files of strangers: what is unusual is noted, what is wrong is refused, and nothing ends in a traceback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporter.results import ExportError, Status, Validation
from exporter.validation import Settings, Subject, validate_artifact
from tests.validation.conftest import Export, Exported
from tests.validation.faults.surgery import Surgery


def strange(export: Export, model: onnx.ModelProto, path: Path) -> Subject:
    onnx.save(model, str(path))
    subject = export.with_file(path)
    return replace(subject, asked=None, artifacts=tuple(replace(each, traced={}) for each in subject.artifacts))


def judged(export: Export, model: onnx.ModelProto, folder: Path) -> Validation:
    return validate_artifact(strange(export, model, folder / "strange.onnx"), Settings())


def loaded(export: Export) -> onnx.ModelProto:
    return onnx.load(str(export.subject.artifacts[0].path))


def test_another_order_of_inputs_and_outputs_is_noted(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("bert"))
    for values in (model.graph.input, model.graph.output):
        turned = list(values)[::-1]
        del values[:]
        values.extend(turned)
    validation = judged(exported("bert"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert [note for note in validation.notes if "another order" in note]


def test_an_optional_input_may_be_missing(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("bert"))
    surgery = Surgery(model)
    surgery.after("token_type_ids", lambda emit, x: emit("Mul", "input_ids", 0))
    kept = [value for value in model.graph.input if value.name != "token_type_ids"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    validation = judged(exported("bert"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert "the file has no input token_type_ids" in validation.notes


def test_another_output_is_noted(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("vit"))
    value = Surgery(model).nodes("LayerNormalization")[0].output[0]
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    validation = judged(exported("vit"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert f"the file has another output, which isn't judged: {value}" in validation.notes
    assert [note for note in validation.notes if note.startswith("onnx.checker objects")]  # to a value without a shape


def test_static_axes_are_what_the_file_declares(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("distilbert"))
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 2
        value.type.tensor_type.shape.dim[1].dim_value = 11
    validation = judged(exported("distilbert"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert "the file takes only batch=2, sequence=11" in validation.notes
    assert {tuple(case.sizes.values()) for case in validation.cases} == {(2, 11)}


def test_outputs_without_known_names_are_taken_by_position(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("vit"))
    old = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["1234" if name == old else name for name in node.output]
    model.graph.output[0].name = "1234"
    validation = judged(exported("vit"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert "outputs are taken by position: 1234 as logits" in validation.notes


def test_an_input_that_nothing_reads_is_noted(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("vit"))
    model.graph.input.append(helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch"]))
    validation = judged(exported("vit"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert "nothing reads the input labels" in validation.notes


def nodes_out_of_order(model: onnx.ModelProto) -> None:
    turned = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(turned)


def test_nodes_in_another_order_are_noted_where_the_runtime_sorts_them(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("vit"))
    nodes_out_of_order(model)
    validation = judged(exported("vit"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert [note for note in validation.notes if "topologically sorted" in note]
    ours = exported("vit").with_file(tmp_path / "strange.onnx")
    failed = [check.name for check in validate_artifact(ours, Settings()).checks if check.status is Status.FAILED]
    assert "onnx.checker" in failed


def renamed(model: onnx.ModelProto, index: int, name: str) -> None:
    old = model.graph.output[index].name
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [name if each == old else each for each in values]
    model.graph.output[index].name = name


def test_the_values_of_a_renamed_output_count(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("bert"))
    renamed(model, 1, "end")
    validation = judged(exported("bert"), model, tmp_path)
    assert validation.status is Status.PASSED
    assert "outputs are taken by position: end as end_logits" in validation.notes
    Surgery(model).after("end", lambda emit, x: emit("Mul", x, 1.001))
    assert judged(exported("bert"), model, tmp_path).status is Status.FAILED


def test_an_output_of_the_task_may_not_be_missing(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("bert"))
    del model.graph.output[1]
    validation = judged(exported("bert"), model, tmp_path)
    wrong = next(check for check in validation.checks if check.name == "output names")
    assert wrong.message == "the file has no output end_logits; it gives start_logits"


def test_swapped_outputs_are_wrong_values(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("bert"))
    renamed(model, 0, "kept")
    renamed(model, 1, "start_logits")
    renamed(model, 0, "end_logits")
    assert judged(exported("bert"), model, tmp_path).status is Status.FAILED


@pytest.mark.parametrize("dtype", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_another_type_than_the_weights_have_is_refused(dtype: int, exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("distilbert"))
    Surgery(model).after("logits", lambda emit, x: emit("Cast", x, to=dtype))
    model.graph.output[0].type.tensor_type.elem_type = dtype
    assert judged(exported("distilbert"), model, tmp_path).status is Status.FAILED


@pytest.mark.parametrize("family", ["roberta", "gpt2-past"])
@pytest.mark.parametrize("rows", [0, 1])
def test_an_output_that_lost_rows_is_a_failure_with_a_reason(
    rows: int, family: str, exported: Exported, tmp_path: Path
) -> None:
    model = loaded(exported(family))
    Surgery(model).after("logits", lambda emit, x: emit("Slice", x, [0], [rows], [0]))
    del model.graph.value_info[:]
    validation = judged(exported(family), model, tmp_path)
    assert validation.status is Status.FAILED
    assert [case for case in validation.cases if "shape" in "".join(each.message for each in case.outputs)]


def test_what_the_file_does_not_take_is_not_asked_of_it(exported: Exported, tmp_path: Path) -> None:
    for family, length in (("roberta", 11), ("gpt2-past", 1)):
        model = loaded(exported(family))
        for value in model.graph.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param == "sequence":
                    dim.dim_value = length
        validation = judged(exported(family), model, tmp_path)
        assert validation.status is Status.PASSED, [c for c in validation.checks if c.status is not Status.PASSED]
        skipped = [check.name for check in validation.checks if "the file takes only" in check.message]
        assert skipped == (["a padded row is as alone"] if family == "roberta" else CARRIED_ON)


CARRIED_ON = ["step by step as at once", "greedy text as generate writes it"]


def test_integers_of_another_size_are_the_file_s_own_business(exported: Exported, tmp_path: Path) -> None:
    model = loaded(exported("distilbert"))
    surgery = Surgery(model)
    for value in model.graph.input:
        surgery.after(value.name, lambda emit, x: emit("Cast", x, to=TensorProto.INT64))
        value.type.tensor_type.elem_type = TensorProto.INT32
    assert judged(exported("distilbert"), model, tmp_path).status is Status.PASSED


def test_a_file_of_another_model_is_refused(exported: Exported) -> None:
    subject = replace(exported("bert").with_file(exported("vit").subject.artifacts[0].path), asked=None)
    validation = validate_artifact(subject, Settings())
    assert validation.status is Status.FAILED
    assert [check for check in validation.checks if check.name == "input names" and "pixel_values" in check.message]


def test_a_file_of_the_same_model_with_other_weights_is_refused(exported: Exported) -> None:
    other = exported("bert", seed=1).subject.artifacts[0].path
    validation = validate_artifact(replace(exported("bert").with_file(other), asked=None), Settings())
    assert validation.status is Status.FAILED


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b"not a model"), "is no ONNX file"),
        (lambda path: path.write_bytes(b""), "is no ONNX file"),
        (lambda path: onnx.save(_model(opset=99), str(path)), "can't load"),
        (lambda path: onnx.save(_model(domain="com.example"), str(path)), "can't load"),
        (lambda path: onnx.save(_model(location="../weights"), str(path)), "outside the folder"),
        (lambda path: onnx.save(_model(location="gone"), str(path)), "missing"),
    ],
    ids=["junk", "empty", "newer opset", "operators nobody knows", "data outside", "data missing"],
)
def test_what_can_not_be_judged_has_a_reason(write, reason: str, exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "strange.onnx"
    write(path)
    with pytest.raises(ExportError, match=reason):
        validate_artifact(replace(exported("vit").with_file(path), asked=None), Settings())


def _model(opset: int = 18, domain: str = "", location: str = "") -> onnx.ModelProto:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)
    if location:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)
        weight.external_data.add(key="length", value="16")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("pixel_values", "logits")
    ]
    node = helper.make_node("Add", ["pixel_values", "w"], ["logits"], domain=domain)
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weight])
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=10)
