"""Which class describes a model type: filled by the families, read by everyone else."""

from __future__ import annotations

from typing import Any, TypeVar

from exporter import tasks
from exporter.architectures.base import Architecture
from exporter.results import ExportError

__all__ = ["describe", "features", "find", "model_types", "register"]

_CLASSES: dict[str, type[Architecture]] = {}

AnyArchitecture = TypeVar("AnyArchitecture", bound=type[Architecture])


def register(architecture: AnyArchitecture) -> AnyArchitecture:
    """Class decorator: file a class under each of its `model_types`."""
    for model_type in architecture.model_types:
        _CLASSES[_normal(model_type)] = architecture
    return architecture


def model_types() -> tuple[str, ...]:
    """Every described type, sorted, in the spelling with dashes."""
    return tuple(sorted(_CLASSES))


def features(model_type: str) -> tuple[str, ...]:
    """The features of a type, ``-with-past`` forms included; either spelling of the type.

    Raises:
        ExportError: The type is not described; the message names the nearest one.
    """
    architecture = _CLASSES.get(_normal(model_type))
    if architecture is None:
        near = tasks.nearest(model_type, model_types())
        raise ExportError(
            "unknown-model-type",
            f"no architecture describes {model_type!r}.",
            f"Did you mean {near!r}?" if near else "",
        )
    return architecture.features()


def find(model_type: str) -> type[Architecture] | None:
    """The class that describes a type in either spelling, or None."""
    return _CLASSES.get(_normal(model_type))


def describe(config: Any, task: str, use_past: bool = False) -> Architecture:
    """What a model with this configuration takes and gives for a task.

    Raises:
        ExportError: No class describes this type, or not for this task.
    """
    architecture = find(config.model_type)
    if architecture is None:
        raise ExportError("unknown-model-type", f"no architecture describes the model type {config.model_type!r}.")
    name = tasks.find(task).name
    if name not in architecture.tasks:
        raise ExportError(
            "unsupported-task",
            f"{config.model_type} is not described for the task {name!r}.",
            f"Described: {', '.join(architecture.features())}.",
        )
    return architecture(config, task, use_past)


def _normal(model_type: str) -> str:
    return model_type.replace("_", "-")
