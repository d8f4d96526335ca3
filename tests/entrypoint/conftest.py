"""The action in a test: a runner's folders and variables, a fake GitHub, cheap workers."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE / "github", HERE.parent / "exporter/pipeline"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from fake_github import ACTIONS, FakeGitHub, State, Token  # noqa: E402
from runner_like import REPOSITORY, Runner, pull_request  # noqa: E402

from entrypoint.exits import Exit  # noqa: E402
from entrypoint.git import Git  # noqa: E402
from entrypoint.github.client import Client, Patience, connect  # noqa: E402
from entrypoint.main import action  # noqa: E402
from entrypoint.settings import Settings  # noqa: E402
from entrypoint.tools import Tools  # noqa: E402
from exporter.pipeline.run import RunOptions  # noqa: E402
from exporter.pipeline.session import Steps  # noqa: E402

TOKENS = {
    "ghs_job": Token(ACTIONS, frozenset({"contents", "pull_requests"})),
    "ghs_commenter": Token(ACTIONS, frozenset({"pull_requests"})),
    "ghs_readonly": Token(ACTIONS),
}
PATIENCE = Patience(timeout=5, upload_timeout=5, attempts=2, backoff=0.0, longest_wait=5.0, between_writes=0.0)
STEPS = Steps("sample_run_steps:inspect", "sample_run_steps:export", "sample_run_steps:validate")


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        server.state = State(repository=REPOSITORY, tokens=dict(TOKENS))
        yield server
        assert server.crashes == []


@pytest.fixture
def state(fake: FakeGitHub) -> State:
    return fake.state


@pytest.fixture
def runner(tmp_path: Path, fake: FakeGitHub) -> Runner:
    folder = tmp_path / "runner"
    folder.mkdir()
    return Runner(folder, fake.api_url)


@pytest.fixture
def on_pull_request(runner: Runner, state: State) -> Callable[..., Runner]:
    """Make the run one for a pull request that is open."""

    def happen(**facts: Any) -> Runner:
        runner.event, runner.payload = "pull_request", pull_request(**facts)
        pull = runner.payload["pull_request"]
        state.add_pull(pull["number"], pull["head"]["sha"], head_repository=pull["head"]["repo"]["full_name"])
        return runner

    return happen


@pytest.fixture
def act(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exit]:
    """Run the whole action in this process, with cheap workers; `runner.log` has what it printed."""

    def options(given: RunOptions) -> RunOptions:
        return replace(given, steps=STEPS, preload=("sample_run_steps",), time_limit=60.0)

    def github(settings: Settings) -> Client:
        return connect(settings.token, settings.run.repository, settings.run.api_url, PATIENCE, lambda _: None)

    def run(**inputs: str) -> Exit:
        monkeypatch.chdir(runner.workspace)
        log = io.StringIO()
        monkeypatch.setattr(sys, "stdout", log)
        try:
            return action(runner.settings(**inputs), Tools(log, Git(Path()), github, None, options))
        finally:
            monkeypatch.undo()
            runner.log = log.getvalue()

    return run


@pytest.fixture
def entered(fake: FakeGitHub) -> Iterator[Runner]:
    """A runner in a folder that everybody may enter, as workers of another user have to; owned by somebody."""
    folder = Path(tempfile.mkdtemp(prefix="runner-"))
    folder.chmod(0o755)
    runner = Runner(folder, fake.api_url)
    if os.geteuid() == 0:
        for path in (runner.workspace, *(runner.folder / name for name in ("temp", "home", "commands"))):
            os.chown(path, 1001, 1002)
    yield runner
    shutil.rmtree(folder)
