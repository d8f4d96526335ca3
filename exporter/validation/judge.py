"""From a file to a verdict: every case is run in the file and in eager, and every difference held against rounding."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.architectures import Graph
from exporter.inputs import trace_sizes
from exporter.results import (
    CaseResult,
    Check,
    ExportError,
    OutputComparison,
    Status,
    Tolerance,
    Validation,
    combine,
)
from exporter.runner import Array
from exporter.validation.budget import Floor, distance, magnitude
from exporter.validation.cases import Case, inputs_of, plan
from exporter.validation.comparison import Expectation, compare
from exporter.validation.contract import contract_checks, contract_notes
from exporter.validation.interface import Interface, match
from exporter.validation.log import lines
from exporter.validation.positions import counting
from exporter.validation.reference import Reference
from exporter.validation.subject import Artifact, Settings, Subject

__all__ = ["validate_artifact"]


@dataclass(frozen=True)
class Run:
    """What eager and the file gave for one case.

    Attributes:
        case: The case.
        arrays: Its inputs.
        eager: Outputs of eager in float32.
        exact: Outputs of eager in float64; None where that wasn't run.
        given: Outputs of the file; None where the runtime refused.
        refused: Why it refused.
        seconds: Time of all of it.
    """

    case: Case
    arrays: Mapping[str, Array]
    eager: Mapping[str, Array]
    exact: Mapping[str, Array] | None
    given: Mapping[str, Array] | None
    refused: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The evidence about one file."""

    checks: tuple[Check, ...]
    cases: tuple[CaseResult, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tolerance: Tolerance | None = None
    log: tuple[str, ...] = ()


def validate_artifact(subject: Subject, settings: Settings) -> Validation:
    """Judge the files of one model in one format.

    Args:
        subject: The eager model and the files.
        settings: Tolerances, samples, and whether to be quick.

    Raises:
        ExportError: There is nothing to judge: a file can't be opened, the eager model refuses the traced sizes, or no
            case has the name that was asked for.
    """
    started = time.monotonic()
    reference = Reference(subject.load)
    verdicts = [FileJudge(subject, settings, artifact, reference).verdict() for artifact in subject.artifacts]
    checks = tuple(check for verdict in verdicts for check in verdict.checks)
    cases = tuple(case for verdict in verdicts for case in verdict.cases)
    if settings.case and not cases:
        raise ExportError("no-such-case", f"no case is called {settings.case!r}.")
    status = combine([*(each.status for each in checks), *(each.status for each in cases)])
    return Validation(
        status=status,
        checks=checks,
        cases=cases,
        tolerance=max(
            (each.tolerance for each in verdicts if each.tolerance), key=lambda each: each.atol, default=None
        ),
        notes=_unique(note for verdict in verdicts for note in verdict.notes),
        left_out=_unique(name for verdict in verdicts for name in verdict.left_out),
        replay=_replay(subject, cases) if status is not Status.PASSED else "",
        log=tuple(line for verdict in verdicts for line in verdict.log),
        seconds=time.monotonic() - started,
    )


@dataclass
class FileJudge:
    """Judges one file; keeps the session and the references that its cases share.

    Attributes:
        subject: The model and its format.
        settings: How to judge.
        artifact: The file.
        reference: Eager models.
        notes: What a reader should know; grows while cases run.
        refusals: Why eager refused, by case.
    """

    subject: Subject
    settings: Settings
    artifact: Artifact
    reference: Reference
    notes: list[str] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    def verdict(self) -> Verdict:
        """All of the evidence."""
        runner, asked = self.artifact.open(), self.subject.asked
        interface = match(self.artifact.graph, runner, asked, self.reference.model)
        contract = runner.contract()
        checks = [*interface.checks, *contract_checks(interface, contract, asked)]
        self.notes += [*interface.notes, *contract_notes(interface, contract, asked)]
        cases: list[CaseResult] = []
        if interface.outputs:
            cases = list(self._judged(interface))
        if self.refusals:
            self.notes.append("the eager model itself refuses: " + ", ".join(sorted(self.refusals)))
        path = str(self.artifact.path)
        return Verdict(
            checks=tuple(checks),
            cases=tuple(cases),
            notes=tuple(self.notes),
            tolerance=_largest(cases),
            log=lines(self.subject.format, checks, cases, path),
        )

    def _judged(self, interface: Interface) -> Iterator[CaseResult]:
        """Small cases first: they give the noise floor that the others are held against."""
        graph = interface.graph
        base = trace_sizes(graph) | interface.static | dict(self.artifact.traced)
        config = self.subject.architecture.config
        planned = [
            case
            for case in plan(graph, {axis: base[axis] for axis in trace_sizes(graph)}, config, self.settings.seed)
            if not self.settings.case or case.name == self.settings.case
        ]
        # A replayed case needs a floor too, which the traced case gives.
        runs = [run for case in planned if case.precise and (run := self._run(interface, case))]
        floors = _floors(graph, runs)
        for run in runs:
            yield self._compared(graph, run, floors)
        for case in planned:
            if not case.precise and (long := self._run(interface, case)):
                yield self._compared(graph, long, floors)

    def _run(self, interface: Interface, case: Case) -> Run | None:
        """A case in eager and in the file; None where eager refuses it or the file doesn't promise its sizes."""
        started = time.monotonic()
        graph = interface.graph
        arrays = inputs_of(case, graph, self.subject.architecture.config)
        if not interface.promises(arrays):
            return None
        try:
            eager = self.reference.run(graph, arrays)
        except ExportError as error:
            if error.problem.kind != "eager-refuses" or case.name == "traced":
                raise
            self.refusals[case.name] = error.problem.message
            return None
        exact = self.reference.run64(graph, arrays) if case.precise else None
        run = Run(case, arrays, eager, exact, None)
        try:
            run = replace(run, given=interface.run(arrays))
        except ExportError as error:
            run = replace(run, refused=error.problem.message)
        return replace(run, seconds=time.monotonic() - started)

    def _compared(self, graph: Graph, run: Run, floors: Mapping[str, Floor]) -> CaseResult:
        facts: dict[str, Any] = {
            "case": run.case.name,
            "sizes": dict(run.case.sizes),
            "mask": run.case.mask,
            "seed": run.case.seed,
            "seconds": run.seconds,
        }
        if run.given is None:
            return CaseResult(**facts, status=Status.FAILED, message=run.refused)
        outputs = tuple(self._output(graph, run, name, floors[name]) for name in graph.outputs)
        return CaseResult(**facts, status=combine(each.status for each in outputs), outputs=outputs)

    def _output(self, graph: Graph, run: Run, name: str, floor: Floor) -> OutputComparison:
        eager = run.eager[name]
        counts = counting(graph, run.arrays, name, eager.shape)
        assert run.given is not None
        wanted = run.eager if self._explicit or run.exact is None else run.exact
        expectation = Expectation(
            output=name,
            reference=wanted[name],
            counts=counts,
            tolerance=self._tolerance(floor, magnitude(eager, counts)),
            dtype=str(eager.dtype),
        )
        return compare(expectation, run.given[name])

    @property
    def _explicit(self) -> bool:
        return self.settings.atol is not None or self.settings.rtol is not None

    def _tolerance(self, floor: Floor, scale: float) -> Tolerance:
        measured = floor.tolerance(scale)
        if not self._explicit:
            return measured
        given = self.settings
        return Tolerance(
            atol=given.atol if given.atol is not None else measured.atol,
            rtol=given.rtol or 0.0,
            source=given.source,
            reason=given.reason,
            floor=measured.floor,
            factor=measured.factor,
        )


def _floors(graph: Graph, runs: Iterable[Run]) -> dict[str, Floor]:
    """The noise floor of every output: the worst over all cases that were also run in float64."""
    relative = dict.fromkeys(graph.outputs, 0.0)
    for run in runs:
        for name in graph.outputs if run.exact else ():
            assert run.exact is not None
            eager, exact = run.eager[name], run.exact[name]
            counts = counting(graph, run.arrays, name, eager.shape)
            scale = magnitude(exact, counts)
            if scale and eager.dtype.kind == "f":
                relative[name] = max(relative[name], distance(eager, exact, counts) / scale)
    return {name: Floor(value) for name, value in relative.items()}


def _largest(cases: Iterable[CaseResult]) -> Tolerance | None:
    tolerances = [each.tolerance for case in cases for each in case.outputs if each.tolerance]
    return max(tolerances, key=lambda each: each.atol, default=None)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _replay(subject: Subject, cases: Iterable[CaseResult]) -> str:
    """The command that runs the first failed case again."""
    first = next((case.case for case in cases if case.status is not Status.PASSED), "")
    task = subject.architecture.task + ("-with-past" if subject.architecture.use_past else "")
    command = f"export-action validate {subject.artifacts[0].path} --model {subject.model} --task {task}"
    return f"{command} --case {first}" if first else command
