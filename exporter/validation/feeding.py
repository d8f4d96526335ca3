"""Arrays by a graph's names, as a file takes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.results import TensorInfo
from exporter.runner import Array, Runner

__all__ = ["fed"]


def fed(
    runner: Runner, pairs: Mapping[str, str], idle: tuple[TensorInfo, ...], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """What a file is run with.

    Args:
        runner: The file.
        pairs: Name in the file by name in the graph.
        idle: Inputs of the file that nothing reads: zeros.
        arrays: By the graph's names; those that the file doesn't take are left out.
    """
    declared = {each.name: each for each in runner.inputs}
    taken = {pairs[name]: array for name, array in arrays.items() if name in pairs}
    sizes = {
        axis: size
        for name, array in taken.items()
        for axis, size in zip(declared[name].shape, array.shape, strict=False)
        if isinstance(axis, str)
    }
    zeros = {
        each.name: np.zeros([axis if isinstance(axis, int) else sizes.get(axis, 1) for axis in each.shape], each.dtype)
        for each in idle
    }
    return {name: _as(array, declared[name].dtype) for name, array in taken.items()} | zeros


def _as(array: Array, dtype: str) -> Array:
    """The array in the type that the file declares, where that is a type of the same kind."""
    if dtype in ("", "bfloat16"):
        return array
    wanted = np.dtype(dtype)
    whole = "iub"
    alike = wanted.kind == array.dtype.kind or (wanted.kind in whole and array.dtype.kind in whole)
    return array.astype(wanted, copy=False) if alike else array
