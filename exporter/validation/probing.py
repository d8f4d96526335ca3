"""What a file does with sizes that it doesn't promise: a trace may run at them, and be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from exporter.results import Check, ExportError, Status
from exporter.validation.cases import Case
from exporter.validation.interface import Interface
from exporter.validation.reference import Reference
from exporter.validation.relations import Arrays
from exporter.validation.runs import Run, Tolerances, compared, run_file

__all__ = ["Probed", "probe"]


@dataclass(frozen=True)
class Probed:
    """Names of the cases beyond what was promised, by what the file made of them."""

    correct: tuple[str, ...]
    refused: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def note(self) -> str:
        """What a user has to know; empty where nothing is wrong."""
        return f"WRONG at sizes other than the traced ones: {', '.join(self.wrong)}" if self.wrong else ""

    def checks(self, fixed_sizes: bool) -> Iterator[Check]:
        """What is told.

        Args:
            fixed_sizes: Whether every other size has to be refused.
        """
        kinds = (("also correct", self.correct), ("refuses", self.refused), ("WRONG", self.wrong))
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds if names)
        if not counts:
            return
        wrong = f": {', '.join(self.wrong)}" if self.wrong else ""
        yield Check(name="other sizes", status=Status.PASSED, message=counts + wrong)
        if fixed_sizes and (ran := self.correct + self.wrong):
            message = f"should be refused, but runs: {', '.join(ran)}"
            yield Check(name="fixed sizes", status=Status.FAILED, message=message)


def probe(
    interface: Interface, reference: Reference, planned: Iterable[tuple[Case, Arrays]], tolerances: Tolerances
) -> Probed:
    """Run every case that the file doesn't promise and eager takes.

    Args:
        interface: The file.
        reference: The eager model.
        planned: Cases and their inputs.
        tolerances: Of the promised sizes.
    """
    # At another size a kernel may be another one, and rounds otherwise, even where eager's code runs.
    usual = replace(tolerances, factor=None)
    found: dict[str, list[str]] = {"correct": [], "refused": [], "wrong": []}
    for case, arrays in planned:
        if not interface.promises(arrays):
            try:
                eager = reference.run(interface.graph, arrays)
            except ExportError:
                continue
            run = run_file(interface, Run(case, arrays, eager))
            if run.given is None:
                found["refused"].append(case.name)
            else:
                passed = compared(interface.graph, run, usual).status is Status.PASSED
                found["correct" if passed else "wrong"].append(case.name)
    return Probed(**{kind: tuple(names) for kind, names in found.items()})
