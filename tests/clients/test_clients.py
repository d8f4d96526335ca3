"""What other people's loaders make of an exported folder: optimum in Python, transformers.js in Node.

`scripts/clients-setup` installs both. CLIENTS_PYTHON names the interpreter that has optimum; CLIENTS_REQUIRED=1 makes
it an error, instead of a reason to skip, that a client is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
MakeCheckpoint = Callable[[str, str], Path]
Answer = dict[str, Any]

GREEDY = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "num_beams": 1}
# Rows of different lengths: a client that forgets the mask, or the place of a token, writes something else.
PADDED_LEFT = {
    "input_ids": [[5, 17, 33, 8, 61, 40, 12], [1, 1, 1, 77, 25, 9, 50]],
    "attention_mask": [[1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]],
}
PADDED_RIGHT = {
    "input_ids": [[5, 17, 33, 8, 61, 40, 12], [77, 25, 9, 50, 0, 0, 0]],
    "attention_mask": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]],
}


@dataclass(frozen=True)
class Case:
    """A model, and how a client is asked to run it.

    Attributes:
        model_type: Type of the tiny checkpoint.
        task: As in a manifest.
        files: ONNX files that the export consists of.
        optimum: Class of optimum that loads it.
        transformers_js: Class of transformers.js that loads it.
        inputs: Rows of whole numbers by name.
        generate: Arguments of ``generate``; None for one plain call.
    """

    model_type: str
    task: str
    files: tuple[str, ...]
    optimum: str
    transformers_js: str
    inputs: dict[str, list[list[int]]]
    generate: dict[str, Any] | None


CASES = {
    "translator": Case(
        model_type="t5",
        task="seq2seq-lm-with-past",
        files=("decoder_model_merged.onnx", "encoder_model.onnx"),
        optimum="ORTModelForSeq2SeqLM",
        transformers_js="AutoModelForSeq2SeqLM",
        inputs=PADDED_RIGHT,
        generate=GREEDY,
    ),
    "writer": Case(
        model_type="gpt2",
        task="causal-lm-with-past",
        files=("model.onnx",),
        optimum="ORTModelForCausalLM",
        transformers_js="AutoModelForCausalLM",
        inputs=PADDED_LEFT,
        generate=GREEDY,
    ),
    "reader": Case(
        model_type="bert",
        task="default",
        files=("model.onnx",),
        optimum="ORTModelForFeatureExtraction",
        transformers_js="AutoModel",
        inputs={**PADDED_RIGHT, "token_type_ids": [[0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]]},
        generate=None,
    ),
}


def absent(reason: str) -> None:
    """A client that is not installed: skip, or fail where clients are required."""
    if os.environ.get("CLIENTS_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def ask(program: list[str], question: dict[str, Any]) -> Answer:
    done = subprocess.run(
        program,
        input=json.dumps(question),
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answer: Answer = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, make_checkpoint: MakeCheckpoint) -> Path:
    """All cases exported in one run of the command line; a folder per case inside."""
    folder = tmp_path_factory.mktemp("project")
    lines = ["version: 1", "defaults: {formats: [onnx]}", "models:"]
    for name, case in CASES.items():
        shutil.copytree(make_checkpoint(case.model_type, case.task), folder / name)
        lines.append(f"  - {{name: {name}, model: ./{name}, task: {case.task}}}")
    (folder / "export.yml").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "entrypoint", "run"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "export"


@pytest.fixture(scope="module")
def expected() -> Callable[[Case], Answer]:
    """What the eager model answers to the same question."""
    import torch

    from tests.architectures.tiny import build

    def answer(case: Case) -> Answer:
        model = build(case.model_type, case.task)
        inputs = {name: torch.tensor(rows) for name, rows in case.inputs.items()}
        with torch.no_grad():
            if case.generate is None:
                # The one output that the feature has; the pooled one is no part of it.
                return {"last_hidden_state": model(**inputs).last_hidden_state.numpy()}
            return {"tokens": model.generate(**inputs, **case.generate).numpy()}  # type: ignore[operator]

    return answer


def assert_same(answer: Answer, expected: Answer) -> None:
    for name, value in expected.items():
        assert name in answer, f"no {name} in {sorted(answer)}"
        given = np.asarray(answer[name])
        assert given.shape == value.shape, name
        if name == "tokens":
            assert given.tolist() == value.tolist()
        else:
            np.testing.assert_allclose(given, value, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_the_files_are_those_that_clients_look_for(name: str, exported: Path) -> None:
    assert sorted(path.name for path in (exported / name / "onnx").glob("*.onnx")) == list(CASES[name].files)


@pytest.mark.parametrize("name", CASES)
def test_optimum_answers_as_the_eager_model(name: str, exported: Path, expected: Callable[[Case], Answer]) -> None:
    python = os.environ.get("CLIENTS_PYTHON")
    if not python or not Path(python).is_file():
        absent("CLIENTS_PYTHON names no interpreter; run scripts/clients-setup and say what it prints")
        return
    case = CASES[name]
    question = {
        "folder": str(exported / name / "onnx"),
        "loader": case.optimum,
        "inputs": case.inputs,
        "generate": case.generate,
    }
    assert_same(ask([python, str(HERE / "optimum_client.py")], question), expected(case))


@pytest.mark.parametrize("name", CASES)
def test_transformers_js_answers_as_the_eager_model(
    name: str, exported: Path, expected: Callable[[Case], Answer]
) -> None:
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules" / "@huggingface" / "transformers").is_dir():
        absent("no node, or no tests/clients/node_modules; run scripts/clients-setup")
        return
    case = CASES[name]
    question = {
        "folder": str(exported / name / "onnx"),
        "loader": case.transformers_js,
        "inputs": case.inputs,
        "generate": case.generate,
    }
    assert_same(ask([node, str(HERE / "transformers_js_client.mjs")], question), expected(case))
