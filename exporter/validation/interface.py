"""The names of a file matched with the names of a graph.

Our own files have to agree to the letter. Someone else's may leave out optional inputs, add outputs, order them
otherwise or number them: that is noted, and the graph is cut down to what both sides have.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from exporter.architectures import Axes, Graph
from exporter.results import Check, Status, TensorInfo
from exporter.runner import Array, Runner
from exporter.validation.subject import Asked

__all__ = ["Interface", "match"]


@dataclass(frozen=True)
class Interface:
    """How to talk to a file in the graph's names.

    Attributes:
        graph: The graph with the inputs and outputs that both sides have.
        runner: The file.
        inputs: Name in the file by name in the graph.
        outputs: Likewise.
        checks: Whether the names are as they should be.
        notes: What is unusual and no fault.
    """

    graph: Graph
    runner: Runner
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    def run(self, arrays: Mapping[str, Array], runner: Runner | None = None) -> dict[str, Array]:
        """The file's outputs for arrays by the graph's names, in the graph's names.

        Args:
            arrays: Inputs; those that the file doesn't take are left out.
            runner: Another way to run the same file.

        Raises:
            ExportError: The runtime refuses.
        """
        used = runner or self.runner
        dtypes = {each.name: each.dtype for each in used.inputs}
        feed = {
            self.inputs[name]: _as(array, dtypes[self.inputs[name]])
            for name, array in arrays.items()
            if name in self.inputs
        }
        given = used.run(feed)
        return {name: given[theirs] for name, theirs in self.outputs.items()}

    @property
    def static(self) -> dict[str, int]:
        """Sizes that the file declares for axes which the graph leaves open."""
        declared = {each.name: each.shape for each in self.runner.inputs}
        found: dict[str, int] = {}
        for name, theirs in self.inputs.items():
            for index, axis in self.graph.inputs[name].items():
                shape = declared[theirs]
                if index < len(shape) and isinstance(size := shape[index], int):
                    found[axis] = size
        return found

    def promises(self, arrays: Mapping[str, Array]) -> bool:
        """Whether the declared shapes admit these inputs."""
        declared = {each.name: each.shape for each in self.runner.inputs}
        return all(
            not isinstance(size, int) or size == array.shape[index]
            for name, array in arrays.items()
            if name in self.inputs
            for index, size in enumerate(declared[self.inputs[name]])
            if index < array.ndim
        )


def match(graph: Graph, runner: Runner, asked: Asked | None, model: nn.Module) -> Interface:
    """Match a file with the graph it claims to be.

    Args:
        graph: What should go in and out.
        runner: The file.
        asked: What our export was asked for; None for someone else's file.
        model: The eager model, whose ``forward`` knows inputs that the graph leaves out.
    """
    given = tuple(each.name for each in runner.inputs), tuple(each.name for each in runner.outputs)
    if asked is not None:
        checks = (_same("input", tuple(graph.inputs), given[0]), _same("output", tuple(graph.outputs), given[1]))
        inputs = {name: name for name in graph.inputs if name in given[0]}
        outputs = {name: name for name in graph.outputs if name in given[1]}
        return Interface(_cut(graph, inputs, outputs), runner, inputs, outputs, checks)
    return _foreign(graph, runner, model)


def _same(kind: str, wanted: tuple[str, ...], given: tuple[str, ...]) -> Check:
    name = f"{kind} names"
    if wanted == given:
        return Check(name=name, status=Status.PASSED)
    order = "in another order" if sorted(wanted) == sorted(given) else "other names"
    return Check(name=name, status=Status.FAILED, message=f"{order}: {', '.join(given)}; not {', '.join(wanted)}")


def _foreign(graph: Graph, runner: Runner, model: nn.Module) -> Interface:
    notes: list[str] = []
    extended = _with_extra_inputs(graph, runner.inputs, model)
    inputs = _pair("input", tuple(extended.inputs), tuple(each.name for each in runner.inputs), notes)
    outputs = _pair("output", tuple(graph.outputs), tuple(each.name for each in runner.outputs), notes)
    checks = []
    if unknown := [each.name for each in runner.inputs if each.name not in inputs.values()]:
        message = f"the model knows no input {', '.join(unknown)}"
        checks.append(Check(name="input names", status=Status.FAILED, message=message))
    if not outputs:
        message = f"none of {', '.join(graph.outputs)} is among {', '.join(each.name for each in runner.outputs)}"
        checks.append(Check(name="output names", status=Status.FAILED, message=message))
    return Interface(_cut(extended, inputs, outputs), runner, inputs, outputs, tuple(checks), tuple(notes))


def _pair(kind: str, wanted: tuple[str, ...], given: tuple[str, ...], notes: list[str]) -> dict[str, str]:
    """Names of the file by names of the graph: the same ones, else by position where nothing is known by name."""
    same = {name: name for name in wanted if name in given}
    if not same and given:
        same = dict(zip(wanted, given, strict=False))
        pairs = ", ".join(f"{theirs} as {ours}" for ours, theirs in same.items())
        notes.append(f"{kind}s are taken by position: {pairs}")
    if missing := [name for name in wanted if name not in same]:
        notes.append(f"the file has no {kind} {', '.join(missing)}")
    if extra := [name for name in given if name not in same.values()]:
        notes.append(f"the file has another {kind}: {', '.join(extra)}")
    order = [name for name in given if name in same.values()]
    if list(same.values()) != order:
        notes.append(f"{kind}s come in another order: {', '.join(order)}")
    return same


def _with_extra_inputs(graph: Graph, given: tuple[TensorInfo, ...], model: nn.Module) -> Graph:
    """The graph with inputs that the file takes and ``forward`` knows, laid out like the ids."""
    known = inspect.signature(model.forward).parameters
    like: Axes = next((axes for name, axes in graph.inputs.items() if name.endswith("input_ids")), {})
    extra = {
        each.name: like
        for each in given
        if each.name not in graph.inputs and each.name in known and like and len(each.shape) == len(like)
    }
    return replace(graph, inputs={**graph.inputs, **extra})


def _cut(graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Graph:
    return replace(
        graph,
        inputs={name: axes for name, axes in graph.inputs.items() if name in inputs},
        outputs={name: axes for name, axes in graph.outputs.items() if name in outputs},
    )


def _as(array: Array, dtype: str) -> Array:
    """The array in the type that the file declares, where that is a type of the same kind."""
    if dtype in ("", "bfloat16"):
        return array
    wanted = np.dtype(dtype)
    whole = "iub"
    alike = wanted.kind == array.dtype.kind or (wanted.kind in whole and array.dtype.kind in whole)
    return array.astype(wanted, copy=False) if alike else array
