"""What crosses the border between the run and its workers: frozen records, as JSON bytes in both directions.

Never pickle. The parent holds the token, and unpickling what model code wrote would hand it over. A step is a function
in `exporter.pipeline.steps` that takes one of the requests and returns the matching reply:

======================  ==============================  ===========================
step                    request                         reply
======================  ==============================  ===========================
``inspect``             `InspectRequest`                `Inspection`
``export``              `ExportRequest`                 `ExportReply`
``validate``            `ValidateRequest`               `exporter.results.Validation`
======================  ==============================  ===========================

A step that can't do its work raises `exporter.results.ExportError`; its problem travels back as JSON too.
Paths are absolute. Options are plain JSON values, straight from the manifest.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from exporter.results import FormatResult

__all__ = [
    "CheckpointRequest",
    "ExportReply",
    "ExportRequest",
    "InspectRequest",
    "Inspection",
    "ValidateRequest",
]


class Message(BaseModel):
    """Base of what crosses the border. An unknown key is an error: both sides are of the same version."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class CheckpointRequest(Message):
    """Which model to load, and what its folder may run.

    Attributes:
        path: Folder of the checkpoint on this machine.
        task: As in the manifest; None means: from the checkpoint's ``architectures``.
        custom_config: ``file.py:Class`` with an absolute path to the file, or None.
        allow_custom_code: Whether `custom_config` may be imported.
        allow_remote_code: Whether Python files beside the checkpoint may be imported.
        revision: Commit that a Hub id resolved to; empty for a folder.
    """

    path: str
    task: str | None = None
    custom_config: str | None = None
    allow_custom_code: bool = False
    allow_remote_code: bool = False
    revision: str = ""


class InspectRequest(Message):
    """Look at a checkpoint before anything is converted; cheap, so without its weights.

    Attributes:
        onnx_options: Options of the ONNX format, which decide the order of engines; None when ONNX is not asked for.
    """

    checkpoint: CheckpointRequest
    onnx_options: dict[str, Any] | None = None


class Inspection(Message):
    """What a checkpoint is. Known before the first export, so that a crash in it still leaves something to report.

    Attributes:
        task: Canonical task, inferred where the manifest names none.
        model_type: ``model_type`` of its config.
        architecture: ``registered``, ``inferred`` or ``custom``.
        parameters: Number of parameters, None when it can't be told without loading.
        engines: ONNX engines in the order in which they are tried: one, unless the options say ``auto``. Empty when
            ONNX is not asked for.
        notes: What a person should know, such as a missing preprocessor.
    """

    task: str
    model_type: str
    architecture: str = ""
    parameters: int | None = None
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ExportRequest(Message):
    """Convert a checkpoint into an artifact in an existing empty folder.

    Attributes:
        engine: ``auto`` or the name of an ONNX engine; empty for TorchScript.
        options: Options of the format, as in the manifest.
        directory: Where the model file, the preprocessor and ``artifact.json`` go.
    """

    checkpoint: CheckpointRequest
    format: Literal["onnx", "torchscript"]
    engine: str = ""
    options: dict[str, Any] = {}
    directory: str


class ExportReply(Message):
    """An export that came to an end; nothing is judged yet.

    Attributes:
        result: ``passed`` means exported. Engine, opset, dtype, inputs, outputs and notes are filled; the files are
            listed by the run, after the worker is gone.
        engines: The order that `auto` would try, the one that was used included.
    """

    result: FormatResult
    task: str = ""
    model_type: str = ""
    architecture: str = ""
    parameters: int | None = None
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ValidateRequest(Message):
    """Judge an artifact against the checkpoint it came from.

    Attributes:
        directory: Folder of the artifact.
        options: ``validate`` of the manifest: atol, rtol, reason, samples (absolute path), quick ...
        export_options: Options of the format that the export was given, such as the traced sizes.
        command: What a person types to ask the same; empty where there is no such thing.
    """

    checkpoint: CheckpointRequest
    format: Literal["onnx", "torchscript"]
    directory: str
    command: str = ""
    options: dict[str, Any] = {}
    export_options: dict[str, Any] = {}
