"""What runs inside a worker: load a checkpoint, export it, judge an artifact. The only module here that reaches torch.

Workers resolve these functions by name, so that nothing that starts fast imports them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from exporter import architectures, checkpoint_files, inputs, onnx, torchscript
from exporter.architectures import Architecture, Graph
from exporter.checkpoint import Checkpoint, load
from exporter.eager import GraphModule
from exporter.pipeline.artifact import ArtifactFile, read_artifact, write_artifact
from exporter.pipeline.messages import (
    CheckpointRequest,
    ExportReply,
    ExportRequest,
    Inspection,
    InspectRequest,
    ValidateRequest,
)
from exporter.results import ExportError, FormatResult, Status, Validation
from exporter.runner import Runner
from exporter.validation import Artifact, Asked, Settings, Subject, validate_artifact

__all__ = ["default_opset", "export", "inspect", "validate"]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint with the description that fits it."""

    checkpoint: Checkpoint
    architecture: Architecture
    origin: str

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.checkpoint.model.parameters())


def inspect(request: InspectRequest) -> Inspection:
    """What a checkpoint is, from its files alone."""
    found = checkpoint_files.inspect(Path(request.checkpoint.path), request.checkpoint.task)
    engines: tuple[str, ...] = ()
    if request.onnx_options is not None:
        engines = onnx.engine_order(found.model_type, found.parameters or 0, _onnx_options(request.onnx_options))
    return Inspection(
        task=_feature(found.task.name, found.with_past),
        model_type=found.model_type,
        parameters=found.parameters,
        engines=engines,
    )


def default_opset(request: CheckpointRequest) -> int:
    """The opset that the documented Python API chooses for this checkpoint."""
    found = checkpoint_files.inspect(Path(request.path), request.task)
    described = architectures.find(found.model_type, found.task.name)
    return described.default_onnx_opset if described else onnx.OnnxConfig.default_onnx_opset


def export(request: ExportRequest) -> ExportReply:
    """Convert a checkpoint and write the folder of its artifact."""
    loaded = _load(request.checkpoint, request.options.get("dtype", "float32"), without_past=request.format != "onnx")
    directory = Path(request.directory)
    write = _export_onnx if request.format == "onnx" else _export_torchscript
    artifact, engines = write(loaded, request, directory)
    _save_companions(loaded.checkpoint, directory)
    write_artifact(directory, artifact)
    runner = _open(request.format, directory / artifact.files[0])
    return ExportReply(
        result=FormatResult(
            format=request.format,
            status=Status.PASSED,
            engine=artifact.engine,
            opset=artifact.opset,
            dtype=artifact.dtype,
            inputs=runner.inputs,
            outputs=runner.outputs,
        ),
        task=artifact.task,
        model_type=artifact.model_type,
        architecture=loaded.origin,
        parameters=loaded.parameters,
        engines=engines,
        notes=loaded.checkpoint.notes,
    )


def validate(request: ValidateRequest) -> Validation:
    """Judge an artifact against its checkpoint, which is loaded anew for that."""
    place = Path(request.directory)
    ours = read_artifact(place) if place.is_dir() else None
    dtype = ours.dtype if ours else "float32"
    checkpoint = request.checkpoint
    if ours and not checkpoint.task:
        checkpoint = checkpoint.model_copy(update={"task": ours.task})
    loaded = _load(checkpoint, dtype, without_past=request.format != "onnx")
    graphs = _fixed(loaded.architecture.graphs, request.export_options)
    files = [place / name for name in ours.files] if ours else [place]
    subject = Subject(
        load=partial(_fresh_model, checkpoint, dtype, request.format != "onnx"),
        architecture=loaded.architecture,
        artifacts=tuple(
            _artifact(request.format, graph, file, ours) for graph, file in zip(graphs, files, strict=bool(ours))
        ),
        format=request.format,
        preprocessor=loaded.checkpoint.preprocessor,
        asked=_asked(ours) if ours else None,
    )
    return validate_artifact(subject, Settings(**_settings(request.options)))


def _export_onnx(loaded: Loaded, request: ExportRequest, directory: Path) -> tuple[ArtifactFile, tuple[str, ...]]:
    options = _onnx_options(request.options | {"engine": request.engine})
    model, graphs = loaded.checkpoint.model, _fixed(loaded.architecture.graphs, request.options)
    engines = onnx.engine_order(loaded.architecture.config.model_type, loaded.parameters, options)
    chosen = onnx.OnnxOptions(opset=options.opset, engine=engines[0])
    files = onnx.export_graphs(model, graphs, chosen, directory)
    traced = {graph.file: inputs.trace_sizes(graph) for graph in graphs}
    return _described(loaded, request, files, traced, chosen), engines


def _fixed(graphs: tuple[Graph, ...], options: dict[str, Any]) -> tuple[Graph, ...]:
    axes = {name: size for name, size in (options.get("axes") or {}).items() if isinstance(size, int)}
    return architectures.fix_axes(graphs, axes)


def _onnx_options(written: dict[str, Any]) -> onnx.OnnxOptions:
    return onnx.OnnxOptions(opset=written.get("opset", 18), engine=written.get("engine") or "auto")


def _export_torchscript(
    loaded: Loaded, request: ExportRequest, directory: Path
) -> tuple[ArtifactFile, tuple[str, ...]]:
    options = torchscript.TorchScriptOptions(
        **{
            key: value
            for key, value in request.options.items()
            if key in torchscript.TorchScriptOptions.__annotations__
        }
    )
    graph = loaded.architecture.graphs[0]
    sizes = torchscript.traced_sizes(graph, loaded.architecture.axis("sequence").maximum, options)
    path = directory / f"{graph.file}.pt"
    torchscript.export_graph(GraphModule(loaded.checkpoint.model, graph), options, path, sizes)
    return _described(loaded, request, (path,), {graph.file: sizes}, None, options.fixed_sizes), ()


def _described(
    loaded: Loaded,
    request: ExportRequest,
    files: tuple[Path, ...],
    traced: dict[str, dict[str, int]],
    options: onnx.OnnxOptions | None,
    fixed_sizes: bool = False,
) -> ArtifactFile:
    return ArtifactFile(
        format=request.format,
        task=_feature(loaded.architecture.task, loaded.architecture.use_past),
        model_type=loaded.architecture.config.model_type,
        files=tuple(path.name for path in files),
        traced=traced,
        engine=options.engine if options else "trace",
        opset=options.opset if options else None,
        dtype=request.options.get("dtype", "float32"),
        fixed_sizes=fixed_sizes,
    )


def _load(request: CheckpointRequest, dtype: str, without_past: bool) -> Loaded:
    checkpoint = load(
        Path(request.path),
        task=request.task,
        dtype=dtype,
        allow_remote_code=request.allow_remote_code,
        revision=request.revision,
    )
    use_past = checkpoint.with_past and not without_past
    architecture, origin = _describe(checkpoint, request, use_past)
    return Loaded(checkpoint, architecture, origin)


def _describe(checkpoint: Checkpoint, request: CheckpointRequest, use_past: bool) -> tuple[Architecture, str]:
    """The description that fits, and where it is from: the user's own, ours for the type, or the model itself."""
    config, task = checkpoint.config, checkpoint.task.name
    if request.custom_config:
        if not request.allow_custom_code:
            raise ExportError(
                "custom-code", "`config:` would run code of this repository.", "Allow it with `--allow-custom-code`."
            )
        file, _, class_name = request.custom_config.rpartition(":")
        feature = _feature(task, use_past)
        return onnx.load_custom_config(Path(file), class_name)(config, feature), "custom"
    return architectures.describe(config, task, use_past), "registered"


def _fresh_model(request: CheckpointRequest, dtype: str, without_past: bool) -> nn.Module:
    model: nn.Module = _load(request, dtype, without_past).checkpoint.model
    return model


def _artifact(format_name: str, graph: Graph, path: Path, ours: ArtifactFile | None) -> Artifact:
    return Artifact(
        graph=graph,
        path=path,
        open=partial(_open, format_name, path),
        traced=ours.traced.get(graph.file, {}) if ours else {},
        open_plain=partial(onnx.open_model, path, optimise=False) if format_name == "onnx" else None,
    )


def _asked(ours: ArtifactFile) -> Asked:
    return Asked(
        opset=ours.opset, dtype=ours.dtype, fixed_sizes=ours.fixed_sizes, traced_sizes_only=ours.format == "torchscript"
    )


def _open(format_name: str, path: Path) -> Runner:
    return onnx.open_model(path) if format_name == "onnx" else torchscript.open_model(path)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in options.items() if key in asdict(Settings()) and value is not None}
    if samples := options.get("samples"):
        known["samples"] = tuple(Path(each) for each in ([samples] if isinstance(samples, str) else samples))
    return known


def _save_companions(checkpoint: Checkpoint, directory: Path) -> None:
    """Config, generation config and preprocessor beside the model, so that the folder loads as a model repository."""
    checkpoint.config.save_pretrained(directory)
    generation = getattr(checkpoint.model, "generation_config", None)
    if generation is not None and checkpoint.model.can_generate():
        generation.save_pretrained(directory)
    if checkpoint.preprocessor is not None:
        checkpoint.preprocessor.save_pretrained(directory)


def _feature(task: str, with_past: bool) -> str:
    return f"{task}-with-past" if with_past else task
