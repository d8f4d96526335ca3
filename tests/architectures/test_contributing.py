"""CONTRIBUTING.md, "Add an architecture": followed to the letter in a copy of the repository, then tested there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Edit:
    """A block of code, and where the page says it goes: below a name, or at the end of a file."""

    file: str
    below: str
    code: str


def edits(page: str) -> Iterator[Edit]:
    section = page.partition("## Add an architecture")[2].partition("\n## ")[0]
    file = below = ""
    for prose, code in re.findall(r"(.*?)```python\n(.*?)```", section, re.DOTALL):
        if named := re.findall(r"`([\w/]+\.py)`", prose):
            file = named[-1]
            below = next(iter(re.findall(r"below\s+`(\w+)`", prose)), "")
        yield Edit(file, below, code)


def follow(edit: Edit, repository: Path) -> None:
    path = repository / edit.file
    text = path.read_text()
    if not edit.below:
        path.write_text(f"{text.rstrip()}\n{edit.code}" if edit.code.startswith(" ") else f"{text}\n\n{edit.code}")
        return
    opening = re.compile(rf"^{edit.below}\b.*[({{]$", re.MULTILINE)
    assert len(opening.findall(text)) == 1
    path.write_text(opening.sub(lambda found: f"{found.group()}\n{edit.code.rstrip()}", text))


def pytest_in(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=540)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("exporter", "tests/architectures"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


@pytest.mark.timeout(600)
def test_an_architecture_is_added_as_the_page_says(repository: Path) -> None:
    steps = list(edits((REPOSITORY / "CONTRIBUTING.md").read_text()))
    assert len(steps) == 4

    for step in steps:
        follow(step, repository)

    everything = ("-m", "matrix or not matrix", "-k", "mpnet or registry")
    files = ("tests/architectures/test_registry.py", "tests/architectures/test_matrix.py")
    done = pytest_in(repository, *everything, *files)
    assert done.returncode == 0, done.stdout[-4000:]
    # Two features in two formats, and the tests of the registry.
    judged = pytest_in(repository, *everything, "--collect-only", files[1])
    assert judged.stdout.count("::test_onnx[mpnet-") == judged.stdout.count("::test_torchscript[mpnet-") == 2
