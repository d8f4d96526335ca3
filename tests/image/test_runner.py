"""What `scripts/run-like-the-runner` tells Docker, against what actions/runner tells it (DockerCommandManager.cs)."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/run-like-the-runner"
SOCKET = Path("/var/run/docker.sock")


@pytest.fixture(scope="module")
def runner() -> Any:
    loader = SourceFileLoader("run_like_the_runner", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # A dataclass looks its module up.
        patch.setitem(sys.modules, loader.name, module)
        loader.exec_module(module)
        yield module


@pytest.fixture
def step(runner: Any) -> Any:
    return runner.Step(
        image="ghcr.io/org/export-action:v1",
        workspace=Path("/home/runner/work/models/models"),
        temp=Path("/home/runner/work/_temp"),
        inputs={"fail-on": "error", "a b": "c"},
        job_environment={
            "HF_HOME": "/home/runner/work/models/models/.huggingface",
            "GITHUB_SHA": "mine",
            "PATH": "nonsense",
        },
        context={"GITHUB_API_URL": "https://ghes.corp/api/v3"},
        event="push",
        payload={"repository": {"full_name": "org/models"}},
        entrypoint="",
        arguments=["--help"],
        network="github_network_1",
    )


def test_docker_is_called_as_the_runner_calls_it(runner, step):
    mounted = runner.mounts(step, SOCKET)
    command = runner.docker_command("/usr/bin/docker", step, mounted, ["CI", "INPUT_FAIL-ON"])
    name, label = command[3], command[5]
    assert name.startswith("export_action_")
    assert command == [
        *("/usr/bin/docker", "run", "--name", name, "--label", label, "--workdir", "/github/workspace", "--rm"),
        *("-e", "CI", "-e", "INPUT_FAIL-ON"),
        *("--network", "github_network_1"),
        *("-v", "/var/run/docker.sock:/var/run/docker.sock"),
        *("-v", "/home/runner/work/_temp:/github/runner_temp"),
        *("-v", "/home/runner/work/_temp/_github_home:/github/home"),
        *("-v", "/home/runner/work/_temp/_github_workflow:/github/workflow"),
        *("-v", "/home/runner/work/_temp/_runner_file_commands:/github/file_commands"),
        *("-v", "/home/runner/work/models/models:/github/workspace"),
        "ghcr.io/org/export-action:v1",
        "--help",
    ]


def test_no_value_of_the_environment_is_on_the_command_line(runner, step):
    mounted = runner.mounts(step, SOCKET)
    variables = runner.environment(step, mounted)
    assert not [word for word in runner.docker_command("docker", step, mounted, list(variables)) if "=" in word]


def test_paths_are_those_of_the_container(runner, step):
    variables = runner.environment(step, runner.mounts(step, SOCKET))
    assert variables["GITHUB_WORKSPACE"] == "/github/workspace"
    assert variables["GITHUB_OUTPUT"] == "/github/file_commands/output"
    assert variables["GITHUB_EVENT_PATH"] == "/github/workflow/event.json"
    assert variables["RUNNER_TEMP"] == "/github/runner_temp"
    assert variables["HOME"] == "/github/home"
    assert variables["HF_HOME"] == "/github/workspace/.huggingface"


def test_inputs_and_the_jobs_environment_arrive(runner, step):
    variables = runner.environment(step, runner.mounts(step, SOCKET))
    assert (variables["INPUT_FAIL-ON"], variables["INPUT_A_B"], variables["INPUT_COMMAND"]) == ("error", "c", "run")
    assert variables["INPUT_TOKEN"] == ""
    assert variables["PATH"] == "nonsense"
    assert variables["GITHUB_SHA"] == "0" * 40, "a job can't change what the runner says"
    assert variables["GITHUB_API_URL"] == "https://ghes.corp/api/v3"
