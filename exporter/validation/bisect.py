"""Where a wrong file first goes wrong: the module of the eager model whose result appears nowhere in the file.

Names are of no use, because exporters rename and fuse; values are. Both sides are run in float64 with every
intermediate result, and a module's result is looked for among those of the file with as many values, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from exporter.runner import Array

__all__ = ["first_diverging", "recorded"]

Arrays = Mapping[str, Array]

_SMALLEST = 1e-9
_SHARE = 0.03
_NEIGHBOURS = 3


def recorded(model: nn.Module, run: Callable[[], object]) -> list[tuple[str, Array]]:
    """Names and results of the innermost modules of a model, in the order in which they finish.

    Args:
        model: The eager model.
        run: Runs it.
    """
    results: list[tuple[str, Array]] = []

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) and output else output
            if isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1:
                results.append((name, value.detach().numpy().copy()))

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(keep(name)) for name, module in leaves]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return results


def first_diverging(modules: list[tuple[str, Array]], intermediate: Arrays, error: float) -> str:
    """Name of the first module whose result the file doesn't have; empty when that can't be told.

    Args:
        modules: Results of the eager model's modules, in order.
        intermediate: Every value of the file.
        error: Error of the wrong output, relative to its largest value.
    """
    if not modules:
        return ""
    by_size: dict[int, list[Array]] = {}
    for array in intermediate.values():
        by_size.setdefault(array.size, []).append(np.sort(array, axis=None))
    allowed = max(_SMALLEST, _SHARE * min(error, 1.0))
    found = np.asarray([_nearest(value, by_size.get(value.size, [])) <= allowed for _, value in modules])
    # Some results never come to be in a file, and some behind a fault don't depend on it: the split that leaves most
    # found before and most missing behind is the place.
    before = np.concatenate([[0], np.cumsum(found)])
    behind = np.concatenate([np.cumsum(~found[::-1])[::-1], [0]])
    place = int((before + behind).argmax())
    # Its neighbours may be sound where they don't depend on it: a wrong query stands before a right key and value.
    earlier = [index for index in range(max(place - _NEIGHBOURS, 0), place) if not found[index]]
    place = min([place, *earlier])
    return modules[place][0] if place < len(modules) else ""


def _nearest(value: Array, candidates: list[Array]) -> float:
    """Distance to the most similar candidate, relative to the largest value; sorted, so that layout plays no part."""
    wanted = np.sort(value, axis=None)
    scale = float(np.abs(wanted).max()) or 1.0
    return min((float(np.abs(each - wanted).max()) / scale for each in candidates), default=np.inf)
