"""A runner without GitHub: a checkout, an event, file commands and the environment that a step gets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrypoint.settings import Settings, from_runner, variable

__all__ = ["REPOSITORY", "Runner", "pull_request", "start"]

REPOSITORY = "org/models"


@dataclass
class Runner:
    """What a step finds: folders, an event, variables; and afterwards what it left in them."""

    folder: Path
    api_url: str
    event: str = "push"
    payload: dict[str, Any] = field(default_factory=lambda: {"ref": "refs/heads/main"})
    variables: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self) -> None:
        for name in ("workspace", "temp", "home", "commands"):
            (self.folder / name).mkdir()
        for name in ("output", "summary"):
            (self.folder / "commands" / name).touch()

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def environment(self, **inputs: str) -> dict[str, str]:
        """The variables as the runner sets them: https://docs.github.com/actions/reference/variables."""
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.payload))
        given = {
            "command": "run",
            "token": "ghs_job",
            **{name.replace("_", "-"): text for name, text in inputs.items()},
        }
        return {
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "HOME": str(self.folder / "home"),
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SERVER_URL": "https://github.test",
            "GITHUB_API_URL": self.api_url,
            "GITHUB_EVENT_NAME": self.event,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_SHA": "e" * 40,
            "GITHUB_REF": self.payload.get("ref", "refs/heads/main"),
            "GITHUB_REF_TYPE": "tag" if str(self.payload.get("ref", "")).startswith("refs/tags/") else "branch",
            "GITHUB_RUN_ID": "77",
            "GITHUB_RUN_NUMBER": "12",
            "GITHUB_WORKFLOW": "CI",
            "GITHUB_JOB": "export",
            "GITHUB_OUTPUT": str(self.folder / "commands/output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "commands/summary"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "RUNNER_OS": "Linux",
            "HF_HUB_OFFLINE": "1",
            **self.variables,
            **{variable(name): text for name, text in given.items()},
        }

    def settings(self, **inputs: str) -> Settings:
        return from_runner(self.environment(**inputs))

    def models(self, **behaviours: dict[str, str]) -> None:
        """A manifest of checkpoints that behave as told (see `sample_run_steps`)."""
        for name, behaviour in behaviours.items():
            self.write(f"models/{name}/behaviour.json", json.dumps(behaviour))
            self.write(f"models/{name}/model.safetensors", f"weights of {name}")
        self.manifest(*(f"{{name: {name}, model: ./models/{name}}}" for name in behaviours))

    def manifest(self, *entries: str, path: str = "export.yml") -> None:
        lines = [
            "version: 1",
            "defaults: {formats: [onnx, torchscript]}",
            "models:",
            *(f"  - {each}" for each in entries),
        ]
        self.write(path, "\n".join(lines) + "\n")

    def write(self, path: str, text: str) -> Path:
        file = self.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Mona", "-c", "user.email=mona@github.test", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.workspace, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        if not (self.workspace / ".git").exists():
            self.git("init", "--quiet")
        self.git("add", "--all", "--", ".", ":!export")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    @property
    def outputs(self) -> dict[str, str]:
        text = (self.folder / "commands/output").read_text()
        return {match[1]: match[3] for match in re.finditer(r"^(.+?)<<(\S+)\n(.*?)\n\2$", text, re.M | re.S)}

    @property
    def summary(self) -> str:
        return (self.folder / "commands/summary").read_text()

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.workspace / "export/export-report.json").read_text())
        return found


def pull_request(number: int = 7, head: str = "a" * 40, base: str = "b" * 40, fork: bool = False) -> dict[str, Any]:
    """The parts of a `pull_request` event that are read; `test_events` holds them against GitHub's own examples."""
    owner = "mona" if fork else "org"
    return {
        "action": "synchronize",
        "number": number,
        "sender": {"login": "mona"},
        "repository": {"full_name": REPOSITORY},
        "pull_request": {
            "number": number,
            "html_url": f"https://github.test/{REPOSITORY}/pull/{number}",
            "head": {"sha": head, "ref": "feature", "repo": {"full_name": f"{owner}/models"}},
            "base": {"sha": base, "ref": "main", "repo": {"full_name": REPOSITORY}},
        },
    }


def start(runner: Runner, *, arguments: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
    """Start the action as the image does: isolated, with nothing but the environment."""
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "entrypoint", *arguments],
        env=environment,
        cwd=runner.workspace,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
