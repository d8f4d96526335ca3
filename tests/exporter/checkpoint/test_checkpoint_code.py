"""Python code that comes with a checkpoint: run only when a person allows it, at a full commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoints import Checkpoint, problem, write_config

from exporter.checkpoint import load

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# A model of a type that transformers doesn't know; importing it leaves a mark.
CODE = """
import os
from transformers import BertConfig, BertModel

open({mark!r}, "w").close()


class MineConfig(BertConfig):
    model_type = "mine"


class MineModel(BertModel):
    config_class = MineConfig
"""

AUTO_MAP = {"AutoConfig": "modeling_mine.MineConfig", "AutoModel": "modeling_mine.MineModel"}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def with_code(checkpoint: Checkpoint, mark: Path) -> Path:
    folder = checkpoint(model_type="mine", architectures=["MineModel"], auto_map=AUTO_MAP)
    (folder / "modeling_mine.py").write_text(CODE.format(mark=str(mark)))
    return folder


def test_is_refused_unless_allowed(with_code: Path, mark: Path) -> None:
    found = problem(load, with_code, revision=COMMIT)
    assert found.kind == "remote-code"
    assert "modeling_mine.py" in found.message
    assert "--allow-remote-code" in found.hint
    assert "full commit hash" in found.hint
    assert not mark.exists()


@pytest.mark.parametrize("revision", ["", "main", COMMIT[:39], COMMIT.upper(), f"{COMMIT}0", f"{COMMIT}\n"])
def test_is_refused_at_what_can_change(with_code: Path, mark: Path, revision: str) -> None:
    found = problem(load, with_code, allow_remote_code=True, revision=revision)
    assert found.kind == "remote-code"
    assert "40 hexadecimal digits" in found.hint
    assert not mark.exists()


def test_is_refused_when_it_is_in_another_repository(with_code: Path, mark: Path) -> None:
    write_config(with_code, auto_map={"AutoConfig": "org/other--modeling_mine.MineConfig"})
    found = problem(load, with_code, allow_remote_code=True, revision=COMMIT)
    assert found.kind == "remote-code"
    assert "org/other" in found.message
    assert not mark.exists()


def test_that_was_not_fetched(with_code: Path) -> None:
    (with_code / "modeling_mine.py").unlink()
    found = problem(load, with_code, allow_remote_code=True, revision=COMMIT)
    assert "modeling_mine.py is not in the folder" in found.message


def test_runs_when_allowed_at_a_commit(with_code: Path, mark: Path, tmp_path: Path) -> None:
    # In a process of its own: transformers copies such code into a cache and imports it.
    code = (
        "from pathlib import Path; from exporter.checkpoint import load\n"
        f"loaded = load(Path({str(with_code)!r}), allow_remote_code=True, revision={COMMIT!r})\n"
        "print(type(loaded.model).__name__, [note for note in loaded.notes if 'was run' in note])"
    )
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.stdout == 'MineModel ["The checkpoint\'s own code was run: modeling_mine.py."]\n', result.stderr
    assert mark.exists()


def test_is_left_alone_where_transformers_knows_the_type(checkpoint: Checkpoint, mark: Path) -> None:
    folder = checkpoint(auto_map=AUTO_MAP)
    (folder / "modeling_mine.py").write_text(CODE.format(mark=str(mark)))
    for allowed, revision in ((False, COMMIT), (True, "main")):
        loaded = load(folder, allow_remote_code=allowed, revision=revision)
        assert type(loaded.model).__name__ == "BertModel"
        assert any("modeling_mine.py" in note and "not run" in note for note in loaded.notes)
    assert not mark.exists()


def test_a_function_for_generation_is_never_run(checkpoint: Checkpoint, mark: Path) -> None:
    folder = checkpoint("BertLMHeadModel")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(f"open({str(mark)!r}, 'w').close()")
    load(folder)
    assert not mark.exists()


def test_files_that_nothing_names_are_never_run(checkpoint: Checkpoint, mark: Path) -> None:
    folder = checkpoint()
    for name in ("__init__.py", "modeling_bert.py", "conftest.py", "setup.py"):
        (folder / name).write_text(f"open({str(mark)!r}, 'w').close()")
    (folder / "generation_config.json").write_text(json.dumps({"custom_generate": "modeling_bert"}))
    load(folder)
    assert not mark.exists()
