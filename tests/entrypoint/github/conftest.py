"""A fake GitHub for each test, and connections to it whose waiting is only written down."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrypoint.github.client import Client, Patience, connect
from entrypoint.github.releases import AssetFile

# The fake is a program of its own too; importlib mode puts no test directory on the path.
sys.path.insert(0, str(Path(__file__).parent))

from fake_github import ACTIONS, FakeGitHub, State, Token
from github_examples import FILES, PATIENCE

ALL = frozenset({"contents", "pull_requests"})
TOKENS = {
    "ghs_job": Token(ACTIONS, ALL),
    "ghs_readonly": Token(ACTIONS),
    "ghs_app": Token("models-app[bot]", ALL),
    "ghp_mona": Token("mona", ALL),
    "ghp_reader": Token("mona"),
    "ghs_blind": Token(ACTIONS, unreadable=frozenset({"actions"})),
}


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server
        assert server.crashes == []


@pytest.fixture
def state(fake: FakeGitHub) -> State:
    fake.state = State(tokens=TOKENS)
    return fake.state


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the client would have waited, in order; uploads' pauses of 0 s left out."""
    return []


@pytest.fixture
def connect_as(fake: FakeGitHub, state: State, waits: list[float]) -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def connect_as(token: str, patience: Patience = PATIENCE) -> Client:
        def sleep(seconds: float) -> None:
            if seconds:
                waits.append(seconds)

        opened.append(connect(token, state.repository, fake.api_url, patience, sleep))
        return opened[-1]

    yield connect_as
    for client in opened:
        client.close()


@pytest.fixture
def client(connect_as: Callable[..., Client]) -> Client:
    """A connection as a job with `permissions: pull-requests: write, contents: write` has it."""
    return connect_as("ghs_job")


@pytest.fixture
def files(tmp_path: Path) -> list[AssetFile]:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return [AssetFile(tmp_path / name, name) for name in FILES]
