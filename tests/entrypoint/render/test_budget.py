"""Reports of every size against GitHub's limits: everything that fits is shown, and nothing is ever cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint import render
from entrypoint.render.budget import CHECK, COMMENT, SUMMARY, Extent, Limit, fit
from exporter.results import (
    CaseResult,
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

TOLERANCE = Tolerance(atol=1e-5, rtol=1e-4, source="default")
PLACE = render.CommentContext(key="k", run_url="https://github.com/o/r/actions/runs/1")


def entry(name: str, status: Status, hint: str = "", log: tuple[str, ...] = ()) -> ModelResult:
    output = OutputComparison(
        output="logits",
        status=status,
        reference_shape=(2, 8),
        shape=(2, 8),
        reference_dtype="float32",
        dtype="float32",
        max_abs=1.0 if status is Status.FAILED else 1e-6,
        max_rel=1.0,
        worst_index=(1, 7),
        expected=0.5,
        actual=1.5,
        tolerance=TOLERANCE,
    )
    case = CaseResult(case="padded", status=status, sizes={"batch": 2}, outputs=(output,))
    result = FormatResult(
        format="onnx",
        status=status,
        engine="dynamo",
        opset=18,
        files=(SavedFile(path=f"{name}/onnx/model.onnx", bytes=17_000_000, sha256="0" * 64),),
        validation=Validation(status=status, cases=(case,), tolerance=TOLERANCE),
        problem=Problem(kind="bad", message="It is bad.", hint=hint, log=log) if hint or log else None,
        seconds=1.0,
    )
    return ModelResult(name=name, model=f"octo-org/{name}", status=status, formats=(result,), seconds=1.0)


def report(failed: int, passed: int, hint: str = "", log: tuple[str, ...] = ()) -> Report:
    models = [entry(f"bad-{number:04d}", Status.FAILED, hint if number == 0 else "", log) for number in range(failed)]
    models += [entry(f"good-{number:04d}", Status.PASSED) for number in range(passed)]
    return Report(status=combine(model.status for model in models), models=tuple(models), versions={"torch": "2.13.0"})


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def utf8(text: str) -> int:
    return len(text.encode())


Draw = Callable[..., str]
FACES = [
    pytest.param(render.comment, 65_536, utf16, id="comment"),
    pytest.param(render.summary, 1024 * 1024, utf8, id="summary"),
    pytest.param(render.check, 65_535, utf8, id="check"),
]


def filled(draw: Draw, limit: int, measure: Callable[[str], int], letter: str) -> tuple[Report, str]:
    """A report that is rendered to exactly `limit`, with nothing left out; the hint takes up what is missing."""
    everything = Limit(10**9, measure)

    log = ("line " * 60,) * 4  # rows of 2,200 characters, so that few are enough

    def size(failed: int, hint: str) -> int:
        return measure(draw(report(failed, 3, hint, log), PLACE, limit=everything))

    per_row = size(11, "x") - size(10, "x")
    failed = (limit - size(1, "x")) // per_row
    missing = limit - size(failed, "x")
    wide = measure(letter)
    hint = "x" + letter * (missing // wide) + "x" * (missing % wide)
    assert 0 < len(hint) < 4_000, "one hint is enough to fill the rest"
    filling = report(failed, 3, hint, log)
    return filling, draw(filling, PLACE, limit=everything)


@pytest.mark.parametrize("letter", ["x", "模", "𝒳"])
@pytest.mark.parametrize(("draw", "limit", "measure"), FACES)
def test_exactly_at_the_limit_everything_is_shown(
    draw: Draw, limit: int, measure: Callable[[str], int], letter: str
) -> None:
    at_limit, whole = filled(draw, limit, measure, letter)
    assert measure(whole) == limit
    assert draw(at_limit, PLACE) == whole


@pytest.mark.parametrize("letter", ["x", "模", "𝒳"])
@pytest.mark.parametrize(("draw", "limit", "measure"), FACES)
def test_one_more_and_details_of_what_passed_go_first(
    draw: Draw, limit: int, measure: Callable[[str], int], letter: str
) -> None:
    at_limit, _ = filled(draw, limit, measure, letter)
    first = at_limit.models[0]
    problem = first.formats[0].problem
    assert problem is not None
    longer = problem.model_copy(update={"hint": problem.hint + "x"})
    formats = (first.formats[0].model_copy(update={"problem": longer}),)
    over = at_limit.model_copy(update={"models": (first.model_copy(update={"formats": formats}), *at_limit.models[1:])})
    shown = draw(over, PLACE)
    assert measure(shown) <= limit
    assert "Too long to show here: details of what passed." in shown
    assert "Details of what passed" not in shown
    assert shown.count("<details>") == len(at_limit.models) - 3
    assert shown.count("| ✅\u00a0passed |") == 3


@pytest.mark.parametrize(("draw", "limit", "measure"), FACES)
@pytest.mark.parametrize(("failed", "passed"), [(0, 1000), (3, 997), (500, 500), (1000, 0)])
def test_a_thousand_models_fit(
    draw: Draw, limit: int, measure: Callable[[str], int], failed: int, passed: int, github: Callable[[str], Any]
) -> None:
    shown = draw(report(failed, passed, log=("line " * 60,) * 20), PLACE)
    assert measure(shown) <= limit
    first_heading = next(line for line in shown.splitlines() if line.startswith("#"))
    said = f"{failed:,} of 1,000 models out of tolerance" if failed else "all 1,000 models passed"
    assert said in first_heading
    page = github(shown)
    assert page.count("details") == page.count("summary") == shown.count("</details>")


@pytest.mark.parametrize(("draw", "limit", "measure"), FACES)
def test_the_worst_report_there_is_fits(draw: Draw, limit: int, measure: Callable[[str], int]) -> None:
    nasty = "*`|&<@" * 3_000 + "𝒳 " * 3_000
    bad = report(100, 0, hint=nasty, log=(nasty,) * 100)
    models = tuple(
        model.model_copy(update={"name": nasty, "model": nasty, "commit": nasty, "notes": (nasty,) * 50})
        for model in bad.models
    )
    left = tuple(Unchanged(name=nasty, model=nasty, status=Status.FAILED, since=nasty) for _ in range(1000))
    bad = bad.model_copy(
        update={"models": models, "notes": (nasty,) * 1000, "versions": {nasty: nasty}, "unchanged": left}
    )
    place = render.CommentContext(
        key=nasty,
        head_sha=nasty,
        run_url="https://e.example/" + "a" * 1_900,
        run_label=nasty,
        artifacts_url="https://e.example/" + "模" * 1_900,
        baseline=render.Baseline(nasty),
        notes=(nasty,) * 1000,
    )
    shown = draw(bad, place)
    assert measure(shown) <= limit
    assert "100 of 100 models out of tolerance" in shown


def test_stages_come_in_their_order() -> None:
    full = report(6, 30)
    seen: list[tuple[int, int, int]] = []
    size = len(render.comment(full, PLACE, limit=Limit(10**9)))
    for limit in range(size, 1_000, -100):
        shown = render.comment(full, PLACE, limit=Limit(limit))
        assert len(shown) <= limit
        passing_details = int("Details of what passed" in shown)
        failing_details = shown.count("<summary>❌")
        seen.append((passing_details, shown.count("✅\u00a0passed |"), failing_details))
    stages = list(dict.fromkeys(seen))
    assert stages[:5] == [(1, 30, 6), (0, 30, 6), (0, 30, 5), (0, 30, 4), (0, 30, 3)]
    # Without the rows of what passed there is room for all details again, until that is too much, too.
    assert stages[5:] == [(0, 0, details) for details in (6, 5, 4, 3, 2, 1, 0)]
    assert all(failing == sorted(failing, reverse=True) for failing in [[stage[1] for stage in stages]])


def test_rows_of_failures_are_the_last_to_go() -> None:
    full = report(40, 400)
    shown = render.comment(full, PLACE, limit=Limit(3_000))
    rows = len(re.findall(r"^\| ❌\u00a0failed \|", shown, re.MULTILINE))
    assert 5 < rows < 40
    assert f"{40 - rows} of 40 rows that did not pass" in shown
    assert "400 artifacts that passed" in shown
    bare = render.comment(full, PLACE, limit=Limit(600))
    assert "|" not in bare
    assert "### ❌ Model export: 40 of 440 models out of tolerance" in bare
    assert "[the artifacts of this run](https://github.com/o/r/actions/runs/1) has everything" in bare


@given(failed=st.integers(0, 30), passed=st.integers(0, 30), room=st.floats(0, 1), more=st.integers(1, 400))
@settings(deadline=None, max_examples=50)
def test_more_room_never_shows_less(failed: int, passed: int, room: float, more: int) -> None:
    full = report(failed, passed)
    size = len(render.comment(full, PLACE, limit=Limit(10**9)))
    limit = 600 + int(room * size)
    small, large = (render.comment(full, PLACE, limit=Limit(number)) for number in (limit, limit + more))
    assert len(small) <= limit
    assert small.startswith(render.marker("k") + "\n### ")
    assert small.count("| ❌\u00a0failed | `octo-org/") <= large.count("| ❌\u00a0failed | `octo-org/")
    assert small.count("| ✅\u00a0passed | `octo-org/") <= large.count("| ✅\u00a0passed | `octo-org/")
    for line in small.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


@given(sizes=st.lists(st.integers(0, 50), max_size=30), maximum=st.integers(0, 2_000))
def test_as_many_details_as_fit(sizes: list[int], maximum: int) -> None:
    def draw(extent: Extent) -> str:
        shown = len(sizes) if extent.failing_details is None else extent.failing_details
        # Only details take room here, so that the first stages are all about them.
        return "x" * sum(size + 1 for size in sizes[:shown])

    text = fit(draw, len(sizes), Limit(maximum))
    fitting = [n for n in range(len(sizes) + 1) if len(draw(Extent(failing_details=n))) <= maximum]
    assert text == draw(Extent(failing_details=max(fitting)))


def test_the_limits_are_those_of_github() -> None:
    assert (COMMENT.maximum, SUMMARY.maximum, CHECK.maximum) == (65_536, 1_048_576, 65_535)
    assert COMMENT.measure("é😀") == 3
    assert SUMMARY.measure("é😀") == CHECK.measure("é😀") == 6
