"""From the folder of an artifact, or anyone's file, to what the judge takes; runs in workers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from exporter import onnx, torchscript
from exporter.architectures import Architecture, Graph
from exporter.pipeline.artifact import ARTIFACT_FILE, ArtifactFile, read_artifact
from exporter.pipeline.loading import load_described
from exporter.pipeline.messages import CheckpointRequest, ValidateRequest
from exporter.pipeline.strangers import graphs_in, model_files
from exporter.pipeline.writing import fixed_graphs
from exporter.runner import Runner
from exporter.validation import Artifact, Asked, Settings, Subject

__all__ = ["open_file", "settings", "subject"]


@dataclass(frozen=True)
class _Part:
    """A file, or a branch of one, and the graph that it is to compute."""

    format: str
    graph: Graph
    path: Path
    branch: bool = False


def subject(request: ValidateRequest) -> Subject:
    """What is judged: the files, and the checkpoint loaded anew for that.

    Raises:
        ExportError: The folder is none of ours, or the checkpoint is unusable.
    """
    place = Path(request.directory)
    ours = read_artifact(place) if (place / ARTIFACT_FILE).exists() else None
    checkpoint = request.checkpoint
    if ours and not checkpoint.task:
        checkpoint = checkpoint.model_copy(update={"task": ours.task})
    dtype = ours.dtype if ours else "float32"
    loaded = load_described(checkpoint, dtype, request.format == "onnx")
    architecture = loaded.architecture
    if ours:
        graphs = {graph.file: graph for graph in fixed_graphs(architecture.graphs, request.export_options)}
        artifacts = [
            _artifact(_Part(request.format, graphs[each.graph], place / each.path, each.branch), ours)
            for each in ours.files
        ]
    else:
        architecture, artifacts = _strange(place, request.format, architecture)
    return Subject(
        load=partial(_fresh_model, checkpoint, dtype, request.format == "onnx"),
        architecture=architecture,
        artifacts=tuple(artifacts),
        format=request.format,
        preprocessor=loaded.checkpoint.preprocessor,
        asked=_asked(ours) if ours else None,
        command=request.command,
    )


def _strange(place: Path, format_name: str, architecture: Architecture) -> tuple[Architecture, list[Artifact]]:
    """A stranger's files as parts of the model, and the description that they are parts of."""
    files = model_files(place, format_name)
    found = [(file, *each) for file in files for each in graphs_in(file, format_name, architecture)]
    artifacts = [_artifact(_Part(format_name, graph, file, branch)) for file, _, graph, branch in found]
    if format_name == "torchscript":
        # Ours agree with eager to the bit. Of others, float64 tells rounding from a fault.
        artifacts = [replace(each, open_double=partial(_open_double, each.path)) for each in artifacts]
    return found[0][1], artifacts


def _open_double(path: Path, _: Collection[float]) -> Runner:
    return torchscript.open_double(path)


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


def _fresh_model(request: CheckpointRequest, dtype: str, cache_allowed: bool) -> nn.Module:
    model: nn.Module = load_described(request, dtype, cache_allowed).checkpoint.model
    return model


def _artifact(part: _Part, ours: ArtifactFile | None = None) -> Artifact:
    graph, path = part.graph, part.path
    traced = ours.traced.get(graph.file, {}) if ours else {}
    if part.format == "onnx":
        ways = onnx.openers(path, graph if part.branch else None)
        return Artifact(graph=graph, path=path, traced=traced, **ways)
    return Artifact(graph=graph, path=path, open=partial(open_file, part.format, path), traced=traced)


def _asked(ours: ArtifactFile) -> Asked:
    return Asked(
        opset=ours.opset,
        dtype=ours.dtype,
        traced_sizes_only=ours.format == "torchscript",
        fixed_sizes=ours.fixed_sizes,
    )
