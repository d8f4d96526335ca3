"""A local Hub, and a process beside the tests that fetches from it.

The process is a fresh one because huggingface_hub reads its environment once, when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if (HERE := str(Path(__file__).parent)) not in sys.path:
    sys.path.insert(0, HERE)

from hub_server import HubServer

ROOT = Path(__file__).parents[3]

# One question a line in, one answer a line out; a problem is an answer.
FETCHER = """
import json, sys
from pathlib import Path
from exporter.hub import HubAccess, fetch
from exporter.results import ExportError

for line in sys.stdin:
    question = json.loads(line)
    access = HubAccess(**{**question["access"], "cache": Path(question["access"]["cache"])})
    try:
        fetched = fetch(question["model_id"], question["revision"], access)
        answer = {"path": str(fetched.path), "commit": fetched.commit, "bytes": fetched.bytes, "notes": fetched.notes}
    except ExportError as error:
        answer = {"kind": error.problem.kind, "message": error.problem.message, "hint": error.problem.hint}
    answer["heavy"] = sorted({"torch", "transformers"} & set(sys.modules))
    print(json.dumps(answer), flush=True)
"""


@dataclass
class Fetcher:
    """A process that fetches; what it was told in its environment holds for all its questions."""

    process: subprocess.Popen[str]
    cache: Path

    def fetch(self, model_id: str, revision: str | None = None, **access: Any) -> dict[str, Any]:
        """What `exporter.hub.fetch` gives, as a dictionary; what it raises, as ``kind``, ``message`` and ``hint``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"model_id": model_id, "revision": revision, "access": {"cache": str(self.cache), **access}}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the process ended: {self.close()}"
        answer: dict[str, Any] = json.loads(line)
        assert answer.pop("heavy") == []
        return answer

    def close(self) -> str:
        """End the process; returns what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=30)
        return errors


def start(cache: Path, **environment: str) -> Fetcher:
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "COVERAGE_PROCESS_START") if key in os.environ}
    settings = {
        "HF_HUB_ETAG_TIMEOUT": "2",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "HF_HOME": str(cache.parent / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",  # else the library asks the Hub something of its own
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FETCHER],
        cwd=ROOT,
        env={**inherited, **settings, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Fetcher(process, cache)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """An empty Hub."""
    with HubServer() as server:
        yield server


@pytest.fixture
def fetcher_with(tmp_path: Path) -> Iterator[Callable[..., Fetcher]]:
    """Starts a fetching process with an environment; its cache is the test's own."""
    started: list[Fetcher] = []

    def with_environment(**environment: str) -> Fetcher:
        started.append(start(tmp_path / "cache", **environment))
        return started[-1]

    yield with_environment
    for fetcher in started:
        fetcher.process.kill()
        fetcher.process.communicate()


@pytest.fixture(scope="session")
def shared_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetcher]:
    fetcher = start(tmp_path_factory.mktemp("hub") / "cache")
    yield fetcher
    fetcher.process.kill()
    fetcher.process.communicate()


@pytest.fixture
def fetcher(shared_process: Fetcher, tmp_path: Path, hub: HubServer) -> Callable[..., dict[str, Any]]:
    """Fetches from `hub` into a cache of the test's own, without a token unless one is given."""
    asker = Fetcher(shared_process.process, tmp_path / "cache")

    def fetch(model_id: str, revision: str | None = None, **access: Any) -> dict[str, Any]:
        return asker.fetch(model_id, revision, endpoint=hub.endpoint, **access)

    return fetch
