"""Every way to open a file for the judge; it is read once for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TypedDict

from exporter.architectures import Graph
from exporter.onnx.branches import open_branch, read_branch
from exporter.onnx.contract import Read, read_model
from exporter.onnx.double import open_double, open_probe
from exporter.onnx.runtime import open_model
from exporter.runner import Runner

__all__ = ["Openers", "openers"]


class Openers(TypedDict):
    """What an `exporter.validation.Artifact` takes under these names."""

    open: Callable[[], Runner]
    open_plain: Callable[[], Runner]
    open_double: Callable[[Collection[float]], Runner]
    open_probe: Callable[[Collection[float]], Runner]


def openers(path: Path, branch: Graph | None = None) -> Openers:
    """How to open a file as users do, without optimisation, in float64, and so with every intermediate result.

    Args:
        path: The file.
        branch: The graph of a merged file's two that is wanted; None for a file with one graph.
    """
    read: Read = functools.cache(read_model)
    opened: Callable[..., Runner] = partial(open_model, path, read=read)
    part = read
    if branch is not None:
        opened, part = partial(open_branch, path, branch, read=read), partial(read_branch, graph=branch, read=read)
    return Openers(
        open=opened,
        open_plain=partial(opened, optimise=False),
        open_double=partial(open_double, path, read=part),
        open_probe=partial(open_probe, path, read=part),
    )
