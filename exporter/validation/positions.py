"""Which positions of an output mean anything: what a model computes for padding is nobody's business."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from exporter.architectures import Axes, Graph
from exporter.runner import Array

__all__ = ["counting", "padding_masks"]

# A global attention mask (longformer) says how a token attends, not whether it is one.
_PADDING_MASK = re.compile(r"^(?!.*global).*(attention|pixel|padding)_mask$")


def padding_masks(graph: Graph) -> tuple[str, ...]:
    """Inputs that say which positions are padding; masks of another meaning (``bool_masked_pos``) are left out."""
    return tuple(name for name in graph.inputs if _PADDING_MASK.match(name))


def counting(graph: Graph, inputs: Mapping[str, Array], output: str, shape: tuple[int, ...]) -> Array:
    """True where a value of an output counts.

    A position that a mask calls padding doesn't count, nor does a row that is all padding.

    Args:
        graph: The graph; masks and outputs are matched by the names of their axes.
        inputs: What the graph was run with.
        output: Name of the output.
        shape: Its shape.
    """
    counts = np.ones(shape, dtype=bool)
    for name in padding_masks(graph):
        if name in inputs:
            counts &= _laid_over(inputs[name] != 0, graph.inputs[name], graph.outputs[output], shape)
    return counts


def _laid_over(mask: Array, mask_axes: Axes, axes: Axes, shape: tuple[int, ...]) -> Array:
    """A mask spread over an output along the axes whose names they share; its other axes are reduced by any."""
    place = {name: index for index, name in axes.items() if index < len(shape)}
    target: dict[int, int] = {}
    for index in range(mask.ndim):
        name = mask_axes.get(index, "")
        newest = name.split("+")[-1].strip()
        if name not in place and newest in place:
            # Past and new tokens have one mask; an output of the new ones alone is at its end.
            length = shape[place[newest]]
            mask = np.take(mask, range(mask.shape[index] - length, mask.shape[index]), axis=index)
            name = newest
        if name in place and mask.shape[index] == shape[place[name]]:
            target[index] = place[name]
    reduced = mask.any(axis=tuple(index for index in range(mask.ndim) if index not in target))
    order = sorted(range(len(target)), key=lambda position: list(target.values())[position])
    laid = np.transpose(reduced, order)
    spread = [1] * len(shape)
    for size, index in zip(laid.shape, sorted(target.values()), strict=True):
        spread[index] = size
    return np.broadcast_to(laid.reshape(spread), shape)
