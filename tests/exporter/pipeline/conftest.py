"""Pools whose fork server imports nothing heavy, and steps to run in them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.manifest import Entry, load
from exporter.pipeline.pool import Call, PoolOptions, WorkerPool
from exporter.pipeline.run import RunOptions
from exporter.pipeline.session import Steps

HERE = Path(__file__).parent

# Workers import steps by name, and inherit the import path of the process that runs the tests.
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import sample_steps  # noqa: E402


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., WorkerPool]]:
    """Pools with cheap workers; all are closed at the end."""
    pools = []

    def make(**options: Any) -> WorkerPool:
        scratch = tmp_path / f"scratch-{len(pools)}"
        scratch.mkdir()
        scratch.chmod(0o755)
        pools.append(WorkerPool(PoolOptions(**{"scratch": scratch, "preload": ("sample_steps",), **options})))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def pool(make_pool: Callable[..., WorkerPool]) -> WorkerPool:
    return make_pool(time_limit=60.0)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    """Run one of the sample steps in a pool and return its reply."""

    def run(
        pool: WorkerPool,
        step: str,
        cancelled: threading.Event | None = None,
        directory: Path | None = None,
        needed_bytes: int = 0,
        **request: Any,
    ) -> Any:
        call = Call(
            step=f"sample_steps:{step}",
            request=sample_steps.Ask(**request),
            log=tmp_path / "log.txt",
            directory=directory,
            needed_bytes=needed_bytes,
        )
        return pool.call(call, sample_steps.Told, cancelled or threading.Event())

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def make_entries(tmp_path: Path) -> Callable[..., tuple[Entry, ...]]:
    """Entries from a real manifest; each keyword is a model and how it behaves (see `sample_run_steps`)."""

    def make(formats: str = "[onnx, torchscript]", **behaviours: dict[str, str]) -> tuple[Entry, ...]:
        lines = ["version: 1", f"defaults: {{formats: {formats}}}", "models:"]
        for name, behaviour in behaviours.items():
            checkpoint = tmp_path / "models" / name
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / "behaviour.json").write_text(json.dumps(behaviour))
            (checkpoint / "model.safetensors").write_bytes(bytes(1000))
            lines.append(f"  - {{name: {name}, model: ./models/{name}}}")
        manifest = tmp_path / "export.yml"
        manifest.write_text("\n".join(lines) + "\n")
        return load([manifest]).entries

    return make


@pytest.fixture
def run_options(tmp_path: Path) -> RunOptions:
    """A run with cheap workers, into ``out``."""
    steps = Steps("sample_run_steps:inspect", "sample_run_steps:export", "sample_run_steps:validate")
    return RunOptions(output_directory=tmp_path / "out", steps=steps, preload=("sample_run_steps",), time_limit=60.0)
