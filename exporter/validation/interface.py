"""A file in the names of a graph.

Our own files have to agree to the letter. Someone else's may leave out optional inputs, add outputs, order them
otherwise or number them: that is noted, and the graph becomes what both sides have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from exporter.architectures import Graph
from exporter.results import Check, ExportError, Status, TensorInfo
from exporter.runner import Array, Runner
from exporter.validation.feeding import fed
from exporter.validation.foreign import match_foreign
from exporter.validation.subject import Asked
from exporter.validation.trial import declared_sizes

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
        idle: Inputs of the file that nothing reads and the graph doesn't know.
        fixed: Sizes of axes that the file doesn't vary and doesn't declare.
    """

    graph: Graph
    runner: Runner
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    idle: tuple[TensorInfo, ...] = ()
    fixed: Mapping[str, int] = field(default_factory=dict)

    def run(self, arrays: Mapping[str, Array], runner: Runner | None = None) -> dict[str, Array]:
        """The file's outputs for arrays by the graph's names, in the graph's names.

        Args:
            arrays: Inputs; those that the file doesn't take are left out.
            runner: Another way to run the same file.

        Raises:
            ExportError: The runtime refuses.
        """
        used = runner or self.runner
        given = used.run(fed(used, self.inputs, self.idle, arrays))
        return {name: given[theirs] for name, theirs in self.outputs.items()}

    def run_as_promised(self, arrays: Mapping[str, Array], runner: Runner | None = None) -> dict[str, Array]:
        """The same, at sizes that the file promises.

        Raises:
            ExportError: The file promises no such sizes (kind ``not-promised``), or the runtime refuses.
        """
        if not self.promises(arrays):
            sizes = ", ".join(f"{axis}={size}" for axis, size in self.static.items())
            raise ExportError("not-promised", f"the file takes only {sizes or 'other sizes'}")
        return self.run(arrays, runner)

    @property
    def static(self) -> dict[str, int]:
        """Sizes to which the file holds axes that the graph leaves open."""
        return {**declared_sizes(self.graph, self.runner, self.inputs), **self.fixed}

    @property
    def declares_sizes(self) -> bool:
        """Whether the file says anything about the shapes that it takes."""
        return any(each.shape for each in self.runner.inputs)

    def promises(self, arrays: Mapping[str, Array]) -> bool:
        """Whether the file takes inputs of these sizes.

        The declared shapes say so. A file that declares none says it by running: to refuse is safe, to return wrong
        numbers is not.
        """
        if not self.declares_sizes:
            return self._takes(arrays)
        declared = {each.name: each.shape for each in self.runner.inputs}
        return all(
            not isinstance(size, int) or size == array.shape[index]
            for name, array in arrays.items()
            if name in self.inputs
            for index, size in enumerate(declared[self.inputs[name]])
            if index < array.ndim
        )

    def _takes(self, arrays: Mapping[str, Array]) -> bool:
        # Of the sizes alone: small numbers are in every vocabulary.
        plain = {
            name: np.minimum(array, 1) if array.dtype.kind in "iu" else np.zeros_like(array)
            for name, array in arrays.items()
        }
        try:
            self.run(plain)
        except ExportError:
            return False
        return True


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
    found = match_foreign(graph, runner, model)
    return Interface(
        found.graph,
        runner,
        found.inputs,
        found.outputs,
        tuple(found.checks),
        tuple(found.notes),
        found.idle,
        found.fixed,
    )


def _same(kind: str, wanted: tuple[str, ...], given: tuple[str, ...]) -> Check:
    name = f"{kind} names"
    if wanted == given:
        return Check(name=name, status=Status.PASSED)
    order = "in another order" if sorted(wanted) == sorted(given) else "other names"
    return Check(name=name, status=Status.FAILED, message=f"{order}: {', '.join(given)}; not {', '.join(wanted)}")


def _cut(graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Graph:
    return replace(
        graph,
        inputs={name: axes for name, axes in graph.inputs.items() if name in inputs},
        outputs={name: axes for name, axes in graph.outputs.items() if name in outputs},
    )
