"""Measure what judging a file costs beside writing it, for models of usual size.

    python -m benchmarks.validation_time [NAME...]

Each export (dynamo) and each whole validation is a process of its own, in turn. Our own imports are not counted; what
an engine imports when it is called is, and so are the eager models that the judge loads. Machines are noisy, so read
the ratios; processor seconds stand beside those of the clock. On a busy machine set ``OMP_NUM_THREADS=1``: threads
that wait for each other count as work. Writes ``benchmarks/results/validation_time.json``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

RUNS = 3
OPSET = 18
TARGET = 1.5
RESULTS = Path(__file__).parent / "results" / "validation_time.json"

Seconds = dict[str, float]


def export(checkpoint: Path, folder: Path) -> Seconds:
    """Write the ONNX files of a checkpoint, in this process."""
    from exporter import architectures, onnx
    from exporter.checkpoint import load

    loaded = load(checkpoint)
    described = architectures.describe(loaded.config, loaded.task.name)
    options = onnx.OnnxOptions(OPSET, "dynamo")
    return _timed(lambda: onnx.export_graphs(loaded.model, described.graphs, options, folder))


def validate(checkpoint: Path, folder: Path) -> Seconds:
    """Judge those files, in this process.

    Raises:
        SystemExit: The file failed: how long a failing file takes is not what is asked.
    """
    from exporter import architectures
    from exporter.checkpoint import load
    from exporter.results import Status, Validation
    from exporter.validation import Asked, Settings, Subject, validate_artifact

    loaded = load(checkpoint)
    described = architectures.describe(loaded.config, loaded.task.name)
    subject = Subject(
        load=lambda: load(checkpoint).model,
        architecture=described,
        artifacts=tuple(_artifact(graph, folder) for graph in described.graphs),
        format="onnx",
        preprocessor=loaded.preprocessor,
        asked=Asked(opset=OPSET),
    )
    found: list[Validation] = []
    seconds = _timed(lambda: found.append(validate_artifact(subject, Settings())))
    if found[0].status is not Status.PASSED:
        raise SystemExit("\n".join(found[0].log))
    return seconds


def _artifact(graph, folder: Path):
    from exporter import inputs, onnx
    from exporter.validation import Artifact

    path = folder / f"{graph.file}.onnx"
    return Artifact(graph=graph, path=path, traced=inputs.trace_sizes(graph), **onnx.openers(path))


def _timed(step: Callable[[], object]) -> Seconds:
    clock, processor = time.perf_counter(), time.process_time()
    step()
    return {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}


def measure(name: str, place: Path) -> dict[str, float]:
    """Medians for one model."""
    from benchmarks import checkpoints

    checkpoint = checkpoints.write(name, place / "checkpoint")
    found: dict[str, list[Seconds]] = {"export": [], "validate": []}
    for run in range(RUNS):
        folder = place / f"run-{run}"
        folder.mkdir()
        for step, all_seconds in found.items():
            command = [sys.executable, "-m", "benchmarks.validation_time", "--one", step, str(checkpoint), str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            all_seconds.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        f"{step}_{kind}": statistics.median(each[kind] for each in all_seconds)
        for step, all_seconds in found.items()
        for kind in ("clock", "processor")
    }
    ratios = {
        f"ratio_{kind}": medians[f"validate_{kind}"] / medians[f"export_{kind}"] for kind in ("clock", "processor")
    }
    return {key: round(value, 2) for key, value in (medians | ratios).items()} | {"threads": threads()}


def threads() -> int:
    """Threads inside an operator of the eager model, in each of the processes."""
    import torch

    return torch.get_num_threads()


def main(names: list[str]) -> None:
    """Measure, print and keep."""
    from benchmarks.checkpoints import BASE_SIZE

    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names or BASE_SIZE:
        with tempfile.TemporaryDirectory() as place:
            results[name] = measure(name, Path(place))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(
            "{0}: export {export_clock:.1f} s, validation {validate_clock:.1f} s, ratio {ratio_clock:.2f} "
            "(processor: {ratio_processor:.2f})".format(name, **results[name]),
            flush=True,
        )
    late = [name for name, found in results.items() if found["ratio_clock"] > TARGET]
    print(f"Beyond {TARGET} times the export: {', '.join(late) or 'none'}. Written: {RESULTS.name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        step = {"export": export, "validate": validate}[sys.argv[2]]
        print(json.dumps(step(Path(sys.argv[3]), Path(sys.argv[4]))))
    else:
        main(sys.argv[1:])
