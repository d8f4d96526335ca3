"""Checkpoints of a session: saved once, copied where a test changes them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import logging as transformers_logging

if (HERE := str(Path(__file__).parent)) not in sys.path:
    sys.path.insert(0, HERE)

from tiny_checkpoints import SIZES, Checkpoint, write_config


@pytest.fixture(scope="session", autouse=True)
def _no_progress_bars_while_saving() -> Iterator[None]:
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A BERT with the head of the named class, saved once in a session; not to be changed."""
    folders: dict[str, Path] = {}

    def folder(class_name: str) -> Path:
        if class_name not in folders:
            torch.manual_seed(0)
            folders[class_name] = tmp_path_factory.mktemp(class_name)
            getattr(transformers, class_name)(transformers.BertConfig(**SIZES)).save_pretrained(folders[class_name])
        return folders[class_name]

    return folder


@pytest.fixture
def checkpoint(saved: Callable[[str], Path], tmp_path: Path) -> Checkpoint:
    """A copy of `saved` to be changed; keywords are written into its config, None removes a key."""

    def copy(class_name: str = "BertModel", **config: Any) -> Path:
        folder = tmp_path / "checkpoint"
        shutil.copytree(saved(class_name), folder)
        write_config(folder, **config)
        return folder

    return copy
