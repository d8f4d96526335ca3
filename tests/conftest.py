"""What every test may rely on: no network, and tiny real checkpoints on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

MakeCheckpoint = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Folder of a tiny checkpoint for a model type and task, made once a session."""
    made: dict[tuple[str, str], Path] = {}

    def make(model_type: str, task: str) -> Path:
        key = (model_type, task)
        if key not in made:
            # Only here: most tests need no torch.
            from tests.architectures.tiny import build

            folder = tmp_path_factory.mktemp(f"{model_type}-{task}")
            build(model_type, task).save_pretrained(folder)
            made[key] = folder
        return made[key]

    return make
