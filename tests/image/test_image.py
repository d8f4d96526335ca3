"""What is in the image, asked from the inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from image_step import Step

QUESTIONS = Path(__file__).parent / "inside_image.py"


@pytest.fixture(scope="module")
def inside(image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    step = Step(image, tmp_path_factory.mktemp("inside"), "http://127.0.0.1:9")
    questions = QUESTIONS.read_text()
    assert step.run("-I", "-c", questions, entrypoint="/opt/venv/bin/python") == 0, step.log
    found: dict[str, Any] = json.loads(step.log.splitlines()[-1])
    return found


def test_it_is_where_the_runner_says(inside):
    assert inside["process"] == 1
    assert inside["directory"] == "/github/workspace"
    assert inside["user"] == 0
    environment = inside["environment"]
    assert environment["HOME"] == "/github/home"
    assert environment["GITHUB_WORKSPACE"] == "/github/workspace"
    assert environment["GITHUB_OUTPUT"] == "/github/file_commands/output"
    assert environment["GITHUB_EVENT_PATH"] == "/github/workflow/event.json"
    assert environment["RUNNER_TEMP"] == "/github/runner_temp"
    assert environment["INPUT_FAIL-ON"] == "tolerance"
    assert "GITHUB_TOKEN" not in environment


def test_nobody_is_told_about_models(inside):
    assert inside["environment"]["ORT_DISABLE_TELEMETRY"] == "1"


def test_model_code_has_a_user_that_runs_but_changes_nothing(inside):
    from entrypoint.isolation import WORKER

    assert inside["worker"] == WORKER.uid
    assert inside["worker runs"] == str(WORKER.uid)
    assert "Permission denied" in inside["worker writes"]


def test_nothing_that_builds_is_left(inside):
    assert inside["tools"] == []


def test_what_only_changed_asks_is_there(inside):
    assert inside["git"]


def test_torch_is_the_small_one(inside):
    assert inside["cuda"] is None


def test_no_process_compiles_torch_first(inside):
    assert inside["bytecode"]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("sentencepiece_tokenizer", 12),
        ("tiktoken_tokenizer", 3),
        ("image_processor", 32),
        ("feature_extractor", 16_000),
    ],
)
def test_preprocessors_load(inside, kind, result):
    assert inside["preprocessors"][kind] == result
