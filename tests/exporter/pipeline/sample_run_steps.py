"""Steps of a run whose models do as ``behaviour.json`` in their checkpoint says.

``{"export legacy": "raise", "validate legacy": "fail"}``: by step and engine, what happens; nothing means: it works.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from exporter.pipeline.messages import (
    CheckpointRequest,
    ExportReply,
    ExportRequest,
    Inspection,
    InspectRequest,
    ValidateRequest,
)
from exporter.results import CaseResult, Check, ExportError, FormatResult, Status, TensorInfo, Validation


def inspect(request: InspectRequest) -> Inspection:
    behaviour = _behave(request.checkpoint, "inspect")
    return Inspection(
        task=request.checkpoint.task or "default",
        model_type="bert",
        engines=() if behaviour == "no-engines" else ("legacy", "dynamo"),
        notes=("no tokenizer",),
    )


def export(request: ExportRequest) -> ExportReply:
    name = f"export {request.engine or request.format}"
    print(f"exporting {request.format}")
    directory = Path(request.directory)
    behaviour = _behave(request.checkpoint, name)
    file = "model.onnx" if request.format == "onnx" else "model.pt"
    (directory / file).write_text(f"{request.engine} {json.dumps(request.options, sort_keys=True)}")
    (directory / "artifact.json").write_text("{}")
    if behaviour == "link":
        (directory / "config.json").symlink_to("/etc/passwd")
    elif behaviour == "more-files":
        (directory / "weights").mkdir()
        (directory / "weights" / "part").write_text("data")
    result = FormatResult(
        # What a worker has no say in is wrong on purpose.
        format="neuron",
        status=Status.PASSED,
        engine=request.engine,
        opset=request.options.get("opset"),
        inputs=(TensorInfo(name="input_ids", dtype="int64", shape=("batch", "sequence")),),
        cached=True,
    )
    return ExportReply(
        result=result,
        task="default",
        model_type="bert",
        architecture="registered",
        parameters=7,
        notes=("no tokenizer",),
    )


def validate(request: ValidateRequest) -> Validation:
    artifact = next(path for path in Path(request.directory).iterdir() if path.stem == "model")
    engine = artifact.read_text().split(" ")[0]
    behaviour = _behave(request.checkpoint, f"validate {engine or request.format}")
    if behaviour == "fail":
        return Validation(
            status=Status.FAILED, checks=(Check(name="names", status=Status.FAILED, message="no logits"),)
        )
    if behaviour == "unverified":
        return Validation(status=Status.UNVERIFIED)
    return Validation(
        status=Status.PASSED,
        cases=(CaseResult(case="traced", status=Status.PASSED, sizes={"batch": 2}),),
        notes=(json.dumps(request.options, sort_keys=True),),
    )


def _behave(checkpoint: CheckpointRequest, step: str) -> str:
    """Do what the checkpoint says for this step; what is left to the step is returned."""
    path = Path(checkpoint.path) / "behaviour.json"
    behaviour = json.loads(path.read_text()).get(step, "") if path.exists() else ""
    if behaviour == "raise":
        raise ValueError(f"{step} can't")
    if behaviour == "refuse":
        raise ExportError("lfs-pointer", f"{step}: weights are a pointer.", "Fetch them.")
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "hang":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)
    if behaviour == "slow":
        time.sleep(1.0)
    if behaviour == "no-space":
        raise OSError(28, "No space left on device", "model.onnx")
    if behaviour == "leave":
        sys.exit(3)
    return behaviour
