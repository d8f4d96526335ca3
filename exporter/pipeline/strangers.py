"""Which graphs of a model the files of someone else are, told by what they take and give: their names say little."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from exporter import onnx
from exporter.architectures import Architecture, Axes, Graph
from exporter.architectures.cache import PAST, PRESENT, takes_past
from exporter.results import ExportError
from exporter.validation.foreign import plain_name

__all__ = ["graphs_in", "model_files"]

_SUFFIXES = {"onnx": (".onnx",), "torchscript": (".pt", ".pth")}
_OPTIONAL = ("position_ids",)
_PAST_PART = "past_sequence+"


def model_files(place: Path, format_name: str) -> tuple[Path, ...]:
    """The file itself, or every model file of a folder.

    Raises:
        ExportError: The folder holds none.
    """
    if not place.is_dir():
        return (place,)
    files = tuple(sorted(each for each in place.iterdir() if each.suffix in _SUFFIXES[format_name]))
    if not files:
        raise ExportError(
            "no-artifact", f"{place} holds no model file.", "Name the file itself, or a folder that a run wrote."
        )
    return files


def graphs_in(file: Path, format_name: str, architecture: Architecture) -> tuple[tuple[Architecture, Graph, bool], ...]:
    """The graphs that a file computes: one, or both decoders of a merged file.

    Args:
        file: The model file.
        format_name: ``onnx`` or ``torchscript``.
        architecture: The model for the task that was asked for. Exporters split and join a model's halves whatever a
            task is called, so that its form with or without past is looked at too.

    Returns:
        For each the description that it is from, the graph, and whether it is a branch of the file.
    """
    if format_name != "onnx":
        return ((architecture, architecture.graphs[0], False),)
    inputs, outputs = onnx.declared_names(file)
    known = list(_known(architecture))
    if onnx.USE_CACHE_BRANCH in inputs:
        held = [each for each in known if _reads_no_more(each[1], inputs)]
        sides = [[each for each in held if takes_past(each[1]) is side] for side in (False, True)]
        if held:
            likest = (max(side, key=lambda each: _likeness(each[1], inputs, outputs)) for side in sides if side)
            return tuple((form, graph, True) for form, graph in likest)
    form, graph = max(known, key=lambda each: (_likeness(each[1], inputs, outputs), each[1].file == file.stem))
    return ((form, graph, False),)


def _known(architecture: Architecture) -> Iterator[tuple[Architecture, Graph]]:
    for form in _forms(architecture):
        for graph in form.graphs:
            yield form, graph
            if graph.part == "decoder_first":
                # Where nothing is to follow, a decoder gives no cache.
                plain = {name: axes for name, axes in graph.outputs.items() if not name.startswith(PRESENT)}
                yield form, replace(graph, outputs=plain)
            if graph.part == "decoder":
                yield form, _prefill(graph)


def _prefill(decoder: Graph) -> Graph:
    """A decoder that gives a cache and takes none."""

    def without_past(tensors: Mapping[str, Axes]) -> dict[str, Axes]:
        taken = {name: axes for name, axes in tensors.items() if not name.startswith(PAST)}
        return {
            name: {index: axis.removeprefix(_PAST_PART) for index, axis in axes.items()} for name, axes in taken.items()
        }

    return replace(
        decoder,
        part="decoder_prefill",
        inputs=without_past(decoder.inputs),
        outputs=without_past(decoder.outputs),
    )


def _forms(architecture: Architecture) -> Iterator[Architecture]:
    yield architecture
    if architecture.use_past or architecture.task in architecture.tasks_with_past:
        other = copy.copy(architecture)
        other.use_past = not architecture.use_past
        yield other


def _reads_no_more(graph: Graph, inputs: Iterable[str]) -> bool:
    return set(graph.inputs) - set(_OPTIONAL) <= set(inputs)


def _likeness(graph: Graph, inputs: Iterable[str], outputs: Iterable[str]) -> float:
    """Share of the names that both sides have."""
    ours, theirs = _named(graph.inputs, graph.outputs), _named(inputs, outputs)
    return len(ours & theirs) / len(ours | theirs)


def _named(inputs: Iterable[str], outputs: Iterable[str]) -> set[tuple[str, str]]:
    return {("in", plain_name(name, PAST)) for name in inputs} | {
        ("out", plain_name(name, PRESENT)) for name in outputs
    }
