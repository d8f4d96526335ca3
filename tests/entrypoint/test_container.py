"""The action as the image starts it: one isolated process, a job's whole environment, real workers, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contained import contain, inner
from runner_like import Runner, pull_request, start

from exporter.results import ModelResult, Report, Status

HERE = Path(__file__).parent
ACTION = (sys.executable, "-I", "-m", "entrypoint")
TOKEN, HUB_TOKEN, OTHER = "ghs_job", "hf_0123456789abcdef", "s3cr3t-of-another-service"
OWNER = (1001, 1002)

# What a job sets for its other steps reaches the container too.
LEAKED = {
    "PATH": "utter-nonsense",
    "PYTHONPATH": "/nonsense",
    "PYTHONHOME": "/nonsense",
    "PYTHONSTARTUP": "/nonsense",
    "LD_LIBRARY_PATH": "/nonsense",
    "TMPDIR": "/nonsense",
    "OMP_NUM_THREADS": "many",
    "ACTIONS_RUNTIME_TOKEN": OTHER,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": OTHER,
    "AWS_SECRET_ACCESS_KEY": OTHER,
    "GITHUB_TOKEN": TOKEN,
    "HF_TOKEN": HUB_TOKEN,
}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a container's first process is root")


@pytest.fixture(scope="session")
def namespaces() -> None:
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"namespaces are not permitted here: {done.stderr.strip()}")


@pytest.fixture
def started(entered: Runner) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the action as the first process of a container; whatever is left at the end is killed."""
    processes = []

    def begin(**inputs: str) -> subprocess.Popen[str]:
        environment = {**entered.environment(**inputs), **LEAKED}
        processes.append(contain(ACTION, environment, entered.folder, entered.workspace))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def checkpoint(entered: Runner, make_checkpoint: Callable[[str, str], Path]) -> None:
    """A real model in the workspace."""
    for file in make_checkpoint("bert", "default").iterdir():
        (entered.workspace / "bert").mkdir(exist_ok=True)
        (entered.workspace / "bert" / file.name).write_bytes(file.read_bytes())


def close(workspace: Path) -> None:
    """Leave a checkout as a strict umask of its owner does: for nobody else."""
    for path in (workspace, *workspace.rglob("*")):
        os.chown(path, *OWNER)
        path.chmod(0o700 if path.is_dir() else 0o600)


def spying(runner: Runner, **plan: Any) -> None:
    """A manifest whose custom code looks around."""
    commands = [str(runner.folder / "commands" / name) for name in ("output", "summary")]
    files = [*commands, str(runner.workspace / "export.yml"), str(runner.workspace / ".git/hooks/post-checkout")]
    written = {"secrets": [TOKEN, HUB_TOKEN, OTHER], "files": files, "sockets": ["/var/run/docker.sock"], **plan}
    runner.write("spying.json", json.dumps(written))
    runner.write("spying_config.py", (HERE / "spying_config.py").read_text())
    runner.manifest("{name: bert, model: ./bert, formats: [onnx], config: 'spying_config.py:SpyConfig'}")
    for path in runner.workspace.rglob("*"):
        os.chown(path, *OWNER)


def found(runner: Runner) -> dict[str, Any]:
    log = (runner.workspace / "export/bert/log.txt").read_text()
    lines = [line for line in log.splitlines() if line.startswith("FOUND ")]
    return json.loads(lines[0].removeprefix("FOUND "))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@as_root
@pytest.mark.usefixtures("namespaces", "checkpoint")
class TestAsTheFirstProcess:
    def test_a_real_model_becomes_a_comment(self, entered, started, state):
        entered.event, entered.payload = "pull_request", pull_request()
        state.add_pull(7, "a" * 40)
        entered.manifest("{name: bert, model: ./bert, formats: [torchscript]}")
        close(entered.workspace)
        process = started(quick="true")
        log, _ = process.communicate(timeout=240)
        assert process.returncode == 0, log
        assert "Model export: 1 model passed" in state.bodies(7)[0]
        assert "Model export: 1 model passed" in entered.summary
        assert entered.outputs["passed"] == "1"
        made = [entered.workspace / "export", *(entered.workspace / "export").rglob("*")]
        assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {OWNER}
        assert {path.stat().st_mode & 0o004 for path in made} == {0o004}
        assert {path.lstat().st_gid for path in entered.workspace.rglob("*")} == {OWNER[1]}
        assert (entered.workspace / "bert/model.safetensors").stat().st_mode & 0o777 == 0o600
        assert not any(secret in log for secret in (TOKEN, HUB_TOKEN, OTHER))

    def test_model_code_finds_no_token_and_no_way_out(self, entered, started):
        spying(entered)
        entered.variables["RUNNER_DEBUG"] = "1"
        process = started(**{"allow-custom-code": "true", "hf-token": HUB_TOKEN})
        log, _ = process.communicate(timeout=240)
        assert process.returncode == 1, log
        seen = found(entered)
        assert seen["uid"] == 65_530
        assert seen["groups"] == []
        assert seen["secrets in environment"] == []
        assert not [name for name in seen["environment"] if re.match("INPUT_|GITHUB_|ACTIONS_|RUNNER_|AWS_", name)]
        assert seen["environments with a secret"] == []
        assert seen["root again"].startswith("no")
        assert {path: answer[:2] for path, answer in seen["files"].items()} == dict.fromkeys(seen["files"], "no")
        assert seen["sockets"] == {"/var/run/docker.sock": "no: Permission denied"}
        assert 1 in seen["others"]
        for pid in seen["others"]:
            assert {answer[:2] for answer in seen[f"attacks on {pid}"].values()} == {"no"}, seen
        # What it prints is in the log, and no command.
        outside = re.sub(r"::stop-commands::(\w+)\n.*?\n::\1::", "", log, flags=re.S)
        assert "set-output" in log
        assert "::set-output" not in outside
        assert "::add-mask::model" not in outside
        assert "##[" not in log

    @pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_ends_it_within_five_seconds_with_a_report(self, entered, started, number, exit_code):
        spying(entered, hang=True)
        process = started(**{"allow-custom-code": "true"})
        log = entered.workspace / "export/bert/log.txt"
        wait_for(lambda: log.is_file() and "FOUND" in log.read_text(), process)
        assert not any(secret in content for content in environments(process) for secret in (TOKEN, HUB_TOKEN, OTHER))
        began = time.monotonic()
        inner(process).send_signal(number)
        printed, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert process.returncode == exit_code, printed
        assert entered.report["status"] == "cancelled"
        assert "cancelled" in entered.summary
        assert entered.outputs["failed"] == "1"
        assert {path.lstat().st_uid for path in (entered.workspace / "export").rglob("*")} == {OWNER[0]}

    def test_a_signal_while_github_is_slow_leaves_the_verdict(self, entered, started, state):
        entered.event, entered.payload = "pull_request", pull_request()
        report = Report(status=Status.PASSED, models=(ModelResult(name="a", model="a", status=Status.PASSED),))
        entered.write("export/export-report.json", report.to_json())
        asked, answer = threading.Event(), threading.Event()
        state.happen("GET", "/repos/", meanwhile=asked.set, hang=answer)
        process = started(command="report")
        wait_for(asked.is_set, process)
        began = time.monotonic()
        inner(process).send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        answer.set()
        assert time.monotonic() - began < 5
        assert process.returncode == 143
        assert "1 model passed" in entered.summary


def environments(outer: subprocess.Popen[str]) -> list[str]:
    """What the kernel shows of the action and all its processes."""
    process = inner(outer)
    processes = [process, *process.children(recursive=True)]
    assert len(processes) > 2
    return [Path(f"/proc/{each.pid}/environ").read_text() for each in processes]


def test_the_spy_finds_what_is_not_hidden(tmp_path):
    # Else the test above would prove nothing.
    file = tmp_path / "file"
    plan = {"secrets": [OTHER], "files": [str(file)], "sockets": [], "processes": "self"}
    (tmp_path / "spying.json").write_text(json.dumps(plan))
    (tmp_path / "spying_config.py").write_text((HERE / "spying_config.py").read_text())
    command = [
        sys.executable,
        "-c",
        "import runpy, sys; runpy.run_path(sys.argv[1])",
        str(tmp_path / "spying_config.py"),
    ]
    environment = {"SOME": OTHER}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    seen = json.loads(line.removeprefix("FOUND "))
    assert seen["secrets in environment"] == [OTHER]
    assert seen["environments with a secret"]
    assert seen["files"] == {str(file): "yes"}


@pytest.mark.parametrize(
    ("inputs", "exit_code", "said"),
    [
        ({"command": "export"}, 2, "`run`, `plan`, `report`, `publish`"),
        ({"manifest": "nowhere.yml"}, 2, "there is no such file"),
        ({"command": "publish"}, 2, "The input `tag`"),
        ({"command": "plan"}, 0, "Jobs: 1; models: 1; unchanged: 0."),
    ],
)
def test_exit_codes(runner, inputs, exit_code, said):
    runner.models(bert={})
    process = start(runner, **{**runner.environment(**inputs), **LEAKED})
    log, _ = process.communicate(timeout=60)
    assert process.returncode == exit_code, log
    assert said in log
    assert "Traceback" not in log


def test_with_arguments_it_is_a_command_line(runner):
    process = start(runner, arguments=["--version"], **runner.environment())
    assert process.communicate(timeout=60)[0].startswith("export-action, version")
    assert process.returncode == 0


def test_outside_of_a_workflow_it_says_how_to_use_it(runner):
    process = start(runner, PATH="/usr/bin")
    assert "Usage:" in process.communicate(timeout=60)[0]
