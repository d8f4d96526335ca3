"""A checkpoint with the description that fits it; runs in workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter import onnx
from exporter.architectures import Architecture
from exporter.architectures.inferred import describe_or_infer
from exporter.checkpoint import Checkpoint, load, refuse_random_outputs
from exporter.eager import evidence_of
from exporter.pipeline.messages import CheckpointRequest
from exporter.results import ExportError
from exporter.tasks import PAST_SUFFIX

__all__ = ["Loaded", "feature", "load_described"]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory, and what it takes and gives.

    Attributes:
        origin: ``registered``, ``inferred`` or ``custom``: where the description is from.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    origin: str

    @property
    def parameters(self) -> int:
        """Number of parameters, shared ones once."""
        return sum(parameter.numel() for parameter in self.checkpoint.model.parameters())


def feature(task: str, with_past: bool) -> str:
    """Name of a task with or without cache."""
    return task + PAST_SUFFIX if with_past else task


def load_described(request: CheckpointRequest, dtype: str, cache_allowed: bool) -> Loaded:
    """Load a checkpoint.

    Args:
        request: Which, and what its folder may run.
        dtype: Type of floating-point weights.
        cache_allowed: Whether keys and values may be inputs and outputs, where the task asks for them.

    Raises:
        ExportError: The checkpoint is unusable, or no description fits.
    """
    checkpoint = load(
        Path(request.path),
        task=request.task,
        dtype=dtype,
        allow_remote_code=request.allow_remote_code,
        revision=request.revision,
    )
    architecture, origin = _describe(checkpoint, request, checkpoint.with_past and cache_allowed)
    refuse_random_outputs(checkpoint, tuple(architecture.outputs))
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
        described = onnx.load_custom_config(Path(file), class_name)(config, feature(task, use_past))
        return described.prepared_by(checkpoint.preprocessor), "custom"
    return describe_or_infer(config, task, use_past, evidence_of(checkpoint.model, checkpoint.preprocessor))
