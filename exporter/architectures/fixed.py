"""Axes that a manifest fixes at a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.architectures.base import Axes, Graph
from exporter.results import ExportError
from exporter.tasks import nearest

__all__ = ["fix_axes"]


def fix_axes(graphs: Sequence[Graph], sizes: Mapping[str, int]) -> tuple[Graph, ...]:
    """The graphs with some axes at one size each, by name.

    Raises:
        ExportError: No graph has such an axis, or it can't have this size.
    """
    known = tuple(sorted({name for graph in graphs for axes in graph.inputs.values() for name in axes.values()}))
    for name, size in sizes.items():
        if name not in known:
            near = nearest(name, known)
            raise ExportError(
                "unknown-axis",
                f"`axes` names {name!r}, which is no axis of this model.",
                f"Did you mean {near!r}?" if near else f"Its axes: {', '.join(known) or 'none'}.",
            )
        for graph in graphs:
            allowed = graph.ranges.get(name)
            if allowed is not None and allowed.nearest(size) != size:
                raise ExportError("axis-size", f"`axes` fixes {name!r} at {size}, a size this model can't take.")
    return tuple(_fixed(graph, sizes) for graph in graphs) if sizes else tuple(graphs)


def _fixed(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    def left(named: Mapping[str, Axes]) -> dict[str, Axes]:
        return {
            name: {index: axis for index, axis in axes.items() if axis not in sizes} for name, axes in named.items()
        }

    return replace(graph, inputs=left(graph.inputs), outputs=left(graph.outputs), fixed={**graph.fixed, **sizes})
