"""Which class of transformers loads a checkpoint for a task."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from exporter.results import ExportError
from exporter.tasks import TASKS, Task, TaskError, from_architecture

__all__ = ["model_class", "refuse_contradiction"]


def model_class(config: PreTrainedConfig, task: Task) -> type[PreTrainedModel]:
    """The class that loads a model of this config for `task`.

    The class that the checkpoint itself names wins where it serves the task (``T5EncoderModel`` is not ``T5Model``);
    else the task's auto class decides.

    Raises:
        ExportError: transformers has no class of this type for the task; the message lists the tasks it has one for.
    """
    named = _named_class(config, task)
    chosen = named or _auto_class(config, task)
    if chosen is None:
        possible = ", ".join(other.name for other in TASKS if _auto_class(config, other) is not None)
        raise ExportError(
            "unsupported-task",
            f"transformers has no {task.name} model of type {config.model_type!r}.",
            f"Tasks of this type: {possible}." if possible else "",
        )
    return chosen


def refuse_contradiction(config: PreTrainedConfig, where: str) -> None:
    """Raise `ExportError` if the config names a class of another model type than its own.

    Relatives share names and shapes (BERT's weights load as RoBERTa's, whose positions count from two), so the weights
    needn't give it away.
    """
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        named = getattr(found, "config_class", None)
        if isinstance(named, type) and not _related(named, type(config)):
            raise ExportError(
                "other-architecture",
                f"{where} contradicts itself: its model type is {config.model_type!r}, but its class {name} is of type "
                f"{getattr(named, 'model_type', '')!r}.",
                "Correct `model_type` or `architectures`, whichever isn't that of the weights.",
            )


def _related(one: type[PreTrainedConfig], other: type[PreTrainedConfig]) -> bool:
    """Whether both are the same type, one a kind of the other, or one a part of the other (CLIP's text encoder)."""
    if issubclass(one, other) or issubclass(other, one):
        return True
    return one in other.sub_configs.values() or other in one.sub_configs.values()


def _named_class(config: PreTrainedConfig, task: Task) -> type[PreTrainedModel] | None:
    names = config.architectures or []
    if len(names) != 1:
        return None
    try:
        if from_architecture(names[0]) is not task:
            return None
    except TaskError:
        return None
    found = getattr(transformers, names[0], None)
    if (
        not isinstance(found, type)
        or not issubclass(found, PreTrainedModel)
        or getattr(found, "config_class", None) is not type(config)
    ):
        return None
    return found


def _auto_class(config: PreTrainedConfig, task: Task) -> type[PreTrainedModel] | None:
    for name in task.auto_classes:
        classes = _mapped(name, config)
        if classes:
            return next((found for found in classes if found.__name__ in (config.architectures or [])), classes[0])
    # XLM's relatives have one class for both ways of language modelling, and the auto class knows it by one only.
    pretraining = _mapped("AutoModelForPreTraining", config)
    return next((found for found in pretraining if found.__name__.endswith(task.suffixes)), None)


def _mapped(auto_class: str, config: PreTrainedConfig) -> tuple[type[PreTrainedModel], ...]:
    mapping: Any = getattr(transformers, auto_class)._model_mapping
    if type(config) not in mapping:
        return ()
    found = mapping[type(config)]
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)
