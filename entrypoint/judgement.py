"""The second look as a command: one file, one checkpoint, one verdict."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from entrypoint.exits import Exit
from entrypoint.render.escape import visible
from exporter.pipeline.fetch import checkpoint_folder
from exporter.pipeline.messages import CheckpointRequest, ValidateRequest
from exporter.pipeline.pool import Call, PoolOptions, WorkerPool
from exporter.pipeline.replay import replay_command
from exporter.results import ExportError, Status, Validation

__all__ = ["Question", "judge"]

_SUFFIXES: dict[str, Literal["onnx", "torchscript"]] = {".onnx": "onnx", ".pt": "torchscript", ".pth": "torchscript"}


@dataclass(frozen=True)
class Question:
    """What is asked: does this artifact compute what that checkpoint computes?

    Attributes:
        artifact: A folder of ours, or a model file or folder of anyone's.
        model: Folder or Hub id of the checkpoint.
        revision: Revision of a Hub id.
        task: Task in either spelling; None when the artifact's folder knows it.
        options: ``atol``, ``case``, ``quick``.
    """

    artifact: Path
    model: str
    revision: str
    task: str | None
    options: dict[str, Any]


def judge(question: Question, json_file: Path | None) -> Exit:
    """Print the verdict, and say it as an exit code.

    Raises:
        ExportError: The question can't be asked: no such file, no such checkpoint.
    """
    kind = _format(question.artifact)
    folder, commit = checkpoint_folder(question.model, question.revision)
    request = ValidateRequest(
        checkpoint=CheckpointRequest(path=str(folder), task=question.task, revision=commit),
        format=kind,
        directory=str(question.artifact.resolve()),
        command=_command(question),
        options={key: value for key, value in question.options.items() if value not in (None, "")},
    )
    try:
        verdict = _ask(request)
    except ExportError as error:
        problem = error.problem
        click.echo("\n".join(map(visible, filter(None, (problem.message, problem.hint)))), err=True)
        return Exit.MODEL_FAILED
    if json_file is not None:
        json_file.write_text(verdict.model_dump_json(indent=2) + "\n", encoding="utf-8")
    click.echo("\n".join(map(visible, verdict.log)))
    if verdict.diverges_at:
        click.echo(visible(f"First module that differs: {verdict.diverges_at}"))
    if verdict.replay:
        click.echo(visible(f"To see it again: {verdict.replay}"))
    for note in verdict.notes:
        click.echo(visible(f"Note: {note}"), err=True)
    return Exit.OK if verdict.status is Status.PASSED else Exit.MODEL_FAILED


def _command(question: Question) -> str:
    atol = question.options.get("atol")
    return replay_command(question.artifact, question.model, question.revision, question.task, atol)


def _ask(request: ValidateRequest) -> Validation:
    with (
        tempfile.TemporaryDirectory(prefix="export-action-") as scratch,
        WorkerPool(PoolOptions(Path(scratch))) as pool,
    ):
        call = Call("exporter.pipeline.steps:validate", request, Path(scratch) / "log.txt")
        return pool.call(call, Validation, threading.Event())


def _format(artifact: Path) -> Literal["onnx", "torchscript"]:
    if not artifact.exists():
        raise ExportError("no-artifact", f"there is no {artifact}.", "Name a model file, or its folder.")
    if artifact.is_dir():
        return _format_of_folder(artifact)
    kind = _SUFFIXES.get(artifact.suffix)
    if kind is None:
        raise ExportError(
            "no-artifact", f"{artifact.name} is neither ONNX nor TorchScript by its name.", "Known: .onnx, .pt, .pth."
        )
    return kind


def _format_of_folder(folder: Path) -> Literal["onnx", "torchscript"]:
    """What a folder says that it holds, or else what its files are by their names, ONNX first."""
    from exporter.pipeline.artifact import ARTIFACT_FILE, read_artifact

    kinds = {_SUFFIXES.get(file.suffix) for file in folder.iterdir()}
    if (folder / ARTIFACT_FILE).exists() or not kinds - {None}:
        return "onnx" if read_artifact(folder).format == "onnx" else "torchscript"
    return "onnx" if "onnx" in kinds else "torchscript"
