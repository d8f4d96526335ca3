"""The image as the runner runs it, against a fake GitHub. `make image-test` builds the image and says which it is."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GITHUB = HERE.parent / "entrypoint/github"
# importlib mode puts no test directory on the path.
sys.path[:0] = [str(HERE), str(GITHUB)]

from fake_github import ACTIONS, FakeGitHub, State, Token  # noqa: E402
from image_step import Step  # noqa: E402

EXAMPLES = GITHUB / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the image. Once somebody names one, it is an error that it isn't there."""
    name = os.environ.get("EXPORT_ACTION_IMAGE")
    if not name:
        pytest.skip("needs the image of the action: `make image-test` builds and names it")
    engine = ["docker", "image"] if docker_answers() else ["buildah", "--log-level=error"]
    inspect = [*engine, "inspect", *([] if docker_answers() else ["--type", "image"]), name]
    if subprocess.run(inspect, capture_output=True).returncode:
        pytest.fail(f"There is no image {name}: `scripts/image-build {name}` makes it")
    return name


def docker_answers() -> bool:
    return bool(shutil.which("docker")) and subprocess.run(["docker", "version"], capture_output=True).returncode == 0


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        server.state = State(tokens={"ghs_job": Token(ACTIONS, frozenset({"contents", "pull_requests"}))})
        yield server
        assert server.crashes == []


@pytest.fixture
def step(image: str, fake: FakeGitHub, tmp_path: Path) -> Step:
    return Step(image, tmp_path, fake.api_url)


@pytest.fixture
def pull_request(step: Step, fake: FakeGitHub) -> Step:
    """The step in a job for GitHub's own example of a pull request, which is open in the fake."""
    if not EXAMPLES.is_file():
        pytest.fail("needs `npm ci --ignore-scripts` in tests/entrypoint/github")
    (examples,) = (found for found in json.loads(EXAMPLES.read_text()) if found["name"] == "pull_request")
    payload = copy.deepcopy(next(each for each in examples["examples"] if each["action"] == "synchronize"))
    step.event, step.payload = "pull_request", payload
    head, repository = payload["pull_request"]["head"], payload["repository"]["full_name"]
    fake.state.repository = repository
    fake.state.add_pull(payload["number"], head["sha"], head["ref"], head_repository=head["repo"]["full_name"])
    return step
