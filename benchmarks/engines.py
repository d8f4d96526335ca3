"""Measure the ways from a checkpoint to an ONNX file, each in a fresh process, in turn.

    python benchmarks/engines.py examples/minilm/model [FOLDER...]  > benchmarks/results/engines.md

``hf`` is ``transformers.exporters.OnnxExporter``, measured beside our two engines to say why it is none of them.
Machines are noisy: read the ratios.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3
ENGINES = ("legacy", "dynamo", "hf")


def measure(folder: str, engine: str) -> dict[str, float | int | str]:
    """Export once, in this process: seconds, resident memory it took, nodes, bytes, axes of the first input."""
    import onnx
    import torch

    from exporter import architectures, inputs
    from exporter.checkpoint import load
    from exporter.onnx import OnnxOptions, export_graphs

    checkpoint = load(Path(folder))
    described = architectures.describe(checkpoint.config, checkpoint.task.name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        if engine == "hf":
            from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

            sample = inputs.trace_sample(described.graphs[0], checkpoint.config)
            tensors = {name: torch.from_numpy(array) for name, array in sample.items()}
            exported = OnnxExporter().export(
                checkpoint.model, tensors, config=OnnxConfig(dynamic=True, opset_version=18)
            )
            exported.save_pretrained(place)
        else:
            export_graphs(checkpoint.model, described.graphs, OnnxOptions(18, engine), Path(place))
        seconds = time.perf_counter() - begin
        files = [path for path in Path(place).iterdir() if path.name.startswith("model.onnx")]
        graph = onnx.load(str(Path(place) / "model.onnx"), load_external_data=False).graph
        return {
            "seconds": seconds,
            "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
            "nodes": len(graph.node),
            "bytes": sum(path.stat().st_size for path in files),
            "axes": ", ".join(dim.dim_param or str(dim.dim_value) for dim in graph.input[0].type.tensor_type.shape.dim),
        }


def main(folders: list[str]) -> None:
    """Print the table."""
    print("# Engines, side by side\n")
    print(f"`python benchmarks/engines.py {' '.join(folders)}`: median of {RUNS}, a process each, in turn.\n")
    print("| checkpoint | engine | seconds | against dynamo | memory, MB | nodes | file, MB | axes of input 1 |")
    print("|:--|:--|--:|--:|--:|--:|--:|:--|")
    for folder in folders:
        found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
        for _ in range(RUNS):
            for engine in ENGINES:
                command = [sys.executable, __file__, "--one", folder, engine]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[engine].append(json.loads(done.stdout.splitlines()[-1]))
        seconds = {engine: statistics.median(run["seconds"] for run in runs) for engine, runs in found.items()}
        for engine, runs in found.items():
            last = runs[-1]
            memory = statistics.median(run["megabytes"] for run in runs)
            print(
                f"| {Path(folder).name if Path(folder).name != 'model' else Path(folder).parent.name} | {engine} "
                f"| {seconds[engine]:.1f} | {seconds[engine] / seconds['dynamo']:.2f} | {memory:.0f} "
                f"| {last['nodes']} | {last['bytes'] / 1e6:.1f} | {last['axes']} |"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3])))
    else:
        main(sys.argv[1:])
