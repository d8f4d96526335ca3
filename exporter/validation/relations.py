"""Relations that the outputs of related inputs must have, whatever the values are.

Each is first measured on eager, and asked of a file only where eager obeys it: a left-padded GPT-2 without positions
does count its padding. What a relation adds to the comparison of values is a second opinion that needs no reference,
and a name for what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from exporter.architectures import Graph
from exporter.architectures.sizes import decoder_config
from exporter.inputs import Mask
from exporter.results import Check, ExportError, Status
from exporter.runner import Array
from exporter.validation.budget import Floor, distance, magnitude
from exporter.validation.cases import Case, inputs_of
from exporter.validation.positions import counting
from exporter.validation.runs import Run

__all__ = ["RELATIONS", "Compute", "Laboratory", "check_relations", "refused"]

Arrays = Mapping[str, Array]
Compute = Callable[[Arrays], Arrays]
"""Eager or a file: inputs by name in, outputs by name out."""


@dataclass(frozen=True)
class Laboratory:
    """What relations are made from.

    Attributes:
        graph: The graph.
        config: The model's configuration.
        sizes: Sizes of a small case that the file promises.
        floors: Noise floor by output, of what the file computes in.
        eager_floors: Likewise of eager, which tells whether eager obeys.
        seed: Seed of the inputs.
    """

    graph: Graph
    config: Any
    sizes: Mapping[str, int]
    floors: Mapping[str, Floor]
    eager_floors: Mapping[str, Floor]
    seed: int = 0

    def inputs(self, mask: Mask = "ones", seed: int = 0) -> dict[str, Array]:
        """Inputs of the small case."""
        return inputs_of(Case("relation", self.sizes, mask, self.seed + seed), self.graph, self.config)

    def taken(self, values: Arrays, axis: str, indices: Any) -> dict[str, Array]:
        """Inputs or outputs cut or reordered along an axis, by its name."""
        axes = {**self.graph.inputs, **self.graph.outputs}
        result = {}
        for name, array in values.items():
            for index, each in axes[name].items():
                if each == axis:
                    array = np.take(array, indices, axis=index)
            result[name] = array
        return result

    def apart(self, first: Arrays, second: Arrays, counts: Mapping[str, Array]) -> float:
        """Largest distance of two results where they count, in units of what rounding may do."""
        worst = 0.0
        for name, array in first.items():
            allowed = self.floors[name].tolerance(magnitude(array, counts[name])).atol
            error = distance(array, second[name], counts[name])
            worst = max(worst, error / allowed if allowed else float(error > 0))
        return worst

    def counting(self, arrays: Arrays, outputs: Arrays) -> dict[str, Array]:
        """Where each output counts."""
        return {name: counting(self.graph, arrays, name, array.shape) for name, array in outputs.items()}


class Remembered:
    """Eager or a file, which computes nothing twice unless it is asked to: relations start from the same inputs.

    Attributes:
        afresh: Computes whatever is known.
    """

    def __init__(self, compute: Compute) -> None:
        self.afresh = compute
        self._known: dict[bytes, Arrays] = {}

    def __call__(self, arrays: Arrays) -> Arrays:
        key = _digest(arrays)
        if key not in self._known:
            self._known[key] = self.afresh(arrays)
        return self._known[key]

    def knows(self, arrays: Arrays, outputs: Arrays) -> None:
        """Take what was computed elsewhere."""
        self._known[_digest(arrays)] = outputs


def _digest(arrays: Arrays) -> bytes:
    digest = hashlib.blake2b()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.digest()


Relation = Callable[[Laboratory, Remembered], Iterator[float]]
"""Yields how far apart what should be equal is, in units of what passes."""


def deterministic(lab: Laboratory, compute: Remembered) -> Iterator[float]:
    """Two runs agree to the bit."""
    arrays = lab.inputs()
    first, second = compute(arrays), compute.afresh(arrays)
    for name in first:
        yield 0.0 if np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") else np.inf


def permuted_batch(lab: Laboratory, compute: Remembered) -> Iterator[float]:
    """Other rows in the batch, or another order, leave a row's outputs as they are."""
    if lab.sizes.get("batch", 1) > 1:
        arrays = lab.inputs("right")
        order = np.roll(np.arange(lab.sizes["batch"]), 1)
        outputs = lab.taken(compute(arrays), "batch", order)
        shuffled = lab.taken(arrays, "batch", order)
        yield lab.apart(outputs, compute(shuffled), lab.counting(shuffled, outputs))


def padding_tokens(pattern: Mask, lab: Laboratory, compute: Remembered) -> Iterator[float]:
    """Which tokens stand at padded positions changes nothing elsewhere."""
    ids = [name for name in ("input_ids", "token_type_ids") if name in lab.graph.inputs]
    arrays, other = lab.inputs(pattern), lab.inputs(pattern, seed=1)
    mask = arrays.get("attention_mask")
    if mask is None or not ids or any(arrays[name].shape != mask.shape for name in ids):
        return
    changed = {name: np.where(mask != 0, arrays[name], (other[name] + 1) % _values(name, lab)) for name in ids}
    outputs = compute(arrays)
    yield lab.apart(outputs, compute({**arrays, **changed}), lab.counting(arrays, outputs))


def padded_row_alone(lab: Laboratory, compute: Remembered) -> Iterator[float]:
    """A row that was padded gives what it gives alone, without padding."""
    arrays = lab.inputs("right")
    mask = arrays.get("attention_mask")
    if mask is None or mask.ndim != 2 or set(lab.sizes) != {"batch", "sequence"} or _has_other_axes(lab.graph):
        return
    outputs = compute(arrays)
    for row, length in enumerate(mask.sum(axis=-1)):

        def cut(values: Arrays, row: int = row, length: int = int(length)) -> dict[str, Array]:
            return lab.taken(lab.taken(values, "batch", [row]), "sequence", range(length))

        alone = cut(arrays)
        padded = cut(outputs)
        yield lab.apart(padded, compute(alone), lab.counting(alone, padded))


def _has_other_axes(graph: Graph) -> bool:
    """Whether an output is longer than the text: where patches of the page follow it, rows have no like."""
    return bool({name for axes in graph.outputs.values() for name in axes.values()} - {"batch", "sequence"})


def no_look_ahead(lab: Laboratory, compute: Remembered) -> Iterator[float]:
    """What comes later changes nothing before it."""
    if "input_ids" in lab.graph.inputs and lab.sizes.get("sequence", 1) > 2:
        arrays = lab.inputs()
        ids = arrays["input_ids"].copy()
        ids[..., -1] = (ids[..., -1] + 1) % decoder_config(lab.config).vocab_size
        outputs = compute(arrays)
        earlier = range(lab.sizes["sequence"] - 1)
        along = {name: array for name, array in outputs.items() if "sequence" in lab.graph.outputs[name].values()}
        changed = compute({**arrays, "input_ids": ids})
        kept = lab.taken(along, "sequence", earlier)
        if kept:
            counts = {name: np.ones(array.shape, bool) for name, array in kept.items()}
            yield lab.apart(kept, lab.taken({name: changed[name] for name in along}, "sequence", earlier), counts)


RELATIONS: Mapping[str, Relation] = {
    "two runs agree to the bit": deterministic,
    "a row doesn't see the others": permuted_batch,
    "padding at the end changes nothing": partial(padding_tokens, "right"),
    "padding at the start changes nothing": partial(padding_tokens, "left"),
    "a padded row is as alone": padded_row_alone,
    "the future changes nothing": no_look_ahead,
}


def check_relations(lab: Laboratory, eager: Compute, file: Compute, run: Run | None = None) -> tuple[Check, ...]:
    """Every relation that eager obeys, asked of the file; and which inputs matter to both.

    Args:
        lab: Sizes, floors and seed.
        eager: The reference.
        file: What is judged.
        run: A case that both have computed; one with the seed and sizes of the laboratory needn't be computed again.
    """
    known = Remembered(eager)
    judged = Remembered(shaped_as(known, file))
    if run is not None and run.given is not None and _shapes(run.given) == _shapes(run.eager):
        known.knows(run.arrays, run.eager)
        judged.knows(run.arrays, run.given)
    checks = [_asked(name, relation, lab, known, judged) for name, relation in RELATIONS.items()]
    return tuple(check for check in checks if check) + tuple(_sensitivity(lab, known, judged))


def shaped_as(eager: Compute, file: Compute) -> Compute:
    """The file, refused where its outputs have other shapes than eager's: there is nothing to relate then."""

    def shaped(arrays: Arrays) -> Arrays:
        given, wanted = file(arrays), eager(arrays)
        for name, array in given.items():
            if array.shape != wanted[name].shape:
                message = f"{name}: shape {array.shape} doesn't match {wanted[name].shape}"
                raise ExportError("run-failed", message)
        return given

    return shaped


def _shapes(outputs: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in outputs.items()}


def _asked(name: str, relation: Relation, lab: Laboratory, eager: Remembered, file: Remembered) -> Check | None:
    try:
        on_eager = list(relation(replace(lab, floors=lab.eager_floors), eager))
        if not on_eager:
            return None
        if max(on_eager) > 1:
            return Check(name=name, status=Status.PASSED, message="not applicable: the eager model doesn't obey it")
    except ExportError as error:
        return Check(name=name, status=Status.PASSED, message=f"not applicable: {error.problem.message}")
    try:
        worst = max(relation(lab, file))
    except ExportError as error:
        return refused(name, error)
    if worst > 1:
        return Check(name=name, status=Status.FAILED, message=f"off by {worst:.3g} times what rounding may do")
    return Check(name=name, status=Status.PASSED)


def refused(name: str, error: ExportError) -> Check:
    """A check that a file refused to take: a fault, unless it would have needed sizes that the file doesn't promise."""
    if error.problem.kind == "not-promised":
        return Check(name=name, status=Status.PASSED, message=f"not applicable: {error.problem.message}")
    return Check(name=name, status=Status.FAILED, message=error.problem.message)


def _sensitivity(lab: Laboratory, eager: Compute, file: Compute) -> Iterator[Check]:
    """Changing an input changes the outputs exactly when it does so in eager."""
    arrays, others = lab.inputs("right"), lab.inputs("left", seed=7)
    try:
        before = {"eager": eager(arrays), "file": file(arrays)}
        for name in lab.graph.inputs:
            changed = {**arrays, name: _other(arrays[name], others[name])}
            counts = lab.counting(arrays, before["eager"])
            counts = {output: each & lab.counting(changed, before["eager"])[output] for output, each in counts.items()}
            moved = {
                who: lab.apart(before[who], compute(changed), counts)
                for who, compute in (("eager", eager), ("file", file))
            }
            yield _compared(f"{name} matters as in eager", moved["eager"], moved["file"])
    except ExportError as error:
        yield Check(name="inputs matter as in eager", status=Status.FAILED, message=error.problem.message)


def _compared(name: str, eager: float, file: float) -> Check:
    if eager > 10 and file <= 1:
        return Check(name=name, status=Status.FAILED, message="the file ignores it")
    if eager == 0 and file > 1:
        return Check(name=name, status=Status.FAILED, message="eager ignores it, the file doesn't")
    return Check(name=name, status=Status.PASSED)


def _other(array: Array, proposed: Array) -> Array:
    """Other values of the same kind: the proposed ones, or where those are the same, the reverse."""
    if not np.array_equal(array, proposed):
        return proposed
    return np.ascontiguousarray(array[..., ::-1])


def _values(name: str, lab: Laboratory) -> int:
    return int(
        decoder_config(lab.config).vocab_size
        if name == "input_ids"
        else max(getattr(lab.config, "type_vocab_size", 2), 1)
    )
