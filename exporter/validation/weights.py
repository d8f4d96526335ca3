"""The numbers that a file stores held against the checkpoint's: bit by bit, before anything is computed.

An embedding row that no test text uses, or a bias that is off by less than the model rounds, shows nowhere else. A
stored tensor may be a parameter as it is or with its axes in another order (exporters transpose matrices while they
fold constants); one that is *nearly* a parameter is a wrong weight. What resembles no parameter was computed by the
exporter and is left to the comparison of values.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from exporter.results import Check, Status
from exporter.runner import Array, few_values

__all__ = ["WeightReport", "compare_weights", "layouts", "normalisation_scales"]

_EQUAL = 1e-6
"""Largest difference, relative to the largest weight, that recomputing a weight (weight norm) may leave in float32."""

_CLAMPED = {"float16": 2.0**-23}
"""By how much converters move numbers that are too small for a type."""

_FOLDED = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""What rounding twice leaves of a weight that was multiplied; in float32 1e-5."""

_NEAR = 1.0
_NEAR_DISTANCE = 0.2
_NEAR_SHARE = 0.5
_MOST_AXES = 4
_MOST_SHOWN = 3
_REPEATED_SHARE = 0.01
# Less than this exporters fold as they like, and nobody minds.
_REPEATED_BYTES = 2**20
_QUANTISED_SHARE = 0.05
_KINDS = {
    "float32": ("float32", "float64"),
    "float16": ("float16",),
    "bfloat16": ("bfloat16",),
    "int8": ("int8", "uint8"),
}


@dataclass(frozen=True)
class WeightReport:
    """What a file stores.

    Attributes:
        matched: How many stored tensors are the checkpoint's own numbers.
        wrong: Names of those that are nearly so, with how they differ.
        computed: Names of those that are neither: the exporter computed them, in float32.
        repeated: Names of those that the file stores again, where the checkpoint has them once.
        repeated_share: Share of all stored bytes that these are.
        repeated_bytes: How many that is.
        dtype: What the numbers are stored as: ``float32``, ``float16``, ``bfloat16`` or ``int8``.
    """

    matched: int
    wrong: tuple[str, ...]
    computed: tuple[str, ...]
    repeated: tuple[str, ...]
    repeated_share: float
    repeated_bytes: int = 0
    dtype: str = "float32"

    @property
    def stored_once(self) -> Check:
        """Whether what the checkpoint shares is shared in the file."""
        if self.repeated_share < _REPEATED_SHARE or self.repeated_bytes < _REPEATED_BYTES:
            return Check(name="weights stored once", status=Status.PASSED)
        message = f"{self.repeated_share:.0%} of the bytes are stored again: {', '.join(self.repeated[:_MOST_SHOWN])}"
        return Check(name="weights stored once", status=Status.FAILED, message=message)

    @property
    def check(self) -> Check:
        """The verdict, for the report."""
        if not self.wrong:
            return Check(name="weights", status=Status.PASSED, message=f"{self.matched} tensors as in the checkpoint")
        more = f" and {len(self.wrong) - _MOST_SHOWN} more" if len(self.wrong) > _MOST_SHOWN else ""
        message = "not as in the checkpoint: " + "; ".join(self.wrong[:_MOST_SHOWN]) + more
        return Check(name="weights", status=Status.FAILED, message=message)


def compare_weights(
    stored: Iterable[tuple[str, Array]], model: nn.Module, used: frozenset[str] = frozenset()
) -> WeightReport:
    """Look for every stored tensor among the parameters and buffers of a model.

    Args:
        stored: Names and values of the file.
        model: The eager model in float32.
        used: Names of the parameters that the file needs. One that the file doesn't store, where it stores a tensor
            of that shape that is none of the checkpoint's, was replaced.
    """
    known = _by_size(model)
    scales = tuple(normalisation_scales(model))
    seen: Counter[tuple[str, ...]] = Counter()
    wrong, repeated = [], []
    computed: dict[str, tuple[int, ...]] = {}
    total = again = 0
    sizes: Counter[str] = Counter()
    for name, tensor in stored:
        total += tensor.nbytes
        sizes[str(tensor.dtype)] += tensor.size if tensor.size > 1 else 0
        if tensor.dtype.kind != "f" or tensor.size < 2 or few_values(tensor):
            continue
        candidates = known.get(tensor.size, [])
        if owners := _owners(tensor, candidates):
            seen[owners] += 1
            # Parameters that are equal by chance have the right to be stored once each.
            if seen[owners] > len(owners):
                repeated.append(name)
                again += tensor.nbytes
        elif difference := _difference(tensor, candidates, scales):
            wrong.append(f"{name} {tensor.shape}: {difference}")
        else:
            computed[name] = tensor.shape
    share = again / total if total else 0.0
    if not scales:
        wrong += _replaced(computed, model, used - {owner for owners in seen for owner in owners})
    return WeightReport(sum(seen.values()), tuple(wrong), tuple(computed), tuple(repeated), share, again, _dtype(sizes))


def _replaced(computed: Mapping[str, tuple[int, ...]], model: nn.Module, missing: frozenset[str]) -> list[str]:
    """Stored tensors that stand where a parameter should."""
    shapes = {
        name: tuple(sorted(parameter.shape))
        for name, parameter in model.named_parameters()
        if name in missing and not few_values(parameter.detach().numpy())
    }
    return [
        f"{stored} {shape}: it stands where {name} should"
        for stored, shape in computed.items()
        for name, wanted in shapes.items()
        if wanted == tuple(sorted(shape))
    ]


def _dtype(sizes: Counter[str]) -> str:
    """What most numbers are stored as; eight bits if a few are, for nobody quantises by accident."""
    counts = {kind: sum(sizes[each] for each in names) for kind, names in _KINDS.items()}
    if counts["int8"] > _QUANTISED_SHARE * sum(counts.values()):
        return "int8"
    return max(counts, key=lambda kind: counts[kind])


def _by_size(model: nn.Module) -> dict[int, list[tuple[str, Array]]]:
    known: dict[int, list[tuple[str, Array]]] = {}
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_floating_point():
            known.setdefault(tensor.numel(), []).append((name, tensor.detach().numpy()))
    return known


def _owners(tensor: Array, candidates: list[tuple[str, Array]]) -> tuple[str, ...]:
    """The parameters that a tensor is, in any order of its axes."""
    return tuple(
        name
        for name, parameter in candidates
        if any(_same(each, tensor) for each in layouts(parameter.astype(tensor.dtype, copy=False), tensor))
    )


def _difference(tensor: Array, candidates: list[tuple[str, Array]], scales: tuple[Array, ...]) -> str:
    """How a tensor differs from the parameter that it nearly is; empty when it resembles none."""
    nearest, best = "", _NEAR
    for name, stored in candidates:
        for parameter in layouts(stored.astype(tensor.dtype, copy=False), tensor):
            if few_values(parameter):
                continue
            error = np.abs(parameter - tensor)
            slack = _EQUAL * float(np.abs(parameter).max()) + _CLAMPED.get(str(tensor.dtype), 0.0)
            if float(error.max()) <= slack:
                return ""
            differing = float((error > slack).mean())
            # Of scales near one, only what makes them differ from each other tells which is which.
            apart = float(np.linalg.norm(error)) / float(np.linalg.norm(parameter - parameter.mean()))
            # Folding a normalisation moves every value of a vector a little, by what no single scale tells.
            near = differing / _NEAR_SHARE
            if not (scales and tensor.ndim == 1):
                near = min(near, apart / _NEAR_DISTANCE)
            if near < best and not _folded(parameter, tensor, scales):
                best = near
                nearest = f"{differing:.1%} of the values differ from {name}, by up to {float(error.max()):.1e}"
    return nearest


def layouts(parameter: Array, tensor: Array) -> Iterator[Array]:
    """The parameter in every order of its axes that gives the tensor's shape; axes of one element are nothing."""
    squeezed, shape = parameter.squeeze(), tensor.squeeze().shape
    if squeezed.ndim > _MOST_AXES or sorted(squeezed.shape) != sorted(shape):
        yield parameter.reshape(tensor.shape)
        return
    for order in itertools.permutations(range(squeezed.ndim)):
        if tuple(squeezed.shape[axis] for axis in order) == shape:
            yield squeezed.transpose(order).reshape(tensor.shape)


def _same(parameter: Array, tensor: Array) -> bool:
    """Equal to the bit; most of those that differ do so in the first row."""
    return np.array_equal(parameter[:1], tensor[:1]) and np.array_equal(parameter, tensor)


def normalisation_scales(model: nn.Module) -> Iterator[Array]:
    """What each batch normalisation multiplies a channel with: exporters fold that into the weights before it."""
    for module in model.modules():
        variance, weight = getattr(module, "running_var", None), getattr(module, "weight", None)
        if variance is not None:
            scale = (variance + getattr(module, "eps", 1e-5)).rsqrt()
            yield (scale if weight is None else scale * weight).detach().numpy()


def _folded(parameter: Array, tensor: Array, scales: tuple[Array, ...]) -> bool:
    for scale in scales:
        if tensor.ndim and scale.shape == tensor.shape[:1]:
            folded = parameter.astype(np.float32) * scale.reshape(-1, *(1,) * (tensor.ndim - 1))
            lowered = _FOLDED.get(str(tensor.dtype))
            slack = lowered * np.abs(folded).max() if lowered else 1e-5 * np.abs(parameter).max()
            if np.abs(folded - tensor).max() <= slack:
                return True
    return False
