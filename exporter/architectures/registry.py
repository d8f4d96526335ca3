"""Which class describes a model type for a task: filled by the families, read by everyone else."""

from __future__ import annotations

from typing import Any, TypeVar

from exporter import tasks
from exporter.architectures.base import Architecture
from exporter.results import ExportError

__all__ = ["describe", "features", "find", "model_types", "register"]

_CLASSES: dict[str, dict[str, type[Architecture]]] = {}

AnyArchitecture = TypeVar("AnyArchitecture", bound=type[Architecture])


def register(architecture: AnyArchitecture) -> AnyArchitecture:
    """Class decorator: file a class under each of its `model_types`, for each of its `tasks`.

    A type may have several classes: BART translates as an encoder-decoder and classifies as an encoder.
    """
    for model_type in architecture.model_types:
        _CLASSES.setdefault(_normal(model_type), {}).update(dict.fromkeys(architecture.tasks, architecture))
    return architecture


def model_types() -> tuple[str, ...]:
    """Every described type, sorted, in the spelling with dashes."""
    return tuple(sorted(_CLASSES))


def features(model_type: str) -> tuple[str, ...]:
    """The features of a type, ``-with-past`` forms included; either spelling of the type.

    Raises:
        ExportError: The type is not described; the message names the nearest one.
    """
    classes = _CLASSES.get(_normal(model_type))
    if classes is None:
        near = tasks.nearest(model_type, model_types())
        raise ExportError(
            "unknown-model-type",
            f"no architecture describes {model_type!r}.",
            f"Did you mean {near!r}?" if near else "",
        )
    return tuple(
        name
        for task in (task.name for task in tasks.TASKS)
        if task in classes
        for name in (task, *((task + tasks.PAST_SUFFIX,) if task in classes[task].tasks_with_past else ()))
    )


def find(model_type: str, task: str = "") -> type[Architecture] | None:
    """The class that describes a type in either spelling for a task, or None; without a task the type's first class."""
    classes = _CLASSES.get(_normal(model_type), {})
    return classes.get(tasks.find(task).name) if task else next(iter(classes.values()), None)


def describe(config: Any, task: str, use_past: bool = False) -> Architecture:
    """What a model with this configuration takes and gives for a task.

    Raises:
        ExportError: No class describes this type, or not for this task.
    """
    known = features(config.model_type)
    name = tasks.find(task).name
    with_past = use_past or tasks.split_past(task)[1]
    feature = name + tasks.PAST_SUFFIX if with_past else name
    architecture = find(config.model_type, name)
    if architecture is None or feature not in known:
        raise ExportError(
            "unsupported-task",
            f"{config.model_type} is not described for {feature!r}.",
            f"Described: {', '.join(known)}.",
        )
    return architecture(config, name, with_past)


def _normal(model_type: str) -> str:
    return model_type.replace("_", "-")
