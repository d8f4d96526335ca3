"""``docs/architectures.md`` says what is described, and that it passes."""

from __future__ import annotations

from dataclasses import replace

from tests.architectures.page import PAGE, Outcome, described_rows, differences, page, read_rows


def test_the_page_has_a_row_for_every_described_pair() -> None:
    rows = read_rows(PAGE.read_text())
    outcomes = {("onnx", row.model_type, row.feature): Outcome(row.onnx, row.engine) for row in rows}
    outcomes |= {("torchscript", row.model_type, row.feature): Outcome(row.torchscript) for row in rows}
    assert rows == described_rows(outcomes)
    assert PAGE.read_text() == page(rows)


def test_every_pair_on_the_page_passed() -> None:
    bad = [
        row
        for row in read_rows(PAGE.read_text())
        if not row.onnx.startswith("passed") or not row.torchscript.startswith(("passed", "-"))
    ]
    assert bad == []


def test_a_page_reads_back_as_it_was_written() -> None:
    rows = [replace(row, onnx="passed (30)") for row in described_rows({})]
    assert read_rows(page(rows)) == rows


def test_a_run_that_says_otherwise_is_told() -> None:
    told = [replace(row, engine="legacy", onnx="passed (30)") for row in described_rows({})]
    again = [replace(row, onnx="passed (31)") for row in told]
    assert differences(told, again) == []
    failed = [replace(told[0], onnx="failed"), *told[1:]]
    assert differences(told, failed) == [f"{told[0].model_type} {told[0].feature}: legacy failed not run"]
