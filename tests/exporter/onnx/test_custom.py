"""A configuration class of the user's own, as a manifest names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.pipeline import steps
from exporter.pipeline.messages import CheckpointRequest, ExportRequest, ValidateRequest
from exporter.results import ExportError, Status, Validation

MakeCheckpoint = Callable[[str, str], Path]

CODE = """
from exporter.onnx import OnnxConfig


class MyOnnxConfig(OnnxConfig):
    atol_for_validation = {atol}

    @property
    def inputs(self):
        tokens = {{0: "batch", 1: "sequence"}}
        return {{"input_ids": tokens, "attention_mask": tokens}}
"""


def judged(checkpoint: Path, directory: Path, class_name: str = "MyOnnxConfig", allowed: bool = True) -> Validation:
    asked = CheckpointRequest(
        path=str(checkpoint),
        task="text-classification",
        custom_config=f"{directory}/export_configs.py:{class_name}",
        allow_custom_code=allowed,
    )
    (directory / "export").mkdir()
    request = ExportRequest(checkpoint=asked, format="onnx", directory=str(directory / "export"))
    assert steps.export(request).architecture == "custom"
    return steps.validate(ValidateRequest(checkpoint=asked, format="onnx", directory=request.directory))


@pytest.mark.parametrize(("atol", "status"), [("2e-3", Status.PASSED), ("1e-12", Status.FAILED)])
def test_its_tolerance_is_the_one_judged_by(
    atol: str, status: Status, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    (tmp_path / "export_configs.py").write_text(CODE.format(atol=atol))
    validation = judged(make_checkpoint("distilbert", "sequence-classification"), tmp_path)
    assert validation.status is status
    assert f"(atol: {float(atol)})" in "\n".join(validation.log)
    assert validation.tolerance is not None
    assert "MyOnnxConfig" in validation.tolerance.reason


def test_its_code_runs_only_where_that_is_allowed(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "export_configs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ExportError, match="would run code of this repository"):
        judged(make_checkpoint("distilbert", "sequence-classification"), tmp_path, allowed=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("code", "class_name", "message"),
    [
        ("import nonsense", "MyOnnxConfig", "can't be imported: ModuleNotFoundError"),
        (CODE.format(atol=None), "Other", "has no class Other that is an OnnxConfig"),
        ("class Other: ...", "Other", "has no class Other that is an OnnxConfig"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    code: str, class_name: str, message: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    (tmp_path / "export_configs.py").write_text(code)
    with pytest.raises(ExportError, match=message):
        judged(make_checkpoint("distilbert", "sequence-classification"), tmp_path, class_name)
