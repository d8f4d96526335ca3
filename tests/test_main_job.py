"""The main job from outside: the command as a user types it, on real tiny checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from exporter.results import Report, Status, read_report

MakeCheckpoint = Callable[[str, str], Path]


def command(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "entrypoint", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )


MODELS = {
    "writer": ("gpt2", "causal-lm", "task: causal-lm-with-past"),
    "filler": ("roberta", "masked-lm", ""),
    "seer": ("vit", "image-classification", ""),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_checkpoint: MakeCheckpoint) -> Path:
    """A repository with a manifest of three models, already run once."""
    folder = tmp_path_factory.mktemp("project")
    lines = ["version: 1", "models:"]
    for name, (model_type, task, more) in MODELS.items():
        (folder / name).mkdir()
        for file in make_checkpoint(model_type, task).iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
        lines += [f"  - name: {name}", f"    model: ./{name}"] + ([f"    {more}"] if more else [])
    (folder / "export.yml").write_text("\n".join(lines) + "\n")
    done = command("run", "--jobs", "2", folder=folder)
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    (folder / "exit.txt").write_text(str(done.returncode))
    return folder


def report_of(project: Path) -> Report:
    return read_report((project / "export" / "export-report.json").read_bytes())


def test_every_model_passes_in_both_formats(project: Path) -> None:
    said = (project / "said.txt").read_text()
    assert (project / "exit.txt").read_text() == "0", said
    report = report_of(project)
    assert [(model.name, model.status) for model in report.models] == [(name, Status.PASSED) for name in MODELS]
    for model in report.models:
        assert [result.format for result in model.formats] == ["onnx", "torchscript"]
        for result in model.formats:
            assert result.validation is not None
            assert result.validation.tolerance is not None
            assert result.validation.tolerance.source == "measured"
            assert all((project / "export" / file.path).stat().st_size == file.bytes for file in result.files)


def test_what_is_said_ends_with_the_table_and_the_verdict(project: Path) -> None:
    said = (project / "said.txt").read_text()
    assert "All good, model saved at: " in said
    assert f"{Path('writer') / 'onnx' / 'model.onnx'}" in said
    assert "staged" not in said
    assert said.rstrip().splitlines()[-1] == "Model export: all 3 models passed"


def test_a_folder_loads_as_a_model_repository(project: Path) -> None:
    from transformers import AutoConfig

    folder = project / "export" / "seer" / "onnx"
    assert AutoConfig.from_pretrained(folder).model_type == "vit"
    assert {"model.onnx", "config.json", "artifact.json"} <= {path.name for path in folder.iterdir()}


def test_the_page_says_the_verdict_first(project: Path) -> None:
    page = (project / "export" / "export-report.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert "all 3 models passed" in headings[0]


def test_validate_judges_our_own_folder_again(project: Path) -> None:
    done = command("validate", "export/filler/onnx", "--model", "filler", "--quick", folder=project)
    assert done.returncode == 0, done.stderr
    assert "All good" in done.stdout


def test_one_transposed_weight_makes_validate_fail(project: Path, tmp_path: Path) -> None:
    path = project / "export" / "filler" / "onnx" / "model.onnx"
    model = onnx.load(str(path))
    square = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2 and len(set(tensor.dims)) == 1)
    square.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(square).T.copy(), square.name))
    spoiled = tmp_path / "model.onnx"
    onnx.save_model(model, str(spoiled))
    done = command("validate", spoiled, "--model", "filler", "--json", tmp_path / "why.json", folder=project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "values not close enough" in done.stdout
    assert "First module that differs: roberta.encoder.layer.0." in done.stdout
    assert f"To see it again: export-action validate {spoiled} --model filler --case traced" in done.stdout
    assert json.loads((tmp_path / "why.json").read_text())["status"] == "failed"
    assert "Traceback" not in done.stderr


def test_the_page_of_a_failed_model_says_how_to_see_it_again(project: Path) -> None:
    tight = "{name: seer, model: ./seer, formats: [onnx], validate: {atol: 1.0e-12, reason: to see it fail}}"
    (project / "tight.yml").write_text(f"version: 1\nmodels: [{tight}]\n")
    assert command("run", "tight.yml", "--output-dir", "tight", folder=project).returncode == 1
    page = (project / "tight" / "export-report.md").read_text()
    (said,) = (line for line in page.splitlines() if line.startswith("export-action validate "))
    assert said == "export-action validate tight/seer/onnx.failed --model seer --atol 1e-12 --case traced"
    again = command(*said.split()[1:], folder=project)
    assert (again.returncode, "1 of 1 cases" in again.stdout) == (1, True), again.stdout + again.stderr


def test_one_broken_model_does_not_stop_the_others(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for file in (project / "seer").iterdir():
        for name in ("good", "bad"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file.name).write_bytes(file.read_bytes())
    (folder / "bad" / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    )
    (folder / "export.yml").write_text(
        "version: 1\ndefaults: {formats: [torchscript]}\n"
        "models: [{name: bad, model: ./bad}, {name: good, model: ./good}]\n"
    )
    done = command("run", "--fail-on", "error", folder=folder)
    assert done.returncode == 1
    bad, good = report_of(folder).models
    assert (bad.status, good.status) == (Status.ERROR, Status.PASSED)
    assert bad.problem is not None
    assert "lfs: true" in bad.problem.hint
    assert command("run", "--only", "bad", "--fail-on", "never", folder=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nothing.yml"), "nothing.yml"),
        (("run", "--only", "writr"), "did you mean"),
        (("run", "--fail-on", "sometimes"), "sometimes"),
        (("validate", "nothing.onnx", "--model", "writer"), "nothing.onnx"),
        (("features", "brt"), "bert"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_a_wrong_call_is_one_message_and_exit_code_2(arguments: tuple[str, ...], said: str, project: Path) -> None:
    done = command(*arguments, folder=project)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "onnxscript")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["features"], ["schema"], ["schema", "--report"], ["plan"], ["run", "no.yml"]],
)
def test_a_command_that_needs_no_model_imports_no_model_library(arguments: list[str], project: Path) -> None:
    program = (
        "import sys\n"
        "from entrypoint.cli import main\n"
        f"sys.argv = ['export-action', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_help_answers_at_once(project: Path) -> None:
    """Processor time, which a busy machine doesn't stretch; 0.3 s is what a person is promised."""
    program = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'entrypoint', '--help'], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
                cwd=project,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times) < 0.3
