"""No healthy file is refused, and what is said about it is what people know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.results import ExportError, Status
from exporter.validation import Settings, validate_artifact
from exporter.validation.cases import MASKS
from tests.validation.conftest import FAMILIES, Exported
from tests.validation.strangers import complaints

TRACED = [family for family in FAMILIES if not FAMILIES[family][1].endswith("-with-past")]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_healthy_onnx_file_passes(family: str, seed: int, exported: Exported) -> None:
    validation = validate_artifact(exported(family, seed=seed).subject, Settings(seed=seed))
    assert complaints(validation) == []
    assert validation.status is Status.PASSED
    assert validation.left_out == ()
    assert validation.replay == ""


@pytest.mark.parametrize("family", TRACED)
def test_a_healthy_torchscript_file_passes_and_other_sizes_are_told(family: str, exported: Exported) -> None:
    validation = validate_artifact(exported(family, "torchscript").subject, Settings())
    assert complaints(validation) == []
    told = next(check.message for check in validation.checks if check.name == "other sizes")
    assert told.endswith("also correct")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_that_is_not_ours_is_held_to_what_it_declares(family: str, exported: Exported) -> None:
    subject = replace(exported(family).subject, asked=None)
    foreign = replace(subject, artifacts=tuple(replace(artifact, traced={}) for artifact in subject.artifacts))
    validation = validate_artifact(foreign, Settings())
    assert complaints(validation) == []
    assert validation.notes == ()


def test_every_axis_mask_and_way_of_running_is_among_the_cases(exported: Exported) -> None:
    cases = {case.case: case for case in validate_artifact(exported("gpt2-past").subject, Settings()).cases}
    sizes: dict[str, set[int]] = {}
    for case in cases.values():
        for axis, size in case.sizes.items():
            sizes.setdefault(axis, set()).add(size)
    assert {1, 3, 5} <= sizes["batch"]
    assert {1, 13} <= sizes["sequence"]
    assert {0, 1, 2, 7} <= sizes["past_sequence"]
    assert {case.mask for case in cases.values()} == {"ones", *MASKS}
    longest = max(case.sizes["past_sequence"] + case.sizes["sequence"] for case in cases.values())
    assert longest == exported("gpt2-past").architecture.config.n_positions
    assert {"traced@unoptimised", "traced@float64"} <= cases.keys()


def test_the_report_has_floor_factor_and_error(exported: Exported) -> None:
    validation = validate_artifact(exported("distilbert").subject, Settings())
    tolerance = validation.tolerance
    assert tolerance is not None
    assert tolerance.source == "measured"
    assert tolerance.floor is not None
    assert tolerance.factor is not None
    assert tolerance.atol == pytest.approx(tolerance.floor * tolerance.factor)
    worst = validation.worst
    assert worst is not None
    assert worst.rounding is not None
    assert 0 <= worst.rounding < tolerance.factor


def test_the_log_has_the_lines_that_people_know(exported: Exported) -> None:
    export = exported("bert")
    log = validate_artifact(export.subject, Settings()).log
    assert log[0] == "Validating ONNX model..."
    assert log[1] == "        -[✓] ONNX model output names match reference model ({'start_logits', 'end_logits'})"
    assert log[2] == '        - Validating ONNX Model output "start_logits":'
    assert log[3] == "                -[✓] (2, 8) matches (2, 8)"
    assert log[4].startswith("                -[✓] all values close (atol: ")
    assert log[-1] == f"All good, model saved at: {export.subject.artifacts[0].path}"


def test_the_atol_that_is_printed_is_the_one_applied_rounded_up(exported: Exported) -> None:
    validation = validate_artifact(exported("vit").subject, Settings())
    printed = float(next(line for line in validation.log if "atol" in line).split("atol: ")[1].rstrip(")"))
    applied = validation.cases[0].outputs[0].tolerance
    assert applied is not None
    assert applied.atol <= printed <= applied.atol * 1.1


def test_an_explicit_tolerance_wins_and_keeps_its_reason(exported: Exported) -> None:
    subject = exported("distilbert").subject
    loose = validate_artifact(subject, Settings(atol=1e-3, reason="only ranks are used"))
    assert loose.status is Status.PASSED
    assert loose.tolerance is not None
    assert (loose.tolerance.atol, loose.tolerance.source, loose.tolerance.reason) == (
        1e-3,
        "manifest",
        "only ranks are used",
    )
    tight = validate_artifact(subject, Settings(atol=0.0, reason="to see it fail", source="command-line"))
    assert tight.status is Status.FAILED


def test_a_case_is_replayed_by_its_name(exported: Exported) -> None:
    subject = exported("distilbert").subject
    for name in ("traced", "mask-left", "sequence-longest", "together@unoptimised", "traced@float64"):
        validation = validate_artifact(subject, Settings(case=name))
        assert [case.case for case in validation.cases] == [name]
    with pytest.raises(ExportError, match="no case is called 'nothing'"):
        validate_artifact(subject, Settings(case="nothing"))


def test_a_quick_run_says_what_it_left_out(exported: Exported) -> None:
    validation = validate_artifact(exported("distilbert").subject, Settings(quick=True))
    assert validation.status is Status.PASSED
    assert "sequence-longest: quick" in validation.left_out


def test_a_format_that_promises_fixed_sizes_has_to_refuse_others(tmp_path: Any, exported: Exported) -> None:
    from tests.validation.conftest import torchscript_export

    fixed = torchscript_export("distilbert", tmp_path, fixed=True)
    told = next(c for c in validate_artifact(fixed.subject, Settings()).checks if c.name == "other sizes")
    assert told.message.endswith("refuses")
    free = exported("distilbert", "torchscript").subject
    assert free.asked is not None
    pretending = replace(free, asked=replace(free.asked, fixed_sizes=True))
    assert validate_artifact(pretending, Settings()).status is Status.FAILED
