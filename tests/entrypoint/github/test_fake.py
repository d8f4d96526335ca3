"""The fake as a program, for tests of the whole action."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from github_examples import HEAD, KEY, PATIENCE, PULL, report

from entrypoint.github.client import connect
from entrypoint.github.comments import upsert_comment


@pytest.fixture
def served():
    program = Path(__file__).with_name("fake_github.py")
    command = [sys.executable, program, "--port", "0", "--token", "ghs_x", "--pull", f"7:{HEAD}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.terminate()


def test_it_serves_and_shows_its_state(served):
    with connect("ghs_x", "org/models", served, PATIENCE) as client:
        assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "created"
    state = requests.get(f"{served}/_state", timeout=5).json()
    assert [comment["body"] for comment in state["comments"].values()] == [report("All passed.")]
    assert [call["method"] for call in state["calls"] if call["method"] != "GET"] == ["POST"]
    assert "ghs_x" not in str(state)
