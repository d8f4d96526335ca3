"""Annotations, CI lines and the terminal; and the whole of a hostile report through GitHub's own parser."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from rich.console import Console

from entrypoint import render, workflow
from entrypoint.render import plain, terminal
from exporter.pipeline.events import ModelFinished, StepFinished, StepStarted
from exporter.results import (
    Attempt,
    CaseResult,
    FormatResult,
    ModelResult,
    OutputComparison,
    Problem,
    Report,
    Source,
    Status,
    Tolerance,
    Unchanged,
    Validation,
    combine,
)


def model(name: str, status: Status, text: str = "It is bad.", line: int = 1) -> ModelResult:
    """A model in one format, with `text` wherever a text can be."""
    comparison = OutputComparison(
        output=text,
        status=status,
        reference_shape=(2,),
        shape=(2,),
        reference_dtype="float32",
        dtype="float32",
        max_abs=1.0,
        tolerance=Tolerance(atol=1e-5, rtol=0, source="manifest", reason=text),
        message=text,
    )
    validation = Validation(
        status=status,
        cases=(CaseResult(case=text, status=status, sizes={}, outputs=(comparison,), message=text),),
        tolerance=comparison.tolerance,
        notes=(text,),
        left_out=(text,),
        diverges_at=text,
        replay=text,
        log=(text,),
    )
    problem = Problem(kind=text, message=text, hint=text, log=(text,)) if status is not Status.PASSED else None
    attempt = Attempt(engine=text, status=status, message=text, seconds=1.0)
    result = FormatResult(
        format=text,
        status=status,
        engine=text,
        attempts=(attempt, attempt),
        dtype=text,
        opset=18,
        validation=validation,
        problem=problem,
        notes=(text,),
        seconds=1.0,
    )
    return ModelResult(
        name=name,
        model=text,
        status=status,
        source=Source(path="models/export.yml", line=line),
        revision=text,
        commit=text,
        task=text,
        formats=(result,),
        notes=(text,),
        seconds=1.0,
    )


def report(*models: ModelResult, text: str = "A note.") -> Report:
    status = combine(entry.status for entry in models)
    left = (Unchanged(name=text, model=text, status=Status.PASSED, since=text),)
    return Report(
        status=status,
        models=models,
        unchanged=left,
        notes=(text,),
        versions={text: text},
        commit=text,
        seconds=1.0,
    )


def place(text: str) -> render.CommentContext:
    return render.CommentContext(
        key=text,
        head_sha=text,
        run_url=text,
        run_label=text,
        artifacts_url=text,
        baseline=render.Baseline(text),
        notes=(text,),
    )


steady = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


@given(data=st.data())
@steady
def test_no_text_anywhere_changes_the_page(
    data: st.DataObject, hostile: SearchStrategy[str], github: Callable[[str], Any]
) -> None:
    text = data.draw(hostile)
    # Not empty on any page, so that both have the same blocks.
    pages = [
        github(face)
        for words in (f"x{text}", "x word")
        for dirty in [report(model(words, Status.FAILED, words), model("b", Status.PASSED, words), text=words)]
        for face in (render.comment(dirty, place(words)) + render.markdown(dirty),)
    ]
    ours = [[tag for tag in page.tags if tag not in ("code", "br")] for page in pages]
    assert ours[0] == ours[1]
    assert pages[0].active == []
    assert pages[0].links == []
    assert len(pages[0].comments) == 1


@given(data=st.data())
@steady
def test_no_text_anywhere_is_a_command(data: st.DataObject, hostile: SearchStrategy[str]) -> None:
    text = data.draw(hostile)
    stream = io.StringIO()
    entry = model(text, Status.FAILED, text)
    with plain.Progress(stream) as progress:
        progress(StepStarted(text, "export onnx", text))
        progress(StepFinished(text, "export onnx", Status.FAILED, 1.0, text))
        progress(ModelFinished(entry))
    print(*plain.lines(report(entry, text=text)), sep="\n", file=stream)
    lines = re.split(r"\r\n|\r|\n", stream.getvalue())
    assert not any("##[" in line for line in lines)
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert [line[:9] for line in commands] == ["::group::", "::endgrou"]


def test_ci_lines_read_like_this() -> None:
    good = model("minilm", Status.PASSED, "logits")
    bad = ModelResult(name="t5", model="t5", status=Status.ERROR, problem=Problem(kind="x", message="It is bad."))
    stream = io.StringIO()
    with plain.Progress(stream) as progress:
        progress(StepStarted("minilm", "export onnx", "dynamo"))
        progress(StepFinished("minilm", "export onnx", Status.PASSED, 8.06))
        progress(ModelFinished(good))
        progress(StepFinished("t5", "fetch", Status.ERROR, 0.1, "It is bad."))
        progress(ModelFinished(bad))
    assert stream.getvalue().splitlines() == [
        "minilm: export onnx (dynamo)",
        "minilm: export onnx: passed in 8.1 s",
        "::group::minilm: passed in 1.0 s",
        "logits: passed in 1.0 s: logits",
        "logits: passed in 1.0 s: logits",
        "logits",
        "logits",
        "::endgroup::",
        "t5: fetch: error in 0.1 s: It is bad.",
        "t5: error",
        "t5: error: It is bad.",
    ]


def test_the_last_line_is_the_verdict() -> None:
    shown = plain.lines(report(model("minilm", Status.PASSED, "logits"), model("t5", Status.ERROR)))
    assert shown[-1] == "Model export: 1 of 2 models could not be exported, 1 unchanged"
    assert [line.split()[0] for line in shown[:3]] == ["VERDICT", "error", "passed"]


def test_annotations_point_at_the_manifest() -> None:
    (found,) = render.annotations(report(model("t5", Status.ERROR, "It is bad.", 7), model("ok", Status.PASSED)))
    assert found == workflow.Annotation(
        "error", "t5: error", "It is bad. 18, It is bad., It is bad.: It is bad.\nIt is bad.", "models/export.yml", 7, 1
    )


@pytest.mark.parametrize("failed", [5, 6, 7, 1000])
def test_six_annotations_a_level_at_most(failed: int) -> None:
    models = [model(f"u{number}", Status.UNVERIFIED) for number in range(failed)]
    models += [model(f"m{number}", Status.ERROR if number % 2 else Status.FAILED) for number in range(failed)]
    found = render.annotations(report(*models, model("c", Status.CANCELLED)))
    levels = [annotation.level for annotation in found]
    assert levels == ["error"] * min(failed, 6) + ["warning"] * min(failed, 6)
    assert [annotation.title for annotation in found[:3]] == ["m0: failed", "m2: failed", "m4: failed"]
    if failed > 6:
        rest = failed - 5
        assert found[5].message == f"and {rest:,} more models; see the job summary"


def test_annotations_keep_within_what_the_runner_shows() -> None:
    formats = tuple(model("a", Status.ERROR, "x" * 9_000).formats[0] for _ in range(20))
    (found,) = render.annotations(report(model("n" * 900, Status.ERROR).model_copy(update={"formats": formats})))
    assert len(found.message) <= 4_096
    assert len(found.title) <= 255


def test_wrong_at_other_sizes_is_a_warning() -> None:
    (found,) = render.annotations(report(model("a", Status.PASSED, "1 x 64: WRONG")))
    assert (found.level, found.title) == ("warning", "a: WRONG at other sizes")


def drawn(width: int = 120) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, width=width, color_system=None, highlight=False), stream


def test_terminal_shows_table_reasons_and_verdict() -> None:
    console, stream = drawn()
    bad = ModelResult(
        name="t5", model="t5", status=Status.ERROR, problem=Problem(kind="x", message="It is bad.", hint="Mend it.")
    )
    console.print(terminal.closing(report(model("minilm", Status.PASSED, "logits"), bad)))
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines[1].split() == ["Verdict", "Model", "Format", "Worst", "error", "Tolerance", "Size", "Time"]
    assert lines[2].split()[:2] == ["error", "t5"]
    assert lines[3].split()[:2] == ["passed", "minilm"]
    assert lines[5:9] == ["t5: error", "  It is bad.", "  Mend it.", "  export-action run export.yml --only t5"]
    assert lines[-1] == "Model export: 1 of 2 models could not be exported, 1 unchanged"


@given(data=st.data())
@steady
def test_terminal_takes_text_as_text(data: st.DataObject, hostile: SearchStrategy[str]) -> None:
    text = data.draw(hostile) + "[bold]x[/] :tada:"
    console, stream = drawn(200)
    with terminal.Progress(1, console) as progress:
        progress(StepStarted(text, "export onnx", text))
        progress(StepFinished(text, "export onnx", Status.FAILED, 1.0, text))
        progress(ModelFinished(model(text, Status.FAILED, text)))
    console.print(terminal.closing(report(model(text, Status.FAILED, text), text=text)))
    said = stream.getvalue()
    assert "[bold]" in said
    assert ":tada:" in said
    assert not set(said) & set("\u202e\u2066\u200b\x00\x85\u2028")
    # Only rich's own sequences for the cursor.
    assert re.findall(r"\x1b(?!\[[0-9?]*[A-Za-z])", said) == []
    assert "\x1b[31m" not in said


def test_progress_counts_models_and_leaves_a_line_for_each() -> None:
    console, stream = drawn()
    with terminal.Progress(2, console) as progress:
        progress(StepStarted("a", "fetch"))
        progress(StepFinished("a", "fetch", Status.PASSED, 1.0))
        progress(StepStarted("a", "export onnx", "dynamo"))
        progress(StepFinished("a", "export onnx", Status.ERROR, 1.0, "no such operator"))
        progress(ModelFinished(model("a", Status.ERROR)))
        progress(ModelFinished(ModelResult(name="b", model="b", status=Status.CANCELLED)))
    said = re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", stream.getvalue())
    lines = [line.rstrip() for line in said.replace("\r", "\n").splitlines()]
    assert "error      a: export onnx: no such operator" in lines
    assert "error      a  1.0 s" in lines
    assert "cancelled  b" in lines
    assert any("2 of 2 models" in line for line in lines)


def test_the_package_is_quick_to_import() -> None:
    """`--help` has 0.3 s; what renders is loaded when something is rendered."""
    script = (
        "import sys, entrypoint.render, entrypoint.workflow\n"
        "heavy = {'rich', 'pydantic', 'exporter', 'torch'} & {name.split('.')[0] for name in sys.modules}\n"
        "assert not heavy, heavy\n"
        "from entrypoint.render import comment, annotations, plain\n"
        "assert 'rich' not in sys.modules\n"
        "assert callable(comment) and callable(annotations) and callable(plain.lines)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_name_of_the_package_is_there() -> None:
    assert all(getattr(render, name) is not None for name in render.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        render.nothing  # noqa: B018


def test_a_marker_is_the_start_of_a_comment() -> None:
    shown = render.comment(report(), render.CommentContext(key="CI / export"))
    assert shown.startswith("<!-- export-action:report key=CI%20/%20export v=1 -->\n")
    assert shown.startswith(render.marker("CI / export"))
