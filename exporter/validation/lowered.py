"""What a file in lower precision should compute, to the last digit: eager with the numbers that the file stores.

Held against the checkpoint, such a file is off by what its weights were rounded by, and that hides faults of its graph.
So each stored matrix is looked for among the checkpoint's, from which it may be no further than rounding takes it, and
put in its place in eager. What the graph computes in float64 then has to be what that model computes in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from exporter.results import Check, ExportError, Status
from exporter.runner import Array, Quantised, few_values
from exporter.validation.reference import Arrays, Reference
from exporter.validation.relations import Compute, Laboratory, check_relations
from exporter.validation.weights import layouts, normalisation_scales

__all__ = ["Lowered", "as_stored", "exact_relations"]

_HALF = 0.501
"""Steps that rounding to the nearest may be off, with what computing in float32 adds to it."""

_HALF_PRECISION: Mapping[str, tuple[torch.dtype, int, float]] = {
    "float16": (torch.float16, 10, 2.0**-24),
    "bfloat16": (torch.bfloat16, 7, 2.0**-133),
}
"""Type, bits behind the leading one, and smallest number."""

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Lowered:
    """What a file in lower precision stores.

    Attributes:
        check: Whether every matrix is one of the checkpoint's, rounded.
        reference: The eager model with the numbers of the file; None where it can't be told which number is whose.
        reason: Why there is none.
        computed: Names of tensors in float32 that the exporter computed.
    """

    check: Check
    reference: Reference | None = None
    reason: str = ""
    computed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Owner:
    """A place in the model that holds a parameter or buffer; parameters that are shared have several."""

    name: str
    value: Array
    looks_up: bool


@dataclass(frozen=True)
class _Found:
    """A matrix of the file laid out as the parameter that it is."""

    values: Array
    matrix: Quantised


def as_stored(
    dtype: str, quantised: Iterable[Quantised], stored: Iterable[tuple[str, Array]], reference: Reference
) -> Lowered:
    """Find out which number of a file stands for which of the checkpoint's.

    Args:
        dtype: What most of the file's numbers are stored as: ``float16``, ``bfloat16`` or ``int8``.
        quantised: Its matrices of integers.
        stored: Names and values of all that it stores.
        reference: The eager model.
    """
    groups = _groups(reference.model)
    quantised = tuple(quantised)
    matrices, exact, computed = list(quantised), set[int](), []
    scalars = Counter[bool]()
    for name, tensor in stored:
        if not _is_float(tensor):
            scalars[str(tensor.dtype) in _HALF_PRECISION] += tensor.dtype.kind not in "iub"
            continue
        if str(tensor.dtype) in _HALF_PRECISION:
            matrices.append(_rounded(name, tensor))
        elif owners := {key for key, group in groups.items() if _laid_out(group[0].value, tensor, None) is not None}:
            exact |= owners
        elif not few_values(tensor) and not _is_scale(tensor, quantised):
            computed.append(name)
    found: dict[int, list[_Found]] = {}
    unknown = []
    for matrix in matrices:
        hits = {
            key: laid for key, group in groups.items() if (laid := _as_parameter(group[0].value, matrix)) is not None
        }
        for key, laid in hits.items():
            found.setdefault(key, []).append(_Found(laid, matrix))
        if not hits and not few_values(matrix.values):
            unknown.append(matrix)
    # A weight that a batch normalisation was folded into is none of the checkpoint's, and no fault.
    folded = any(True for _ in normalisation_scales(reference.model))
    missing = [group[0] for key, group in groups.items() if not folded and key not in exact and key not in found]
    if wrong := [told for matrix in unknown if (told := _stands_for(matrix, missing))]:
        more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        message = f"further from the checkpoint than rounding takes them: {'; '.join(wrong[:_MOST_SHOWN])}{more}"
        return Lowered(Check(name="rounded weights", status=Status.FAILED, message=message), reason="see its weights")
    told = f"{len(matrices)} matrices are the checkpoint's, rounded to {dtype}" if matrices else ""
    check = Check(name="rounded weights", status=Status.PASSED, message=told)
    if unknown:
        names = ", ".join(each.name for each in unknown[:_MOST_SHOWN])
        return Lowered(check, reason=f"of no parameter is it known that it became {names}")
    values: dict[str, Array] = {}
    lowered = {name for name, _ in _parameters(reference.model)} if dtype in _HALF_PRECISION else set()
    for key, group in groups.items():
        for owner in group:
            choice = _choice(owner, group, found.get(key, []), key in exact)
            if choice is None:
                return Lowered(check, reason=f"{owner.name} is stored in several ways")
            if choice.size:
                values[owner.name] = choice
            elif (
                key not in exact and owner.name in lowered and (owner.value.size > 1 or scalars[True] > scalars[False])
            ):
                values[owner.name] = _to_half(owner.value, dtype)
    return Lowered(check, reference.replaced(values), computed=tuple(computed))


def _is_float(tensor: Array) -> bool:
    return tensor.size > 1 and (tensor.dtype.kind == "f" or str(tensor.dtype) == "bfloat16")


def _is_scale(tensor: Array, quantised: Iterable[Quantised]) -> bool:
    """Whether a tensor is the scales of a matrix, one for each channel."""
    return any(np.array_equal(tensor.reshape(-1), each.step.reshape(-1)) for each in quantised)


def _parameters(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)


def _groups(model: nn.Module) -> dict[int, list[_Owner]]:
    """Parameters and buffers with the places that share them."""
    lookups = {name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    groups: dict[int, list[_Owner]] = {}
    buffers = (each for each in model.named_buffers(remove_duplicate=False) if each[1].is_floating_point())
    for name, tensor in (*_parameters(model), *buffers):
        owner = _Owner(name, tensor.detach().numpy(), name.rpartition(".")[0] in lookups)
        groups.setdefault(id(tensor), []).append(owner)
    return groups


def _choice(owner: _Owner, group: list[_Owner], found: list[_Found], also_exact: bool) -> Array | None:
    """What the file has in a place: empty where that is the checkpoint's own, None where it can't be told."""
    kept = np.zeros(0)
    different: list[_Found] = []
    for each in found:
        if not any(np.array_equal(each.values, other.values) for other in different):
            different.append(each)
    if not different:
        return kept
    if len(different) == 1 and not also_exact:
        return different[0].values
    # A table that is also multiplied with may be stored once for each; which is whose, its use tells.
    if not (any(each.looks_up for each in group) and any(not each.looks_up for each in group)):
        return None
    fitting = [
        each.values for each in different if (each.matrix.gathered if owner.looks_up else each.matrix.multiplied)
    ]
    if not fitting and also_exact:
        return kept
    return fitting[0] if len(fitting) == 1 else None


def _as_parameter(parameter: Array, matrix: Quantised) -> Array | None:
    return _laid_out(parameter, matrix.values, np.broadcast_to(matrix.step * _HALF, matrix.values.shape))


def _laid_out(parameter: Array, values: Array, allowed: Array | None) -> Array | None:
    """The values in the parameter's layout where they are no further from it than allowed; None where they are."""
    if parameter.size != values.size:
        return None
    places = np.arange(parameter.size).reshape(parameter.shape)
    for laid, order in zip(layouts(parameter, values), layouts(places, values), strict=True):
        if _near(laid[:1], values[:1], allowed if allowed is None else allowed[:1]) and _near(laid, values, allowed):
            result = np.empty(parameter.size, values.dtype)
            result[order.reshape(-1)] = values.reshape(-1)
            return result.reshape(parameter.shape)
    return None


def _near(parameter: Array, values: Array, allowed: Array | None) -> bool:
    if allowed is None:
        return np.array_equal(parameter, values)
    return bool((np.abs(parameter - values) <= allowed).all())


def _rounded(name: str, tensor: Array) -> Quantised:
    """A tensor in half precision as a matrix with a step for every number."""
    _, bits, smallest = _HALF_PRECISION[str(tensor.dtype)]
    values = tensor.astype(np.float64)
    exponents = np.frexp(values)[1] - 1
    step = np.maximum(np.ldexp(1.0, exponents - bits), smallest)
    # Converters keep what is smaller than the smallest number from becoming 0.
    step = np.where(np.abs(values) <= smallest, 2 * smallest, step)
    return Quantised(name, values, step, gathered=True, multiplied=True)


def _to_half(parameter: Array, dtype: str) -> Array:
    rounded: Array = torch.from_numpy(parameter).to(_HALF_PRECISION[dtype][0]).double().numpy()
    return rounded


def _stands_for(matrix: Quantised, missing: list[_Owner]) -> str:
    """Where a matrix stands that is no parameter: in the place of one of its shape that the file doesn't have."""
    shape = sorted(size for size in matrix.values.shape if size > 1)
    for owner in missing:
        if sorted(size for size in owner.value.shape if size > 1) == shape and not few_values(owner.value):
            return f"{matrix.name} {matrix.values.shape} stands where {owner.name} should"
    return ""


def exact_relations(lab: Laboratory, factor: float, reference: Reference, file: Compute) -> tuple[Check, ...]:
    """The relations between outputs, asked where nothing is rounded to lower precision.

    Args:
        lab: With the noise floors of float32.
        factor: Multiple of them that passes.
        reference: See `Lowered`.
        file: The file in float64.
    """

    def eager(arrays: Arrays) -> Arrays:
        outputs = reference.run64(lab.graph, arrays)
        if outputs is None:
            raise ExportError("no-float64", "the eager model can't be computed in float64")
        return outputs

    floors = {name: replace(floor, factor=factor) for name, floor in lab.floors.items()}
    checks = check_relations(replace(lab, floors=floors, eager_floors=floors), eager, file)
    return tuple(check.model_copy(update={"name": f"{check.name} (in float64)"}) for check in checks)
