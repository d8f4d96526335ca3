"""Whether the weights of a checkpoint are the weights of the model: nothing random may pass for trained.

transformers fills what a checkpoint doesn't hold with random values and says so in the log. Here that is an error,
with exact exceptions: what is computed from the config, what training alone uses, and what no output depends on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedModel

from exporter.checkpoint_files import CheckpointFiles
from exporter.results import ExportError
from exporter.tasks import TaskError, from_architecture

__all__ = ["Judgement", "LoadingInfo", "judge"]

Shape = tuple[int, ...]

# Buffers that hold what was measured in training. All others are computed from the config when a model is built.
_MEASURED_BUFFERS = ("running_mean", "running_var")
_QUANTISER_BUFFERS = ("x_min", "x_max")  # I-BERT's, used with `quant_mode` only

# Stand in for what masked pre-training hides: `forward` uses them only when it is told what to mask.
_TRAINING_ONLY = ("masked_spec_embed", "mask_token")


@dataclass(frozen=True)
class LoadingInfo:
    """What ``from_pretrained`` says about a loaded model.

    Attributes:
        missing: Tensors of the model that the checkpoint doesn't hold, tied ones left out.
        unexpected: Tensors of the checkpoint that the model has no place for.
        mismatched: Name, shape in the checkpoint, shape in the model.
    """

    missing: frozenset[str]
    unexpected: frozenset[str]
    mismatched: tuple[tuple[str, Shape, Shape], ...]


@dataclass(frozen=True)
class Judgement:
    """What is to be said about weights that can be used.

    Attributes:
        notes: For the report.
        random_outputs: Outputs that depend on weights the checkpoint doesn't hold.
    """

    notes: tuple[str, ...] = ()
    random_outputs: tuple[str, ...] = ()


def judge(model: PreTrainedModel, info: LoadingInfo, files: CheckpointFiles) -> Judgement:
    """Hold what was loaded against what the model needs.

    Raises:
        ExportError: Weights of another architecture, shapes that differ, weights that are missing.
    """
    missing = {name for name in info.missing if not _computed(model, name)}
    absent = missing | {name for name, _, _ in info.mismatched}
    expected = sum(1 for name in model.state_dict() if not _computed(model, name))
    if len(missing) * 2 > expected:
        raise _other_architecture(model, info, files, (expected - len(absent), expected))
    if info.mismatched:
        raise _mismatch(model, info, files)
    unused = {name for name in missing if _is_training_only(name, files)}
    pooler = {name for name in missing - unused if _is_optional_pooler(name, files)}
    needed = missing - unused - pooler
    if needed:
        raise _missing(model, needed, info, files)
    notes = []
    if unused:
        notes.append(f"Not in the checkpoint, and used in training only: {_summary(unused)}.")
    if pooler:
        notes.append(f"The checkpoint holds no pooler ({_summary(pooler)}), so `pooler_output` can't be exported.")
    beyond = _beyond_config(model, info.unexpected)
    if beyond:
        notes.append(
            f"config.json declares fewer layers than the checkpoint holds: {_summary(beyond)} are not in the model."
        )
    if info.unexpected - beyond:
        left_out = _summary(info.unexpected - beyond)
        notes.append(f"{type(model).__name__} has no place for these weights, left out: {left_out}.")
    return Judgement(tuple(notes), ("pooler_output",) if pooler else ())


def _beyond_config(model: PreTrainedModel, unexpected: frozenset[str]) -> set[str]:
    """Tensors without a place that are named like one of the model's, but for the number of their layer."""
    places = {_fold(name) for name in model.state_dict()}
    return {name for name in unexpected if _fold(name) in places}


def _fold(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def _computed(model: PreTrainedModel, name: str) -> bool:
    """Whether a tensor of the model follows from the config, so that a checkpoint may leave it out."""
    module, _, leaf = name.rpartition(".")
    if "Sinusoidal" in type(model.get_submodule(module)).__name__:
        return True  # positions by formula, which some classes keep as parameters and leave out when they save
    try:
        model.get_buffer(name)
    except AttributeError:
        return False
    if getattr(model.config, "quant_mode", False) and leaf in _QUANTISER_BUFFERS:
        return False
    return leaf not in _MEASURED_BUFFERS


def _is_training_only(name: str, files: CheckpointFiles) -> bool:
    return name.rpartition(".")[2] in _TRAINING_ONLY and files.task.name != "masked-im"


def _is_optional_pooler(name: str, files: CheckpointFiles) -> bool:
    # Base models give the pooler's result as an output of its own; with a head, the head may build on it.
    return files.task.name == "default" and "pooler" in name.split(".")


def _other_architecture(
    model: PreTrainedModel, info: LoadingInfo, files: CheckpointFiles, found: tuple[int, int]
) -> ExportError:
    beginnings = Counter(name.split(".")[0] for name in info.unexpected)
    named = f"; its own begin with `{beginnings.most_common(1)[0][0]}.`" if beginnings else ""
    return ExportError(
        "other-architecture",
        f"The weights in {files.path} are not those of a {files.model_type} model, which config.json says they are: "
        f"{type(model).__name__} has {found[1]} tensors, the checkpoint holds {found[0]} of them{named}.",
        f"Put the config.json and the weights of the same model together{_trained_for(files)}."
        + (" The checkpoint names code of its own, which may lay them out differently." if files.remote_code else ""),
    )


def _mismatch(model: PreTrainedModel, info: LoadingInfo, files: CheckpointFiles) -> ExportError:
    labels = model.config.num_labels
    heads = [(name, held, made) for name, held, made in info.mismatched if not _in_base(model, name)]
    shown = "; ".join(
        f"{name} is {held} in the checkpoint and {made} by config.json" for name, held, made in info.mismatched[:3]
    )
    more = f" and {len(info.mismatched) - 3} more" if len(info.mismatched) > 3 else ""
    if len(heads) == len(info.mismatched) and all(made[:1] == (labels,) for _, _, made in heads):
        counted = sorted({held[0] for _, held, _ in heads if held})
        return ExportError(
            "head-size",
            f"{files.path} was trained with {' or '.join(map(str, counted))} labels, but config.json "
            + (f"declares {labels}" if _declares_labels(files) else f"declares none, which means {labels}")
            + f": {shown}{more}.",
            "Correct `id2label` and `label2id` (or `num_labels`) in config.json.",
        )
    return ExportError(
        "shape-mismatch",
        f"The weights in {files.path} don't fit its config.json: {shown}{more}.",
        "Put the config.json and the weights of the same model together.",
    )


def _declares_labels(files: CheckpointFiles) -> bool:
    return any(files.config.get(key) is not None for key in ("id2label", "num_labels"))


def _missing(model: PreTrainedModel, needed: set[str], info: LoadingInfo, files: CheckpointFiles) -> ExportError:
    name = type(model).__name__
    # Base models are saved with or without the pooler that a head stands on.
    if hasattr(model, model.base_model_prefix) and all(
        not _in_base(model, key) or "pooler" in key.split(".") for key in needed
    ):
        return ExportError(
            "missing-head",
            f"The checkpoint in {files.path} has no head for {files.task.name}: {_summary(needed)} would be random in "
            f"{name}, and so would every result.",
            f"Use a checkpoint that was trained for {files.task.name}{_trained_for(files)}.",
        )
    left = f" It holds weights that have no place: {_summary(info.unexpected)}." if info.unexpected else ""
    return ExportError(
        "missing-weights",
        f"The checkpoint in {files.path} doesn't hold all weights of {name}: {_summary(needed)} would be random.{left}",
        f"Use a checkpoint that holds them{_trained_for(files)}.",
    )


def _trained_for(files: CheckpointFiles) -> str:
    """ ", or write the task it was trained for: masked-lm", where the config tells."""
    try:
        tasks = {from_architecture(name).name for name in files.architectures} - {files.task.name}
    except TaskError:
        return ""
    return f", or write the task this one was saved for: {', '.join(sorted(tasks))}" if tasks else ""


def _in_base(model: PreTrainedModel, name: str) -> bool:
    return name.startswith(f"{model.base_model_prefix}.") or not hasattr(model, model.base_model_prefix)


def _summary(names: Iterable[str]) -> str:
    """Names of tensors with layers folded, such as ``encoder.layer.*.attention (24)``; at most six groups."""
    folded = [_fold(name) for name in names]
    groups = Counter(folded)
    if len(groups) > 6:
        groups = Counter(".".join(name.split(".")[:3]) for name in folded)
    shown = [f"{name} ({count})" if count > 1 else name for name, count in sorted(groups.items())]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
