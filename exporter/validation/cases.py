"""Cases as data: named sizes, a mask and a seed. What is listed here is what a file has to stand.

The sizes are primes where they can be, so that no two axes agree by accident and nothing that was rounded up to a
block, a window or a bucket fits by luck.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from exporter.architectures import AxisRange, Graph
from exporter.architectures.sizes import decoder_config
from exporter.inputs import Mask, make
from exporter.runner import Array
from exporter.validation.positions import padding_masks

__all__ = ["LONGEST", "MASKS", "Case", "axes_of", "inputs_of", "plan", "windows"]

LONGEST = 2048
"""No case is longer than this: attention grows with the square."""

_PAST = "past_"

_UNLIMITED = 307
"""Length of the longest case for a model without a maximum: beyond every usual bucket and window."""

_PRIMES = (3, 11, 13, 17, 19, 23, 29)
_LARGER_PRIMES = (5, 37, 41, 43, 47, 53, 59)

_ALONE: Mapping[str, tuple[int, ...]] = {
    "batch": (1, 3, 4, 5, 8),
    "num_choices": (1, 2, 5),
    "past": (0, 1, 2, 7, 13),
    "length": (1, 2, 3, 13, 31),
}

_ROWS, _ROWS_OF_WHOLE_INPUTS, _ROWS_OF_LARGE_INPUTS = (17, 67), (17,), (9,)
"""Batches beyond what buffers are made for. Rows of an image or a sound can't be made short, so there are fewer, and
fewest where they have more numbers than this:"""

_LARGE_INPUT = 2**16

_FITTING = (4, 5, 6, 7, 10, 12, 16, 20, 24, 32, 48, 64, 128)
"""Lengths that fit a block, where whatever rounds up to one does nothing; and a few between."""

_WINDOW = re.compile(r"(window|distance|bucket|block|chunk|local|stride|kernel|span|size_per)", re.IGNORECASE)

MASKS: tuple[Mask, ...] = ("right", "left", "holes", "one-row-masked", "first-row-masked")


@dataclass(frozen=True)
class Case:
    """Inputs that can be made again at any time.

    Attributes:
        name: Unique within a graph; what ``--case`` takes.
        sizes: Size by axis name.
        mask: Padding pattern.
        seed: Seed of the values.
        precise: Whether eager is also run in float64: small cases that between them show how the model rounds.
        again: Whether the file is run in other ways too: those that between them use every axis and mask.
        large: Whether it takes long; what a quick run leaves out.
        ids: Which token ids: ``drawn`` at random, ``all`` of the vocabulary, or the ``special`` ones, as if they were
            text.
    """

    name: str
    sizes: Mapping[str, int]
    mask: Mask = "ones"
    seed: int = 0
    precise: bool = False
    again: bool = False
    large: bool = False
    ids: Literal["drawn", "all", "special"] = "drawn"


def axes_of(graph: Graph) -> tuple[str, ...]:
    """The axes that inputs declare dynamic, without sums of others; ``batch`` first."""
    names = {name for axes in graph.inputs.values() for name in axes.values() if "+" not in name}
    return tuple(sorted(names, key=lambda name: (name != "batch", name)))


def windows(config: Any) -> tuple[int, ...]:
    """Lengths at which attention may change: windows, blocks, buckets and distances that a configuration names."""
    found: set[int] = set()
    # The halves of a model that is two have configurations of their own.
    halves = [half for half in vars(config).values() if hasattr(half, "model_type")]
    for name, value in (each for half in (config, *halves) for each in sorted(vars(half).items())):
        if _WINDOW.search(name):
            values = value if isinstance(value, (list, tuple)) else (value,)
            found |= {each for each in values if type(each) is int and 2 <= each < LONGEST}
    return tuple(sorted(found))


def plan(graph: Graph, base: Mapping[str, int], config: Any, seed: int = 0) -> tuple[Case, ...]:
    """Every case of a graph.

    Args:
        graph: The graph; its axes are varied alone and together, its masks take every pattern.
        base: Sizes of the axes that a case doesn't vary: the traced ones.
        config: The model's configuration; its windows become lengths.
        seed: Moves the seed of every case.
    """
    fitted: dict[str, Case] = {}
    for case in _proposed(graph, base, config):
        # What was traced stays as it is: a file may promise nothing else.
        sizes = dict(base) if case.sizes == base else _fit(graph, case.sizes)
        if not any((each.sizes, each.mask, each.ids) == (sizes, case.mask, case.ids) for each in fitted.values()):
            own = zlib.crc32(f"{seed} {graph.file} {case.name}".encode())
            fitted[case.name] = replace(case, sizes=sizes, seed=own)
    return tuple(fitted.values())


def inputs_of(case: Case, graph: Graph, config: Any) -> dict[str, Array]:
    """The arrays of a case, in the order of the graph's inputs."""
    arrays = make(graph, case.sizes, config, case.mask, case.seed)
    if case.ids != "drawn":
        shape, text = arrays["input_ids"].shape, decoder_config(config)
        arrays["input_ids"] = _all_ids(shape, text.vocab_size) if case.ids == "all" else _special_ids(shape, text)
    return arrays


def _all_ids(shape: tuple[int, ...], vocabulary: int) -> Array:
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape) % vocabulary


def _special_ids(shape: tuple[int, ...], config: Any) -> Array:
    """The ids that mean something to a model, and the ends of its vocabulary; every row has the same, turned on."""
    named = (value for name, value in vars(config).items() if name.endswith("_token_id") and type(value) is int)
    known = sorted({0, config.vocab_size - 1} | {each for each in named if 0 <= each < config.vocab_size})
    row = np.resize(np.asarray(known, np.int64), shape[-1])
    return np.stack([np.roll(row, index) for index in range(math.prod(shape[:-1]))]).reshape(shape)


def _proposed(graph: Graph, base: Mapping[str, int], config: Any) -> Iterator[Case]:
    axes, lengths = axes_of(graph), windows(config)
    together = dict(base) | dict(zip(axes, _PRIMES, strict=False))
    several = len(axes) > 1
    yield Case("traced", base, precise=True, again=True)
    # Of inputs that can't be made short, batches between the smallest and the largest show nothing more.
    large = not several and _numbers(graph, base, config) > _LARGE_INPUT
    # Of a batch alone nothing else is seen than what was traced, in more time.
    yield Case("together", together, precise=not large, again=several)
    for axis in axes:
        for size in (1,) if large else _ALONE[_kind(axis)]:
            begins = _kind(axis) == "past" and size == 0
            yield Case(f"{axis}={size}", {**base, axis: size}, precise=begins or large, again=begins)
    rows = _ROWS if several else _ROWS_OF_LARGE_INPUTS if large else _ROWS_OF_WHOLE_INPUTS
    yield from _more_rows(base, rows if "batch" in axes else ())
    if several:
        yield Case("together-larger", dict(base) | dict(zip(axes, _LARGER_PRIMES, strict=False)), precise=True)
    smallest = {axis: graph.ranges.get(axis, AxisRange()).minimum for axis in axes}
    yield Case("together-smallest", smallest, precise=True)
    yield from _masked(graph, base, together)
    for axis in axes:
        if _kind(axis) in ("length", "past"):
            yield from _long(graph, axis, base, lengths)
    vocabulary = getattr(decoder_config(config), "vocab_size", None)
    if vocabulary and "input_ids" in graph.inputs:
        yield Case("special-ids", base, ids="special")
        if vocabulary <= LONGEST:
            yield from _sweep(graph, base, vocabulary)


def _numbers(graph: Graph, base: Mapping[str, int], config: Any) -> int:
    """How many numbers one row of the inputs has."""
    return sum(array.size for array in make(graph, {**base, "batch": 1}, config).values())


def _more_rows(base: Mapping[str, int], batches: tuple[int, ...]) -> Iterator[Case]:
    """More rows than anybody traces with; the more, the shorter."""
    for rows in batches:
        short = {axis: min(size, 2) if rows > max(base.values()) * 2 else size for axis, size in base.items()}
        yield Case(f"batch={rows}", {**short, "batch": rows}, large=True)


def _masked(graph: Graph, base: Mapping[str, int], together: Mapping[str, int]) -> Iterator[Case]:
    """Every pattern of padding; the first token after a past, too."""
    masked = bool(padding_masks(graph))
    for past in (axis for axis in axes_of(graph) if axis.startswith(_PAST)):
        step = {**base, "batch": 3, past: 7, past.removeprefix(_PAST): 1}
        yield Case("step", step, precise=True)
        if masked:
            yield Case("step-mask-left", step, "left", precise=True, again=True)
    if masked:
        for mask in MASKS:
            usual = mask in ("right", "left")
            yield Case(f"mask-{mask}", together, mask, precise=usual, again=usual)
            # A file that takes only what was traced is asked with padding too.
            yield Case(f"traced-mask-{mask}", base, mask, precise=mask == "left", again=mask == "left")


def _long(graph: Graph, axis: str, base: Mapping[str, int], lengths: tuple[int, ...]) -> Iterator[Case]:
    """Lengths that fit a block, those just beyond every window, and as long as the model goes."""
    smallest = {name: 1 if _kind(name) == "batch" else size for name, size in base.items()}
    if axis.startswith(_PAST):
        smallest[axis.removeprefix(_PAST)] = 1
    elif _PAST + axis in smallest:
        smallest[_PAST + axis] = 0
    end = _maximum(graph, axis, smallest)
    for length in (*_FITTING, *(length + 1 for length in lengths)):
        if end is None or length <= end:
            yield Case(f"{axis}={length}", {**smallest, axis: length}, large=True)
    yield Case(f"{axis}-longest", {**smallest, axis: min(end or _UNLIMITED, LONGEST)}, large=True)


def _sweep(graph: Graph, base: Mapping[str, int], vocabulary: int) -> Iterator[Case]:
    """Every id once."""
    axes = graph.inputs["input_ids"]
    axis = axes.get(max(axes, default=0), "")
    if axes.get(0) == "batch" and axis not in ("", "batch"):
        length = min(_maximum(graph, axis, base) or _UNLIMITED, 101)
        others = {name: min(size, 2) for name, size in base.items()}
        sizes = {**others, "batch": -(-vocabulary // length), axis: length}
        yield Case("vocabulary", sizes, large=True, ids="all")


def _maximum(graph: Graph, axis: str, sizes: Mapping[str, int]) -> int | None:
    """The longest that an axis can be beside the other sizes: a sum of axes may have a maximum of its own."""
    ends = [graph.ranges.get(axis, AxisRange()).maximum]
    for name, each in graph.ranges.items():
        parts = [part.strip() for part in name.split("+")]
        if len(parts) > 1 and axis in parts and each.maximum is not None:
            ends.append(each.maximum - sum(sizes.get(part, 0) for part in parts if part != axis))
    known = [end for end in ends if end is not None]
    return min(known, default=None)


def _fit(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """The nearest sizes that the ranges allow."""
    fitted = dict(sizes)
    for axis in fitted:
        allowed = graph.ranges.get(axis, AxisRange())
        size = max(fitted[axis], allowed.minimum)
        end = _maximum(graph, axis, fitted)
        if end is not None:
            size = max(min(size, end), allowed.minimum)
        step = allowed.multiple_of
        fitted[axis] = max(size // step, -(-allowed.minimum // step)) * step if step > 1 else size
    return fitted


def _kind(axis: str) -> str:
    if axis.endswith("batch"):
        return "batch"
    if axis == "num_choices":
        return axis
    return "past" if axis.startswith(_PAST) else "length"
