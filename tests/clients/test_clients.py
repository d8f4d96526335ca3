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
from typing import Any, NoReturn

import numpy as np
import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
MakeCheckpoint = Callable[[str, str], Path]
Answer = dict[str, Any]

# No token twice: random weights like to repeat one, and a constant proves little.
GREEDY = {
    "max_new_tokens": 12,
    "min_new_tokens": 12,
    "do_sample": False,
    "num_beams": 1,
    "no_repeat_ngram_size": 1,
}
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


def absent(reason: str) -> NoReturn:
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


@dataclass(frozen=True)
class Exported:
    """A case, and the folder that a client loads."""

    case: Case
    folder: Path

    def question(self, loader: str) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "loader": loader,
            "inputs": self.case.inputs,
            "generate": self.case.generate,
        }


@pytest.fixture(scope="module", params=CASES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_checkpoint: MakeCheckpoint
) -> Exported:
    """A model exported by the command line, as a person types it."""
    case = CASES[request.param]
    project = tmp_path_factory.mktemp(request.param)
    shutil.copytree(make_checkpoint(case.model_type, case.task), project / "model")
    (project / "export.yml").write_text(
        f"version: 1\nmodels: [{{name: exported, model: ./model, task: {case.task}, formats: [onnx]}}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "entrypoint", "run"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Exported(case, project / "export" / "exported" / "onnx")


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
            return {"tokens": model.generate(**inputs, **case.generate).numpy()}

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


def test_the_files_are_those_that_clients_look_for(exported: Exported) -> None:
    assert sorted(path.name for path in exported.folder.glob("*.onnx")) == list(exported.case.files)


def test_optimum_answers_as_the_eager_model(exported: Exported, expected: Callable[[Case], Answer]) -> None:
    python = os.environ.get("CLIENTS_PYTHON")
    if not python or not Path(python).is_file():
        absent(f"CLIENTS_PYTHON is {python!r}, which is no interpreter: run scripts/clients-setup and do as it says")
    answer = ask([str(python), str(HERE / "optimum_client.py")], exported.question(exported.case.optimum))
    assert_same(answer, expected(exported.case))


def test_transformers_js_answers_as_the_eager_model(exported: Exported, expected: Callable[[Case], Answer]) -> None:
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules" / "@huggingface" / "transformers").is_dir():
        absent("there is no node, or no tests/clients/node_modules: run scripts/clients-setup")
    question = exported.question(exported.case.transformers_js)
    assert_same(ask([str(node), str(HERE / "transformers_js_client.mjs")], question), expected(exported.case))
