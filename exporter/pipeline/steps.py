"""What runs inside a worker: look at a checkpoint, export it, judge an artifact.

Workers resolve these functions by name, so that nothing that starts fast imports them. Importing this module starts no
thread and computes nothing: the fork server imports it once for all workers.
"""

from __future__ import annotations

from pathlib import Path

from exporter import architectures, checkpoint_files, onnx
from exporter.pipeline.artifact import ArtifactFile
from exporter.pipeline.judging import open_file, settings, subject
from exporter.pipeline.loading import Loaded, feature, load_described
from exporter.pipeline.messages import (
    CheckpointRequest,
    ExportReply,
    ExportRequest,
    Inspection,
    InspectRequest,
    ValidateRequest,
)
from exporter.pipeline.trial import refuse_unrunnable
from exporter.pipeline.writing import onnx_options, write_onnx, write_torchscript
from exporter.results import FormatResult, Status, Validation
from exporter.validation import validate_artifact

__all__ = ["default_opset", "export", "inspect", "validate"]


def inspect(request: InspectRequest) -> Inspection:
    """What a checkpoint is, from its files alone."""
    found = checkpoint_files.inspect(Path(request.checkpoint.path), request.checkpoint.task)
    engines: tuple[str, ...] = ()
    if request.onnx_options is not None:
        engines = onnx.engine_order(found.model_type, found.parameters or 0, onnx_options(request.onnx_options))
    return Inspection(
        task=feature(found.task.name, found.with_past),
        model_type=found.model_type,
        parameters=found.parameters,
        engines=engines,
    )


def default_opset(request: CheckpointRequest) -> int:
    """The opset that is documented for this type of checkpoint; for a type that nobody described, a manifest's."""
    found = checkpoint_files.inspect(Path(request.path), request.task)
    described = architectures.find(found.model_type, found.task.name)
    return described.default_onnx_opset if described else onnx.OnnxOptions().opset


def export(request: ExportRequest) -> ExportReply:
    """Convert a checkpoint and write the folder of its artifact."""
    loaded = load_described(request.checkpoint, request.options.get("dtype", "float32"), request.format == "onnx")
    if loaded.origin == "inferred":
        refuse_unrunnable(loaded)
    artifact, engines = (write_onnx if request.format == "onnx" else write_torchscript)(loaded, request)
    runner = open_file(request.format, Path(request.directory) / artifact.files[-1].path)
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
        notes=loaded.checkpoint.notes + _unmerged(loaded, artifact),
    )


def _unmerged(loaded: Loaded, artifact: ArtifactFile) -> tuple[str, ...]:
    """What to note where two decoders should be one file and aren't."""
    if artifact.format != "onnx" or loaded.architecture.merged is None or any(file.branch for file in artifact.files):
        return ()
    return ("The decoder's two files could not be merged into one; clients load the two as well.",)


def validate(request: ValidateRequest) -> Validation:
    """Judge an artifact against its checkpoint, which is loaded anew for that."""
    judged = subject(request)
    options = request.options
    own = judged.architecture.atol_for_validation
    if own is not None and options.get("atol") is None:
        options = {**options, "atol": own, "reason": f"`atol_for_validation` of {type(judged.architecture).__name__}"}
    return validate_artifact(judged, settings(options))
