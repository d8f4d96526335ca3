"""Every planted fault is caught; where one is not, the instrument has a blind spot.

`make test` plants each fault in two families, another two for each fault; ``-m slow`` plants each in all of them.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.results import ExportError, Status
from exporter.validation import Settings, Subject, validate_artifact
from tests.architectures.tiny import untrained
from tests.validation.conftest import FAMILIES, Export, Exported, fresh_model, onnx_export, torchscript_export
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.model_faults import MODEL_FAULTS
from tests.validation.faults.planting import (
    EQUIVALENT,
    MODEL_FAMILIES,
    NOT_IN_ONNX,
    broken_files,
    in_graphs,
    in_models,
)

FAINT = (
    "attention-scaled",
    "batch-mixed",
    "constant-rounded",
    "epsilon-of-one-norm",
    "intermediate-in-half-precision",
    "other-activation",
)
"""Faults that change an untrained model by less than float32 rounds."""


def verdict(subject: Subject) -> Status:
    """The status, where a file that can't be judged has failed too."""
    try:
        return validate_artifact(subject, Settings()).status
    except ExportError:
        return Status.FAILED


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_graph_is_caught(fault: str, exported: Exported, tmp_path: Path) -> None:
    planted = list(in_graphs(fault, exported, tmp_path))
    assert planted, "no family has what this fault breaks"
    for each in planted:
        subject = exported(each.family).with_file(each.path, each.index)
        assert verdict(subject) is Status.FAILED, f"{each.family}: {each.path.name}"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_in_every_file_of_every_family(
    fault: str, family: str, exported: Exported, tmp_path: Path
) -> None:
    if (fault, family) in EQUIVALENT:
        pytest.skip(EQUIVALENT[fault, family])
    for each in broken_files(fault, exported(family), tmp_path):
        assert verdict(exported(family).with_file(each.path, each.index)) is Status.FAILED, each.path.name


@pytest.mark.parametrize("fault", [fault for fault in MODEL_FAULTS if fault not in NOT_IN_ONNX])
def test_a_fault_in_the_exported_model_is_caught(fault: str, tmp_path: Path) -> None:
    exports = list(in_models(fault, tmp_path))
    assert exports, "no family has what this fault breaks"
    for export in exports:
        assert verdict(export.subject) is Status.FAILED, export.family


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_fault_in_a_traced_model_is_caught(fault: str, tmp_path: Path) -> None:
    for family in MODEL_FAMILIES:
        model = fresh_model(family)
        if MODEL_FAULTS[fault](model):
            assert verdict(torchscript_export(family, tmp_path, model=model).subject) is Status.FAILED, family
            return
    pytest.fail("no family has what this fault breaks")


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A file of a model in which most faults are smaller than float32 rounds."""
    load = functools.partial(untrained, *FAMILIES["bert"])
    export = onnx_export("bert", tmp_path_factory.mktemp("faint"), model=load())
    return replace(export, subject=replace(export.subject, load=load))


def test_a_faint_model_passes(faint: Export) -> None:
    assert verdict(faint.subject) is Status.PASSED


@pytest.mark.parametrize("fault", FAINT)
def test_a_fault_below_float32_rounding_is_caught(fault: str, faint: Export, tmp_path: Path) -> None:
    (planted,) = broken_files(fault, faint, tmp_path)
    validation = validate_artifact(faint.with_file(planted.path), Settings())
    assert validation.status is Status.FAILED
    assert all(case.status is Status.PASSED for case in validation.cases if "@float64" not in case.case)


def test_there_are_enough_faults_and_most_know_no_model() -> None:
    assert len(FAULTS) + len(MODEL_FAULTS) >= 60
    assert len(FAULTS) >= 30
