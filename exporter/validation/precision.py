"""Files that compute in less than float32: what half precision or eight bits cost this model, measured on eager.

A budget that is right for one model is absurd for the next; so the model itself is run in the lower precision, and what
that costs is the noise floor. Next to it stands what a reader can picture: the cosine of the outputs, and how often the
largest value is the same one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from exporter.architectures import Graph
from exporter.results import CaseResult, Check, ExportError, Status
from exporter.runner import Array
from exporter.validation.budget import Floor, distance, magnitude
from exporter.validation.positions import counting
from exporter.validation.reference import Reference
from exporter.validation.runs import Run

__all__ = ["LOWER", "Cost", "agreement", "lowered_cost", "proven"]

LOWER: Mapping[str, tuple[float, float, float]] = {
    "float16": (2.0**-10, 5.0, 0.999),
    "bfloat16": (2.0**-7, 5.0, 0.99),
    "int8": (2.0**-7, 10.0, 0.95),
}
"""By what a file's weights are stored as: smallest difference of the type, factor that passes, least cosine."""

_COSINE_TIMES, _LEAST_COSINE = 4.0, 0.9
"""A file may be further from 1 by this factor than eager is in that precision; never beyond the least."""

_PROVEN: Mapping[str, float] = {"float16": 50.0, "bfloat16": 50.0, "int8": 20.0}
"""Factor for a graph that was found right to the last digit: what is left may be anything that rounding does, such as
another bucket for a distance that was computed in half precision."""


@dataclass(frozen=True)
class Cost:
    """What a lower precision costs a model, by output.

    Attributes:
        floors: Noise floors.
        cosines: Of the model's own outputs in that precision.
    """

    floors: Mapping[str, Floor]
    cosines: Mapping[str, float]


def lowered_cost(dtype: str, graph: Graph, runs: Iterable[Run], reference: Reference) -> Cost:
    """What a lower precision costs a model, measured on eager.

    Args:
        dtype: A key of `LOWER`.
        graph: The graph.
        runs: Small cases that were run in eager.
        reference: The eager model.
    """
    smallest, factor, _ = LOWER[dtype]
    model = _lowered(reference.model, dtype)
    relative, scales = dict.fromkeys(graph.outputs, 0.0), dict.fromkeys(graph.outputs, 0.0)
    pairs: dict[str, list[tuple[Array, Array]]] = {name: [] for name in graph.outputs}
    for run in runs:
        try:
            lowered = reference.run_with(model, graph, run.arrays, _TYPES.get(dtype, torch.float32))
        except ExportError:
            # Some operators don't exist in half precision on a CPU; what the type can't tell apart is left.
            lowered = dict(run.eager)
        for name, eager in run.eager.items():
            counts = counting(graph, run.arrays, name, eager.shape)
            scale = magnitude(eager, counts)
            scales[name] = max(scales[name], scale)
            if scale and eager.dtype.kind == "f":
                relative[name] = max(relative[name], distance(eager, lowered[name], counts) / scale)
            pairs[name].append(_counted(graph, replace(run, given=lowered), name))
    floors = {name: Floor(relative[name], smallest, factor, scales[name]) for name in graph.outputs}
    return Cost(floors, {name: _cosine(each) for name, each in pairs.items()})


def proven(dtype: str, floors: Mapping[str, Floor], exact: Iterable[CaseResult]) -> dict[str, Floor]:
    """The floors for a file whose graph was held to the numbers that it stores.

    Args:
        dtype: A key of `LOWER`.
        floors: From `lowered_cost`.
        exact: What came of that.
    """
    right = all(case.status is Status.PASSED for case in exact)
    return {name: replace(floor, factor=_PROVEN[dtype]) if right else floor for name, floor in floors.items()}


_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def _lowered(model: nn.Module, dtype: str) -> nn.Module:
    lowered = copy.deepcopy(model)
    if dtype in _TYPES:
        return lowered.to(_TYPES[dtype])
    for module in lowered.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.dim() > 1:
            weight.data = _eight_bits(weight.data)
            if not isinstance(module, nn.Embedding):
                module.register_forward_pre_hook(lambda _, inputs: tuple(_eight_bits_if_float(x) for x in inputs))
    return lowered


def _eight_bits(tensor: torch.Tensor) -> torch.Tensor:
    """The nearest of 255 evenly spaced values: what quantising a tensor as a whole leaves of it."""
    step = tensor.abs().max() / 127
    return tensor if step == 0 else (tensor / step).round() * step


def _eight_bits_if_float(value: object) -> object:
    return _eight_bits(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def agreement(dtype: str, graph: Graph, runs: Iterable[Run], cosines: Mapping[str, float]) -> Iterator[Check]:
    """Cosine and top-1 agreement of every floating-point output, over all small cases.

    Args:
        dtype: A key of `LOWER`.
        graph: The graph.
        runs: Small cases that were run in eager and in the file.
        cosines: What eager itself reaches in that precision.
    """
    runs = [run for run in runs if run.given is not None]
    for name in graph.outputs:
        pairs = [_counted(graph, run, name) for run in runs]
        if not pairs:
            continue
        cosine = _cosine(pairs)
        least = max(min(LOWER[dtype][2], 1 - _COSINE_TIMES * (1 - cosines[name])), _LEAST_COSINE)
        same = np.concatenate([_same_top(graph, run, name) for run in runs])
        told = f"cosine {cosine:.4f}"
        if len(same):
            told += f", the largest value is the same in {same.mean():.1%}"
        status = Status.PASSED if cosine >= least else Status.FAILED
        yield Check(name=f"{name} agrees", status=status, message=told)


def _cosine(pairs: list[tuple[Array, Array]]) -> float:
    if not pairs:
        return 1.0
    wanted, given = np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(given))
    return float(np.dot(wanted, given)) / lengths if lengths else 1.0


def _counted(graph: Graph, run: Run, name: str) -> tuple[Array, Array]:
    eager = run.eager[name]
    given = run.given[name] if run.given is not None else eager
    counts = counting(graph, run.arrays, name, eager.shape)
    if eager.dtype.kind != "f" or given.shape != eager.shape:
        counts = np.zeros_like(counts)
    finite = counts & np.isfinite(eager) & np.isfinite(given.astype(np.float64))
    return eager[finite].astype(np.float64), given[finite].astype(np.float64)


def _same_top(graph: Graph, run: Run, name: str) -> Array:
    eager = run.eager[name]
    given = run.given[name] if run.given is not None else eager
    if eager.ndim < 2 or given.shape != eager.shape:
        return np.zeros(0, bool)
    counts = counting(graph, run.arrays, name, eager.shape).all(axis=-1)
    same: Array = (eager.argmax(axis=-1) == given.argmax(axis=-1))[counts]
    return same
