"""Whole comments, as a person reads them: ``tests/golden/*.md``.

After a wanted change, write them again with ``UPDATE_GOLDEN=1 pytest tests/entrypoint/render/test_golden.py`` and read
the difference before it is committed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint import render
from exporter.results import (
    Attempt,
    CaseResult,
    Check,
    FormatResult,
    ModelResult,
    OutputComparison,
    Problem,
    Report,
    SavedFile,
    Source,
    Status,
    Tolerance,
    Unchanged,
    Validation,
    combine,
)

GOLDEN = Path(__file__).parents[2] / "golden"

DEFAULT = Tolerance(atol=1e-5, rtol=1e-4, source="default")
MEASURED = Tolerance(atol=9.6e-6, rtol=1e-4, source="measured", floor=1.2e-6, factor=8)
VERSIONS = {
    "export-action": "1.0.0",
    "python": "3.11.2",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "onnx": "1.23.2",
    "onnxruntime": "1.31.1",
}
RUN = "https://github.com/octo-org/models/actions/runs/1234567890"
BASE = "main@def5678"
BASE_RUN = "https://github.com/octo-org/models/actions/runs/1234500000"
HEAD = "abc1234f00dabc1234f00dabc1234f00dabc1234"


def compared(
    output: str, max_abs: float, shape: tuple[int, ...], tolerance: Tolerance = DEFAULT, rounding: float | None = None
) -> OutputComparison:
    passed = max_abs <= tolerance.atol
    return OutputComparison(
        output=output,
        status=Status.PASSED if passed else Status.FAILED,
        reference_shape=shape,
        shape=shape,
        reference_dtype="float32",
        dtype="float32",
        max_abs=max_abs,
        mean_abs=max_abs / 10,
        max_rel=max_abs * 3,
        worst_index=tuple(axis - 1 for axis in shape),
        expected=0.4375,
        actual=0.4375 + max_abs,
        rounding=rounding,
        tolerance=tolerance,
    )


def validated(*outputs: OutputComparison, notes: tuple[str, ...] = (), checks: tuple[Check, ...] = ()) -> Validation:
    status = combine(output.status for output in outputs)
    cases = (
        CaseResult(case="traced", status=Status.PASSED, sizes={"batch": 2, "sequence": 8}, outputs=()),
        CaseResult(case="padded", status=status, sizes={"batch": 3, "sequence": 11}, mask="right", outputs=outputs),
    )
    tolerance = outputs[0].tolerance if outputs else None
    return Validation(status=status, cases=cases, tolerance=tolerance, notes=notes, checks=checks, seconds=1.5)


def onnx(name: str, megabytes: float, validation: Validation, seconds: float = 8.1) -> FormatResult:
    return FormatResult(
        format="onnx",
        status=validation.status,
        engine="dynamo",
        opset=18,
        files=(SavedFile(path=f"{name}/onnx/model.onnx", bytes=round(megabytes * 1e6), sha256="0" * 64),),
        validation=validation,
        seconds=seconds,
    )


def torchscript(name: str, megabytes: float, validation: Validation, seconds: float = 3.4) -> FormatResult:
    return FormatResult(
        format="torchscript",
        status=validation.status,
        engine="trace",
        files=(SavedFile(path=f"{name}/torchscript/model.pt", bytes=round(megabytes * 1e6), sha256="0" * 64),),
        validation=validation,
        seconds=seconds,
    )


def model(name: str, repository: str, *formats: FormatResult, line: int = 3) -> ModelResult:
    return ModelResult(
        name=name,
        model=repository,
        status=combine(result.status for result in formats),
        source=Source(path="export.yml", line=line),
        revision="main",
        commit="1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d" if "/" in repository else "",
        task="sequence-classification",
        model_type="bert",
        architecture="registered",
        formats=formats,
        seconds=sum(result.seconds for result in formats),
    )


def broken(name: str, repository: str, problem: Problem, line: int, status: Status = Status.ERROR) -> ModelResult:
    return ModelResult(
        name=name,
        model=repository,
        status=status,
        source=Source(path="export.yml", line=line),
        problem=problem,
        seconds=0.4 if status is Status.ERROR else 0.0,
    )


def report(*models: ModelResult, notes: tuple[str, ...] = (), seconds: float = 48.2) -> Report:
    status = combine(entry.status for entry in models)
    return Report(status=status, models=models, versions=VERSIONS, commit=HEAD, seconds=seconds, notes=notes)


def context(baseline: render.Baseline | None) -> render.CommentContext:
    return render.CommentContext(
        key="ci/export",
        head_sha=HEAD,
        run_url=RUN,
        run_label="#42",
        artifacts_url=f"{RUN}#artifacts",
        baseline=baseline,
    )


def minilm() -> ModelResult:
    hidden = compared("last_hidden_state", 2.4e-6, (3, 11, 384), MEASURED, rounding=2.0)
    other_sizes = Check(name="other sizes", status=Status.PASSED, message="3 also correct, 2 refuses")
    return model(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2",
        onnx("minilm", 90.4, validated(hidden)),
        torchscript(
            "minilm",
            91.2,
            validated(compared("last_hidden_state", 0.0, (1, 128, 384), MEASURED), checks=(other_sizes,)),
        ),
    )


def vit() -> ModelResult:
    return model(
        "vit-base-patch16-224",
        "google/vit-base-patch16-224",
        onnx("vit", 346.3, validated(compared("logits", 4.1e-6, (3, 1000))), 21.7).model_copy(update={"cached": True}),
        line=9,
    )


def tiny() -> ModelResult:
    logits = compared("logits", 3.1e-3, (3, 2))
    wrong = validated(compared("hidden", 1.9e-6, (3, 11, 128)), logits).model_copy(
        update={
            "diverges_at": "/classifier/Gemm",
            "replay": "export-action validate export/bert-tiny/onnx --case padded",
        }
    )
    return model(
        "bert-tiny",
        "octo-org/bert-tiny",
        onnx("bert-tiny", 17.4, wrong),
        torchscript("bert-tiny", 17.6, validated(compared("logits", 6.0e-8, (1, 2)))).model_copy(
            update={"ambiguous": True}
        ),
        line=14,
    )


def baseline() -> render.Baseline:
    sizes = {("minilm", "onnx"): 90_400_000, ("minilm", "torchscript"): 93_000_000, ("bert-tiny", "onnx"): 17_060_000}
    return render.Baseline(BASE, sizes, BASE_RUN)


def passed() -> str:
    return render.comment(report(minilm(), vit()), context(baseline()))


def failed() -> str:
    return render.comment(report(minilm(), vit(), tiny()), context(baseline()))


def first_run() -> str:
    return render.comment(report(minilm()), context(None))


def unchanged() -> str:
    entries = (
        Unchanged(name="minilm", model="sentence-transformers/all-MiniLM-L6-v2", status=Status.PASSED, since=BASE),
        Unchanged(name="vit-base-patch16-224", model="google/vit-base-patch16-224", status=Status.PASSED, since=BASE),
        Unchanged(name="whisper", model="openai/whisper-tiny", status=Status.FAILED, since=BASE),
        Unchanged(name="t5", model="google-t5/t5-small", status=Status.UNVERIFIED, since=""),
    )
    return render.comment(report(seconds=1.1).model_copy(update={"unchanged": entries}), context(baseline()))


def errors() -> Report:
    pointer = Problem(
        kind="lfs-pointer",
        message="'models/roberta/model.safetensors' is a Git LFS pointer of 134 bytes, not the weights. The checkout "
        "left it as it is in the repository: a text of three lines that names the object 'sha256:4d7a21' and its size. "
        "Without the weights there is nothing to export.",
        hint="Write 'lfs: true' for actions/checkout.",
    )
    memory = Problem(
        kind="out-of-memory",
        message="The worker used more than 6.9 GB of memory while it ran 'export onnx', and was stopped.",
        hint="Use a runner with more memory, or 'dtype: float16'.",
        log=("Loading weights: 100%|██████████| 291/291", "torch.export: tracing LlamaForCausalLM", "Killed"),
    )
    secret = Problem(
        kind="needs-secret",
        message="needs a secret this event does not have: google/gemma-3-270m is gated, and no token was given.",
        hint="GitHub gives no secrets to pull requests from forks and of Dependabot; a run after the merge has them.",
    )
    attempts = (
        Attempt(engine="dynamo", status=Status.ERROR, message="Unsupported operator 'aten::_fft_r2c'.", seconds=12.1),
        Attempt(engine="legacy", status=Status.ERROR, message="Opset 23 is beyond 20.", seconds=0.3),
    )
    fnet = FormatResult(
        format="onnx",
        status=Status.ERROR,
        attempts=attempts,
        opset=23,
        problem=Problem(kind="no-engine", message="Neither engine could export it.", hint="Set 'opset: 20'."),
        seconds=12.4,
    )
    axis = compared("logits", 1.0, (3, 11, 32000)).model_copy(
        update={"shape": (3, 1, 32000), "max_abs": None, "mean_abs": None, "max_rel": None, "worst_index": ()}
        | {"expected": None, "actual": None}
    )
    return report(
        minilm(),
        broken("roberta", "models/roberta", pointer, 7),
        broken("llama", "meta-llama/Llama-3.2-1B", memory, 11),
        model("fnet", "google/fnet-base", fnet, torchscript("fnet", 330.0, validated(axis)), line=15),
        broken("gemma", "google/gemma-3-270m", secret, 19, Status.UNVERIFIED),
        broken(
            "t5", "google-t5/t5-small", Problem(kind="cancelled", message="The run was interrupted."), 23
        ).model_copy(update={"status": Status.CANCELLED, "seconds": 0.0}),
    )


def error() -> str:
    return render.comment(errors(), context(baseline()))


def forty() -> Report:
    models: list[ModelResult] = []
    for number in range(40):
        name = f"encoder-{number:02d}"
        repository = f"octo-org/{name}"
        if number in (7, 23):
            logits = compared("logits", 1.7e-3 * number, (3, 11, 30522), MEASURED, rounding=1450.0 * number)
            models.append(model(name, repository, onnx(name, 438.0, validated(logits)), line=3 + 2 * number))
        elif number == 31:
            problem = Problem(
                kind="timeout",
                message="The worker was still busy with 'export onnx' after 1800 s, and was stopped.",
                hint="Raise the time limit of this model.",
            )
            models.append(broken(name, repository, problem, 3 + 2 * number))
        else:
            good = compared("logits", (1 + number % 7) * 1e-6, (3, 11, 30522), MEASURED, rounding=1 + number % 7)
            ts = torchscript(name, 439.5 + number, validated(good))
            if number == 12:
                wrong = Check(name="other sizes", status=Status.PASSED, message="2 refuses, 1 WRONG: long")
                ts = torchscript(name, 439.5, validated(good, checks=(wrong,)))
            models.append(model(name, repository, onnx(name, 438.0 + number, validated(good)), ts, line=3 + 2 * number))
    return report(*models, seconds=1873.0)


def mixed() -> str:
    base = {(entry.name, "onnx"): 438_000_000 for entry in forty().models}
    return render.comment(forty(), context(render.Baseline(BASE, base, BASE_RUN)))


def degraded() -> str:
    """What is left of the same forty where there is room for 4,000 characters."""
    return render.comment(forty(), context(None), limit=render.Limit(4_000))


HOSTILE = (
    "a|b | `c` \\| d",
    "**@octo-org/everyone** closes #1 and GH-2, octo-org/models#3 :tada:",
    "</details><img src=https://evil.example/x.png><script>alert(1)</script>",
    "[click](javascript:alert(1)) <https://evil.example> www.evil.example a@evil.example",
    "``` \n::set-output name=passed::true\n##[set-output name=passed]true\n~~~\n# heading",
    "<!-- export-action:report key=other v=1 -->",
    "safe\u202egnp.exe\u200b\u2066\x1b[31m\x00",
    "$(rm -rf /); 'quoted' \"twice\" $x^2$",
)


def hostile() -> str:
    models = []
    for number, text in enumerate(HOSTILE):
        logits = compared(text, math.nan if number == 0 else 1.0, (1, 2)).model_copy(update={"message": text})
        tolerance = Tolerance(atol=1e-5, rtol=0, source="manifest", reason=text)
        validation = validated(logits, notes=(text,)).model_copy(update={"diverges_at": text, "tolerance": tolerance})
        result = onnx("x", 1.0, validation).model_copy(update={"engine": text, "notes": (text,)})
        problem = Problem(kind=text, message=text, hint=text, log=tuple(text.split("\n")))
        entry = model(text, text, result, line=number + 3)
        models.append(entry.model_copy(update={"commit": text, "problem": problem, "status": Status.ERROR}))
    entries = tuple(Unchanged(name=text, model=text, status=Status.PASSED, since=text) for text in HOSTILE)
    place = render.CommentContext(
        key="--> @octo-org",
        head_sha=HOSTILE[2],
        run_url="javascript:alert(1)",
        run_label=HOSTILE[1],
        baseline=render.Baseline(HOSTILE[3]),
        notes=HOSTILE,
    )
    dirty = report(*models, notes=HOSTILE).model_copy(
        update={"versions": {text: text for text in HOSTILE}, "unchanged": entries}
    )
    return render.comment(dirty, place)


COMMENTS: dict[str, Callable[[], str]] = {
    "passed": passed,
    "failed": failed,
    "mixed-40": mixed,
    "error": error,
    "hostile": hostile,
    "degraded": degraded,
    "first-run": first_run,
    "unchanged": unchanged,
    "export-report": lambda: render.markdown(report(minilm(), vit(), tiny())),
    "summary": lambda: render.summary(report(minilm(), vit(), tiny()), context(baseline())),
}


@pytest.mark.parametrize("name", COMMENTS)
def test_golden(name: str) -> None:
    path = GOLDEN / f"{name}.md"
    written = COMMENTS[name]()
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(written, encoding="utf-8", newline="\n")
    assert written == path.read_text(encoding="utf-8"), f"{path.name} changed; see the top of this file"


def test_every_golden_file_has_a_test() -> None:
    assert {path.stem for path in GOLDEN.glob("*.md")} == set(COMMENTS)
