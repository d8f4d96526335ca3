"""From a loaded checkpoint to the files of an artifact; runs in workers."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from exporter import architectures, inputs, onnx, torchscript
from exporter.architectures import Graph
from exporter.checkpoint import Checkpoint
from exporter.eager import GraphModule
from exporter.pipeline.artifact import ArtifactFile, GraphFile, write_artifact
from exporter.pipeline.loading import Loaded, feature
from exporter.pipeline.messages import ExportRequest
from exporter.results import ExportError

__all__ = ["fixed_graphs", "onnx_options", "write_onnx", "write_torchscript"]


def onnx_options(written: dict[str, Any]) -> onnx.OnnxOptions:
    """The options of a manifest that the exporter knows."""
    return onnx.OnnxOptions(opset=written.get("opset", 18), engine=written.get("engine") or "auto")


def fixed_graphs(graphs: tuple[Graph, ...], options: dict[str, Any]) -> tuple[Graph, ...]:
    """The graphs with the axes that the manifest fixes."""
    sizes = {name: size for name, size in (options.get("axes") or {}).items() if isinstance(size, int)}
    return architectures.fix_axes(graphs, sizes)


def write_onnx(loaded: Loaded, request: ExportRequest) -> tuple[ArtifactFile, tuple[str, ...]]:
    """Write the ONNX files of a model, with what belongs beside them.

    Returns:
        What was written, and the engines in the order that ``auto`` tries them.
    """
    directory = Path(request.directory)
    options = onnx_options(request.options | {"engine": request.engine})
    graphs = fixed_graphs(loaded.architecture.graphs, request.options)
    engines = onnx.engine_order(loaded.architecture.config.model_type, loaded.parameters, options)
    chosen = onnx.OnnxOptions(opset=options.opset, engine=engines[0])
    paths = onnx.export_graphs(loaded.checkpoint.model, graphs, chosen, directory)
    files = tuple(GraphFile(graph=graph.file, path=path.name) for graph, path in zip(graphs, paths, strict=True))
    merged = loaded.architecture.merged
    if merged is not None:
        files = _merge(directory, merged, files, keep=bool(request.options.get("separate_decoders")))
    artifact = ArtifactFile(
        format="onnx",
        task=feature(loaded.architecture.task, loaded.architecture.use_past),
        model_type=loaded.architecture.config.model_type,
        files=files,
        traced={graph.file: inputs.trace_sizes(graph) for graph in graphs},
        engine=chosen.engine,
        opset=chosen.opset,
        dtype=request.options.get("dtype", "float32"),
    )
    _finish(loaded.checkpoint, artifact, directory)
    return artifact, engines


def _merge(directory: Path, merged: Graph, files: tuple[GraphFile, ...], keep: bool) -> tuple[GraphFile, ...]:
    """Both decoders as the one file that clients load; the two are kept where that was asked for, or merging fails."""
    encoder, first, following = files
    path = directory / f"{merged.file}.onnx"
    try:
        onnx.merge_decoders(directory / first.path, directory / following.path, path, merged)
        onnx.open_model(path)
    except ExportError:
        for file in directory.glob(f"{path.name}*"):
            file.unlink()
        return files  # clients load the two as well
    whole = tuple(GraphFile(graph=each.graph, path=path.name, branch=True) for each in (first, following))
    if keep:
        return (*files, *whole)
    for each in (first, following):
        for file in directory.glob(f"{each.path}*"):
            file.unlink()
    return (encoder, *whole)


def write_torchscript(loaded: Loaded, request: ExportRequest) -> tuple[ArtifactFile, tuple[str, ...]]:
    """Write the TorchScript file of a model, with what belongs beside it."""
    directory = Path(request.directory)
    known = {field.name for field in fields(torchscript.TorchScriptOptions)}
    options = torchscript.TorchScriptOptions(**{key: each for key, each in request.options.items() if key in known})
    graph = loaded.architecture.graphs[0]
    sizes = torchscript.traced_sizes(graph, options)
    path = directory / f"{graph.file}.pt"
    torchscript.export_graph(GraphModule(loaded.checkpoint.model, graph), options, path, sizes)
    artifact = ArtifactFile(
        format="torchscript",
        task=loaded.architecture.task,
        model_type=loaded.architecture.config.model_type,
        files=(GraphFile(graph=graph.file, path=path.name),),
        traced={graph.file: sizes},
        engine="trace",
        fixed_sizes=options.fixed_sizes,
    )
    _finish(loaded.checkpoint, artifact, directory)
    return artifact, ()


def _finish(checkpoint: Checkpoint, artifact: ArtifactFile, directory: Path) -> None:
    """Config, generation config and preprocessor beside the model, so that the folder loads as a model repository."""
    checkpoint.config.save_pretrained(directory)
    generation = getattr(checkpoint.model, "generation_config", None)
    if generation is not None and checkpoint.model.can_generate():
        generation.save_pretrained(directory)
    if checkpoint.preprocessor is not None:
        checkpoint.preprocessor.save_pretrained(directory)
    write_artifact(directory, artifact)
