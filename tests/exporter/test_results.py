"""The report: written, read again, refused when it is not ours."""

from __future__ import annotations

import contextlib
import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.results import (
    CaseResult,
    FormatResult,
    ModelResult,
    OutputComparison,
    Report,
    ReportError,
    Status,
    Tolerance,
    Validation,
    combine,
    json_schema,
    read_report,
)


def comparison(status: Status, error: float | None, atol: float = 1e-5, output: str = "logits") -> OutputComparison:
    return OutputComparison(
        output=output,
        status=status,
        reference_shape=(2, 3),
        shape=(2, 3),
        reference_dtype="float32",
        dtype="float32",
        max_abs=error,
        tolerance=Tolerance(atol=atol, rtol=0.0, source="measured"),
    )


def report_with(*comparisons: OutputComparison) -> Report:
    cases = (CaseResult(case="traced", status=Status.PASSED, sizes={"batch": 2}, outputs=comparisons),)
    validation = Validation(status=Status.PASSED, cases=cases)
    result = FormatResult(format="onnx", status=Status.PASSED, validation=validation)
    model = ModelResult(name="a", model="./a", status=Status.PASSED, formats=(result,))
    return Report(status=Status.PASSED, models=(model,))


@pytest.mark.parametrize("error", [0.0, 1e-7, None, math.nan, math.inf])
def test_a_report_reads_back_as_it_was_written(error: float | None) -> None:
    report = report_with(comparison(Status.PASSED, error))
    again = read_report(report.to_json())
    assert again.to_json() == report.to_json()


def test_the_published_schema_describes_what_is_written() -> None:
    report = report_with(comparison(Status.FAILED, 1e-3))
    jsonschema.validate(json.loads(report.to_json()), json_schema())


def test_keys_of_a_later_minor_version_are_ignored() -> None:
    content = json.loads(report_with().to_json()) | {"invented_later": [1, 2]}
    assert read_report(json.dumps(content)).status is Status.PASSED


def test_a_newer_major_version_is_refused_by_number() -> None:
    content = json.loads(report_with().to_json()) | {"schema_version": 2}
    with pytest.raises(ReportError, match=r"schema version 2.*up to 1"):
        read_report(json.dumps(content))


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_give_anything_but_a_report_or_its_error(content: bytes) -> None:
    with contextlib.suppress(ReportError):
        assert isinstance(read_report(content), Report)


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ([], Status.PASSED),
        ([Status.PASSED, Status.UNVERIFIED], Status.UNVERIFIED),
        ([Status.PASSED, Status.CANCELLED, Status.FAILED], Status.FAILED),
        ([Status.FAILED, Status.ERROR], Status.ERROR),
    ],
)
def test_the_worst_part_decides(statuses: list[Status], whole: Status) -> None:
    assert combine(statuses) is whole


@pytest.mark.parametrize("worse", [None, math.nan, 9e-6])
def test_the_worst_comparison_is_the_one_nearest_to_its_tolerance(worse: float | None) -> None:
    shown = report_with(
        comparison(Status.PASSED, 1e-3, atol=1.0, output="loose"),
        comparison(Status.PASSED, worse, atol=1e-5, output="tight"),
    )
    validation = shown.models[0].formats[0].validation
    assert validation is not None
    assert validation.worst is not None
    assert validation.worst.output == "tight"


def test_a_failed_comparison_is_worse_than_any_that_passed() -> None:
    shown = report_with(
        comparison(Status.PASSED, 9.9e-6, output="passed"), comparison(Status.FAILED, 1e-9, output="failed")
    )
    validation = shown.models[0].formats[0].validation
    assert validation is not None
    assert validation.worst is not None
    assert validation.worst.output == "failed"
