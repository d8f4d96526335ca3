"""From the folder of an artifact, or anyone's file, to what the judge takes; runs in workers."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from exporter import onnx, torchscript
from exporter.architectures import Graph
from exporter.pipeline.artifact import ArtifactFile, GraphFile, read_artifact
from exporter.pipeline.loading import load_described
from exporter.pipeline.messages import CheckpointRequest, ValidateRequest
from exporter.pipeline.writing import fixed_graphs
from exporter.runner import Runner
from exporter.validation import Artifact, Asked, Settings, Subject

__all__ = ["open_file", "settings", "subject"]


def subject(request: ValidateRequest) -> Subject:
    """What is judged: the files, and the checkpoint loaded anew for that.

    Raises:
        ExportError: The folder is none of ours, or the checkpoint is unusable.
    """
    place = Path(request.directory)
    ours = read_artifact(place) if place.is_dir() else None
    checkpoint = request.checkpoint
    if ours and not checkpoint.task:
        checkpoint = checkpoint.model_copy(update={"task": ours.task})
    dtype = ours.dtype if ours else "float32"
    loaded = load_described(checkpoint, dtype, request.format == "onnx")
    graphs = {graph.file: graph for graph in fixed_graphs(loaded.architecture.graphs, request.export_options)}
    if ours:
        files = [(each, place / each.path) for each in ours.files]
    else:
        files = [(GraphFile(graph=_graph_of(place, graphs), path=place.name), place)]
    return Subject(
        load=partial(_fresh_model, checkpoint, dtype, request.format == "onnx"),
        architecture=loaded.architecture,
        artifacts=tuple(_artifact(request.format, graphs[file.graph], file, path, ours) for file, path in files),
        format=request.format,
        preprocessor=loaded.checkpoint.preprocessor,
        asked=_asked(ours) if ours else None,
    )


def settings(options: dict[str, Any]) -> Settings:
    """The settings that a manifest or a command line wrote."""
    known = {field.name for field in fields(Settings)}
    written = {key: value for key, value in options.items() if key in known and value is not None}
    if samples := options.get("samples"):
        written["samples"] = tuple(Path(each) for each in ([samples] if isinstance(samples, str) else samples))
    return Settings(**written)


def open_file(format_name: str, path: Path) -> Runner:
    """Open a file as users run it."""
    return onnx.open_model(path) if format_name == "onnx" else torchscript.open_model(path)


def _graph_of(file: Path, graphs: dict[str, Graph]) -> str:
    """Which of a model's graphs a stranger's file is: by its name, as clients know it, else the first."""
    return file.stem if file.stem in graphs else next(iter(graphs))


def _fresh_model(request: CheckpointRequest, dtype: str, cache_allowed: bool) -> nn.Module:
    model: nn.Module = load_described(request, dtype, cache_allowed).checkpoint.model
    return model


def _artifact(format_name: str, graph: Graph, file: GraphFile, path: Path, ours: ArtifactFile | None) -> Artifact:
    traced = ours.traced.get(graph.file, {}) if ours else {}
    if file.branch:
        opened, plain = partial(onnx.open_branch, path, graph), partial(onnx.open_branch, path, graph, False)
        return Artifact(graph=graph, path=path, open=opened, traced=traced, open_plain=plain)
    if format_name != "onnx":
        return Artifact(graph=graph, path=path, open=partial(torchscript.open_model, path), traced=traced)
    return Artifact(
        graph=graph,
        path=path,
        open=partial(onnx.open_model, path),
        traced=traced,
        open_plain=partial(onnx.open_model, path, optimise=False),
        open_double=partial(onnx.open_double, path),
        open_probe=partial(onnx.open_probe, path),
    )


def _asked(ours: ArtifactFile) -> Asked:
    return Asked(
        opset=ours.opset,
        dtype=ours.dtype,
        traced_sizes_only=ours.format == "torchscript",
        fixed_sizes=ours.fixed_sizes,
    )
