"""One case in eager and in the file, side by side, and the noise floor that several of them give."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.architectures import Graph
from exporter.results import CaseResult, ExportError, Status, Tolerance, combine
from exporter.runner import Array, Runner
from exporter.validation.budget import FACTOR, Floor, distance, magnitude
from exporter.validation.cases import Case
from exporter.validation.comparison import Expectation, compare
from exporter.validation.interface import Interface
from exporter.validation.positions import counting
from exporter.validation.reference import Reference

__all__ = ["Run", "Tolerances", "compared", "decides_otherwise", "floors_of", "run_again", "run_case", "run_file"]

_UNUSUAL = 10.0
_FLIPPED = 1e-4
_FLIPPED_TIMES = 100.0


@dataclass(frozen=True)
class Run:
    """What eager and the file gave for one case.

    Attributes:
        case: The case.
        arrays: Its inputs, by the graph's names.
        eager: Outputs of eager in float32.
        exact: Outputs of eager in float64; None where that wasn't run or decided something otherwise.
        equivalents: Outputs of eager in float32 computed in other ways, where float64 can't be had.
        given: Outputs of the file; None where the runtime refused.
        refused: Why it refused.
        seconds: Time of all of it.
    """

    case: Case
    arrays: Mapping[str, Array]
    eager: Mapping[str, Array]
    exact: Mapping[str, Array] | None = None
    equivalents: tuple[Mapping[str, Array], ...] = ()
    given: Mapping[str, Array] | None = None
    refused: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Tolerances:
    """What the outputs of a run are held against.

    Attributes:
        floors: Noise floor by output.
        factor: Multiple of it that passes; None is the floor's own.
        explicit: A tolerance that a person set; it wins, and float32 is then the reference.
        exact: Whether float64 is the reference where there is one.
        lenient_dtype: Whether the file may give another floating-point type than eager.
    """

    floors: Mapping[str, Floor]
    factor: float | None = None
    explicit: Tolerance | None = None
    exact: bool = True
    lenient_dtype: bool = False

    def for_case(self, own: Mapping[str, Floor]) -> Tolerances:
        """The same for a case in which eager itself rounds more than usual; not without end, for then it *decided*."""
        floors = {
            name: replace(floor, relative=max(floor.relative, min(own[name].relative, floor.relative * _UNUSUAL)))
            for name, floor in self.floors.items()
        }
        return replace(self, floors=floors)

    def for_rounding(self) -> Tolerances:
        """The same for a case in which the graph is right, and the file rounds more than usual; not without end."""
        return replace(self, factor=(self.factor or FACTOR) * _UNUSUAL)

    def of(self, output: str, scale: float) -> Tolerance:
        """The tolerance of an output whose largest value is `scale`."""
        measured = self.floors[output].tolerance(scale, self.factor)
        if self.explicit is None:
            return measured
        return self.explicit.model_copy(update={"floor": measured.floor, "factor": measured.factor})


def run_case(reference: Reference, interface: Interface, case: Case, arrays: Mapping[str, Array]) -> Run:
    """Run a case in eager (float64 too where the case is precise) and in the file.

    Raises:
        ExportError: Eager itself refuses these inputs (kind ``eager-refuses``).
    """
    started = time.monotonic()
    eager = reference.run(interface.graph, arrays)
    exact = reference.run64(interface.graph, arrays) if case.precise else None
    others = reference.equivalents(interface.graph, arrays) if case.precise and exact is None else ()
    run = run_file(interface, Run(case, arrays, eager, exact, others))
    return replace(run, seconds=time.monotonic() - started)


def run_file(interface: Interface, run: Run, runner: Runner | None = None, suffix: str = "") -> Run:
    """The same case run in the file, maybe another way, under a name that says so."""
    started = time.monotonic()
    case = replace(run.case, name=f"{run.case.name}{suffix}")
    try:
        given, refused = interface.run(run.arrays, runner), ""
    except ExportError as error:
        given, refused = None, error.problem.message
    return replace(run, case=case, given=given, refused=refused, seconds=time.monotonic() - started)


def run_again(interface: Interface, runner: Runner, suffix: str, runs: Iterable[Run]) -> Iterator[Run]:
    """The cases that are run in other ways too, run in one of them."""
    for run in runs:
        if run.case.again:
            yield run_file(interface, run, runner, suffix)


def floors_of(graph: Graph, runs: Iterable[Run]) -> dict[str, Floor]:
    """The noise floor of every output: the worst over the cases that were also run in float64.

    Ways of computing in float32 that stand in for float64 share some of their rounding, so that twice as much passes.
    """
    runs = list(runs)
    factor = FACTOR if any(run.exact for run in runs) else 2 * FACTOR
    floors = {}
    for name in graph.outputs:
        largest = max((_scale(graph, run, name) for run in runs), default=0.0)
        apart = [_apart(graph, run, name, Floor(0.0, scale=largest)) or 0.0 for run in runs]
        floors[name] = Floor(max(apart, default=0.0), factor=factor, scale=largest)
    return floors


def without_flips(graph: Graph, runs: Iterable[Run]) -> list[Run]:
    """Runs whose float64 stands: where it is far from float32 in one case only, it *decided* otherwise.

    A bucket, a rank or a neighbour at a tie may come out differently in float64. That is no rounding, and would hide
    every fault if it were taken for the noise floor.
    """
    runs = list(runs)
    apart = {
        run.case.name: [_apart(graph, run, name, Floor(0.0)) or 0.0 for name in graph.outputs]
        for run in runs
        if run.exact
    }
    usual = [statistics.median(values) for values in zip(*apart.values(), strict=True)]
    kept = []
    for run in runs:
        values = apart.get(run.case.name, [])
        flipped = any(
            each > max(_FLIPPED, _FLIPPED_TIMES * middle) for each, middle in zip(values, usual, strict=False)
        )
        kept.append(replace(run, exact=None) if flipped else run)
    return kept


def decides_otherwise(wide: CaseResult, cases: Iterable[CaseResult], times: float = 1.0) -> bool:
    """Whether a graph in float64 is further off than the same graph in float32 could hide.

    Rounding of the file itself is all that stands between the two. A larger gap means that a bucket, a rank or a
    neighbour at a tie came out differently in float64, where constants are still the float32 ones: no fault.

    Args:
        wide: Result of a case in float64.
        cases: Results of the file as it runs, against the same.
        times: How much further off it is at least, where the file rounds to less than float32.
    """
    usual = next((case for case in cases if case.case == wide.case.split("@")[0]), None)
    if usual is None or usual.status is not Status.PASSED:
        return False
    errors = {each.output: each.max_abs or 0.0 for each in usual.outputs}
    return any(
        each.status is Status.FAILED
        and each.max_abs is not None
        and each.tolerance is not None
        and each.max_abs > errors[each.output] * times + FACTOR * (each.tolerance.floor or 0.0)
        for each in wide.outputs
    )


def _scale(graph: Graph, run: Run, name: str) -> float:
    """Largest value of an output."""
    eager = run.eager[name]
    return magnitude(eager, counting(graph, run.arrays, name, eager.shape))


def _apart(graph: Graph, run: Run, name: str, floor: Floor) -> float | None:
    """Distance of float32 from float64 in units of the output's largest value; None where there is nothing to tell.

    Where there is no float64: from the same computed in other ways.
    """
    eager = run.eager[name]
    others = run.equivalents if run.exact is None else (run.exact,)
    counts = counting(graph, run.arrays, name, eager.shape)
    scale = floor.unit(magnitude(eager, counts))
    if not others or not scale or eager.dtype.kind != "f":
        return None
    return max(distance(eager, other[name], counts) for other in others) / scale


def compared(graph: Graph, run: Run, tolerances: Tolerances) -> CaseResult:
    """The verdict on one case."""
    case = run.case
    result = CaseResult(
        case=case.name,
        status=Status.FAILED,
        sizes=dict(case.sizes),
        mask=case.mask,
        seed=case.seed,
        message=run.refused,
        seconds=run.seconds,
    )
    if run.given is None:
        return result
    outputs = tuple(compare(_expected(graph, run, name, tolerances), run.given[name]) for name in graph.outputs)
    return result.model_copy(update={"status": combine(each.status for each in outputs), "outputs": outputs})


def _expected(graph: Graph, run: Run, name: str, tolerances: Tolerances) -> Expectation:
    eager = run.eager[name]
    counts = counting(graph, run.arrays, name, eager.shape)
    exact = run.exact if tolerances.exact and tolerances.explicit is None else None
    assert run.given is not None
    given = run.given[name].dtype
    alike = tolerances.lenient_dtype and given.kind == eager.dtype.kind
    return Expectation(
        output=name,
        reference=exact[name] if exact else eager,
        counts=counts,
        tolerance=tolerances.of(name, magnitude(eager, counts)),
        dtype=str(given if alike else eager.dtype),
    )
