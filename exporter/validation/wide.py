"""The graph in float64, where nothing but the graph is left to be wrong.

A file in float32 is held against eager in float64. One in lower precision is held against eager with the numbers that
the file stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from exporter.results import CaseResult, Check, ExportError, Status
from exporter.runner import Runner
from exporter.validation.cases import Case
from exporter.validation.interface import Interface
from exporter.validation.lowered import Lowered, as_stored, exact_relations
from exporter.validation.precision import LOWER
from exporter.validation.reference import Reference
from exporter.validation.relations import Arrays, Laboratory
from exporter.validation.runs import Run, Tolerances, compared, decides_otherwise, floors_of, run_again, run_file
from exporter.validation.subject import Settings
from exporter.validation.weights import WeightReport

__all__ = ["WideLook"]

_SUFFIX = "@float64"

FACTOR = 1e-4
"""Multiple of the float32 floor that a graph may be off when it is computed in float64, if it holds no numbers but the
checkpoint's and simple ones. Healthy graphs stay below 1e-6."""

FACTOR_SCALARS = 0.5
"""The same for a graph with scalars of which only the float32 is known. Healthy graphs stay below 0.2."""

FACTOR_LOWERED_SCALARS = 200.0
"""The same in half precision, where an epsilon of 1e-12 becomes the smallest number there is. Healthy graphs stay below
70, and faults that float32 shows lie above 1,000."""

FACTOR_COMPUTED = 2.0
"""The same for a graph with tensors that its exporter computed in float32, such as folded position tables."""

CHEAP_BYTES = 2**25
"""A file in lower precision is run in float64 in every case, if the model has no more parameter bytes than this; in the
small cases and the longest, if it has more."""


@dataclass
class WideLook:
    """One file, opened so that it computes in float64.

    Attributes:
        opened: Gives the file in float64; None where there is no room for this look.
        interface: The same, opened as usual.
        reference: Eager models.
        weights: What the file stores.
        settings: How to judge.
        left_out: What was not done, and why; grows.
    """

    opened: Callable[[], Runner] | None
    interface: Interface
    reference: Reference
    weights: WeightReport
    settings: Settings
    left_out: list[str]

    @cached_property
    def runner(self) -> Runner | None:
        """The file in float64; None where it can't be."""
        if self.opened is None:
            return None
        try:
            return self.opened()
        except ExportError as error:
            if error.problem.kind != "no-float64":
                raise
            self.left_out.append(f"the graph in float64: {error.problem.message}")
            return None

    def agrees(self, run: Run, tolerances: Tolerances) -> bool:
        """Whether a case is right in float64, so that only the rounding of the file itself can make it wrong."""
        if self.runner is None:
            return False
        wide = run_file(self.interface, run, self.runner)
        return compared(self.interface.graph, wide, replace(tolerances, lenient_dtype=True)).status is Status.PASSED

    @cached_property
    def lowered(self) -> Lowered | None:
        """What a file in lower precision stores; None where it isn't one or can't be computed in float64."""
        if self.weights.dtype not in LOWER or self.runner is None:
            return None
        quantised, stored = self.runner.contract().quantised, self.interface.runner.weights()
        found = as_stored(self.weights.dtype, quantised, stored, self.reference)
        if found.reason:
            self.left_out.append(f"the graph against the very numbers that the file stores: {found.reason}")
        return found

    @cached_property
    def _twin(self) -> Reference | None:
        """Eager with the numbers of a file in lower precision."""
        return self.lowered.reference if self.lowered else None

    @cached_property
    def _factor(self) -> float | None:
        """None where nothing is known beyond the budget of a lower precision."""
        assert self.runner is not None
        if self.weights.dtype in LOWER and self._twin is None:
            return None
        contract = self.runner.contract()
        computed = self.lowered.computed if self.lowered and self._twin else self.weights.computed
        if computed or contract.float32_operators:
            return FACTOR_COMPUTED
        lowered = FACTOR_LOWERED_SCALARS if self._twin else FACTOR_SCALARS
        return lowered if contract.float32_scalars else FACTOR

    def as_eager(
        self, runs: Iterable[Run], tolerances: Tolerances, cases: Iterable[CaseResult]
    ) -> Iterator[CaseResult]:
        """Some cases against eager in float64.

        Args:
            runs: Cases that were run in eager.
            tolerances: Of float32; the floors are what the factors multiply.
            cases: Verdicts in float32.
        """
        if self.runner is None:
            return
        exact = [run for run in runs if run.exact is not None and self.settings.wants(run.case.name + _SUFFIX)]
        held = Tolerances(tolerances.floors, self._factor, lenient_dtype=True)
        for run in run_again(self.interface, self.runner, _SUFFIX, exact):
            result = compared(self.interface.graph, run, held)
            # A file that runs in float32 and not in float64 is no worse for it.
            if not result.outputs:
                self.left_out.append(f"{result.case}: {result.message}")
            elif decides_otherwise(result, cases):
                self.left_out.append(f"{result.case}: another bucket or rank than in float32, where the file agrees")
            else:
                yield result

    def as_stored(
        self, planned: Iterable[tuple[Case, Arrays]], runs: list[Run], tolerances: Tolerances
    ) -> Iterator[CaseResult]:
        """Cases against eager with the numbers that the file stores: of a small model all; none for a file in float32.

        Args:
            planned: Cases and their inputs.
            runs: Small cases that were run in eager, for the floors.
            tolerances: Of the file as it runs.
        """
        if self.runner is None or self._twin is None:
            return
        graph, cheap = self.interface.graph, self._twin.parameter_bytes <= CHEAP_BYTES
        held = Tolerances(floors_of(graph, runs), self._factor, lenient_dtype=True)
        for case, arrays in planned:
            usual = case.precise or case.again or case.name.endswith("-longest")
            skipped = (self.settings.quick and case.large) or not (usual or cheap)
            if not skipped and self.interface.promises(arrays) and (exact := self._twin.run64(graph, arrays)):
                asked = Run(case, arrays, exact, exact)
                run = run_file(self.interface, asked, self.runner, _SUFFIX)
                if run.given is None:
                    self.left_out.append(f"{run.case.name}: {run.refused}")
                    continue
                result = compared(graph, run, held)
                if result.status is Status.FAILED and self._decides_otherwise(result, asked, tolerances):
                    self.left_out.append(f"{result.case}: another bucket or rank than as it runs")
                else:
                    yield result

    def _decides_otherwise(self, wide: CaseResult, asked: Run, tolerances: Tolerances) -> bool:
        usual = compared(self.interface.graph, run_file(self.interface, asked), tolerances)
        return decides_otherwise(wide, [usual], times=2.0)

    def lowered_checks(self, lab: Laboratory | None) -> Iterator[Check]:
        """The stored numbers of a file in lower precision, and its relations where nothing rounds."""
        if self.lowered is None:
            return
        yield self.lowered.check
        if self._twin is not None and lab is not None and self._factor is not None:
            yield from exact_relations(
                lab, self._factor, self._twin, lambda arrays: self.interface.run_as_promised(arrays, self.runner)
            )
