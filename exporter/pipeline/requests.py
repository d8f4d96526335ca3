"""From an entry of the manifest to what workers are asked: the one place that knows both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exporter.manifest import Entry
from exporter.pipeline.messages import CheckpointRequest, ExportRequest, InspectRequest, ValidateRequest
from exporter.pipeline.replay import replay_command, shown

__all__ = ["Permissions", "Requests", "WorkerFormat"]

WorkerFormat = Literal["onnx", "torchscript"]


@dataclass(frozen=True)
class Permissions:
    """What may run in a worker, and how thoroughly it judges.

    Attributes:
        custom_code: Whether the manifest's ``config`` may import code of the repository.
        remote_code: Whether checkpoints may bring code.
        quick: Whether the judge may leave out its expensive cases.
    """

    custom_code: bool = False
    remote_code: bool = False
    quick: bool = False


@dataclass(frozen=True)
class Requests:
    """The requests about one entry, whose checkpoint is at `folder` (from `commit`, for a Hub id)."""

    entry: Entry
    folder: Path
    commit: str
    permissions: Permissions

    def inspect(self) -> InspectRequest:
        """To look at the checkpoint."""
        onnx = self.entry.formats.onnx
        return InspectRequest(
            checkpoint=self._checkpoint(), onnx_options=None if onnx is None else onnx.model_dump(mode="json")
        )

    def export(self, format_name: WorkerFormat, engine: str, directory: Path) -> ExportRequest:
        """To convert it with one engine (empty for TorchScript) into the folder `directory`."""
        return ExportRequest(
            checkpoint=self._checkpoint(),
            format=format_name,
            engine=engine,
            options=self._options(format_name),
            directory=str(directory),
        )

    def validate(self, format_name: WorkerFormat, directory: Path) -> ValidateRequest:
        """To judge the artifact in the folder `directory`."""
        options = self.entry.validation.model_dump(mode="json", exclude_none=True)
        if self.entry.samples is not None:
            options["samples"] = str(self.entry.samples.path)
        return ValidateRequest(
            checkpoint=self._checkpoint(),
            format=format_name,
            directory=str(directory),
            command=self._command(directory),
            options={**options, "quick": self.permissions.quick},
            export_options=self._options(format_name),
        )

    def _command(self, directory: Path) -> str:
        if self.entry.custom_config or self.permissions.remote_code:
            return ""  # code of the repository or the checkpoint runs by the manifest only
        local = self.entry.checkpoint
        model, revision = (shown(local), "") if local else (self.entry.model, self.commit)
        return replay_command(directory, model, revision, atol=self.entry.validation.atol)

    def _options(self, format_name: WorkerFormat) -> dict[str, Any]:
        options = getattr(self.entry.formats, format_name)
        written: dict[str, Any] = options.model_dump(mode="json")
        return written

    def _checkpoint(self) -> CheckpointRequest:
        custom = self.entry.custom_config
        return CheckpointRequest(
            path=str(self.folder),
            task=self.entry.task,
            custom_config=f"{custom.path}:{custom.class_name}" if custom else None,
            allow_custom_code=self.permissions.custom_code,
            allow_remote_code=self.permissions.remote_code,
            revision=self.commit,
        )
