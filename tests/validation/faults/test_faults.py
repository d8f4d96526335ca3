"""Every planted fault is caught; where one is not, the instrument has a blind spot.

`make test` plants each fault in two families, another two for each fault; ``-m slow`` plants each in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from exporter.results import ExportError, Status
from exporter.validation import Settings, validate_artifact
from tests.validation.conftest import FAMILIES, Exported, fresh_model, onnx_export, torchscript_export
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.model_faults import MODEL_FAULTS
from tests.validation.faults.surgery import Surgery

EQUIVALENT = {
    ("constant-rounded", "t5"): "no distance between tokens falls into another bucket",
}
"""Faults that change nothing in a family, and why."""

FAMILIES_BY_FAULT = 2


def verdict(subject) -> Status:
    """The status, where a file that can't be judged has failed too."""
    try:
        return validate_artifact(subject, Settings()).status
    except ExportError:
        return Status.FAILED


def broken_files(fault: str, family: str, exported: Exported, folder: Path) -> Iterator[tuple[Path, int]]:
    """The files of a family with the fault planted, where they have what it breaks."""
    for index, artifact in enumerate(exported(family).subject.artifacts):
        model = onnx.load(str(artifact.path))
        if FAULTS[fault](Surgery(model)):
            path = folder / f"{family}-{artifact.graph.file}-{fault}.onnx"
            onnx.save(model, str(path))
            yield path, index


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_graph_is_caught(fault: str, exported: Exported, tmp_path: Path) -> None:
    names = list(FAMILIES)
    start = list(FAULTS).index(fault) % len(names)
    planted = 0
    for family in names[start:] + names[:start]:
        for path, index in list(broken_files(fault, family, exported, tmp_path))[-1:]:
            if (fault, family) not in EQUIVALENT:
                assert verdict(exported(family).with_file(path, index)) is Status.FAILED, f"{family}: {path.name}"
                planted += 1
        if planted == FAMILIES_BY_FAULT:
            break
    assert planted, "no family has what this fault breaks"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_in_every_file_of_every_family(
    fault: str, family: str, exported: Exported, tmp_path: Path
) -> None:
    if (fault, family) in EQUIVALENT:
        pytest.skip(EQUIVALENT[fault, family])
    for path, index in broken_files(fault, family, exported, tmp_path):
        assert verdict(exported(family).with_file(path, index)) is Status.FAILED, path.name


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_fault_in_the_exported_model_is_caught(fault: str, tmp_path: Path) -> None:
    planted = 0
    for family in ("bert", "gpt2", "vit", "roberta", "distilbert"):
        model = fresh_model(family)
        if fault != "dropout-left-on" and MODEL_FAULTS[fault](model):
            export = onnx_export(family, tmp_path, model=model)
            assert verdict(export.subject) is Status.FAILED, family
            planted += 1
        if planted == FAMILIES_BY_FAULT:
            break
    # ONNX has no dropout that is left on: the engines write the model as it computes in evaluation mode.
    assert planted or fault == "dropout-left-on"


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_fault_in_a_traced_model_is_caught(fault: str, tmp_path: Path) -> None:
    for family in ("bert", "gpt2", "vit", "roberta", "distilbert"):
        model = fresh_model(family)
        if MODEL_FAULTS[fault](model):
            assert verdict(torchscript_export(family, tmp_path, model=model).subject) is Status.FAILED, family
            return
    pytest.fail("no family has what this fault breaks")


def test_there_are_enough_faults_and_most_know_no_model() -> None:
    assert len(FAULTS) + len(MODEL_FAULTS) >= 60
    assert len(FAULTS) >= 30
