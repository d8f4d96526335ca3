"""From files to a verdict: every case runs in the file and in eager, and every difference is held against rounding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from exporter.inputs import trace_sizes
from exporter.results import CaseResult, Check, ExportError, Status, Tolerance, Validation, combine
from exporter.runner import Contract, Runner
from exporter.validation.ahead import ahead
from exporter.validation.budget import Floor
from exporter.validation.cases import Case, axes_of, inputs_of, plan
from exporter.validation.contract import contract_checks, contract_notes, stored_wide
from exporter.validation.generation import Component, check_generation
from exporter.validation.interface import Interface, match
from exporter.validation.locating import module_at_fault
from exporter.validation.log import broken, lines
from exporter.validation.precision import LOWER, agreement, lowered_cost, proven
from exporter.validation.probing import probe
from exporter.validation.reference import Reference
from exporter.validation.relations import Arrays, Laboratory, check_relations
from exporter.validation.runs import Run, Tolerances, compared, floors_of, run_again, run_case, without_flips
from exporter.validation.samples import Preprocessing, real_cases, user_cases
from exporter.validation.subject import Artifact, Settings, Subject
from exporter.validation.weights import WeightReport, compare_weights
from exporter.validation.wide import WideLook

__all__ = ["validate_artifact"]

UNOPTIMISED = "@unoptimised"

_ENOUGH, _MORE = 128, 12
"""How many numbers of an output show how a model rounds, and how often eager is run again where there are fewer."""

SAME_KERNELS_FACTOR = 0.5
"""Multiple of the floor for a format that runs eager's own kernels: healthy files agree to the bit."""


@dataclass(frozen=True)
class Verdict:
    """The evidence about one file."""

    checks: tuple[Check, ...]
    cases: tuple[CaseResult, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
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
    judges = [FileJudge(subject, settings, artifact, reference) for artifact in subject.artifacts]
    verdicts = [judge.verdict() for judge in judges]
    together = _generation(judges, settings)
    checks = tuple(check for verdict in verdicts for check in verdict.checks) + together
    cases = tuple(case for verdict in verdicts for case in verdict.cases)
    if settings.case and not cases:
        raise ExportError("no-such-case", f"no case is called {settings.case!r}, or none that this file promises.")
    status = combine([*(each.status for each in checks), *(each.status for each in cases)])
    return Validation(
        status=status,
        checks=checks,
        cases=cases,
        tolerance=_shown(cases),
        notes=_unique(note for verdict in verdicts for note in verdict.notes),
        left_out=_unique(name for verdict in verdicts for name in verdict.left_out),
        diverges_at=next((judge.diverges_at for judge in judges if judge.diverges_at), ""),
        replay=_replay(subject, cases) if status is not Status.PASSED else "",
        log=(*(line for verdict in verdicts for line in verdict.log), *broken(together)),
        seconds=time.monotonic() - started,
    )


def _generation(judges: Iterable[FileJudge], settings: Settings) -> tuple[Check, ...]:
    """What the files do together, where they write text with a cache."""
    components = [component for judge in judges if (component := judge.component)]
    if settings.case or not components:
        return ()
    first = next(iter(judges))
    config = first.subject.architecture.config
    return tuple(check_generation(components, first.reference, config, settings.seed))


@dataclass
class FileJudge:
    """Judges one file; holds the session and the references that its cases share.

    Attributes:
        subject: The model and its format.
        settings: How to judge.
        artifact: The file.
        reference: Eager models.
        notes: What a reader should know; grows while cases run.
        left_out: What was not done, and why.
        refusals: Cases that eager refused.
        diverges_at: First module whose result the file doesn't have, where that can be told.
        component: The file as a part of a model that writes; there once it was judged and takes any length.
    """

    subject: Subject
    settings: Settings
    artifact: Artifact
    reference: Reference
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    component: Component | None = None
    diverges_at: str = ""

    def verdict(self) -> Verdict:
        """All of the evidence."""
        checks = [*self.interface.checks]
        if self._judgeable:
            _ = self._plain, self._double  # begin to open, while other things are done
        checks += self._contract()
        self.notes += self.interface.notes
        cases: list[CaseResult] = []
        if self._judgeable:
            runs = without_flips(self.interface.graph, self._runs(precise=True))
            own = floors_of(self.interface.graph, [*runs, *self._more(runs)])
            lowered = self.weights.dtype in LOWER
            cost = lowered_cost(self.weights.dtype, self.interface.graph, runs, self.reference) if lowered else None
            tolerances = self._tolerances(cost.floors if cost else own)
            if stored := list(self.wide.as_stored(self.planned, runs, tolerances)):
                tolerances = replace(tolerances, floors=proven(self.weights.dtype, tolerances.floors, stored))
            if not self.subject.asked or not self.subject.asked.traced_sizes_only:
                promised = self.interface.run_as_promised
                self.component = Component(self.interface.graph, promised, tolerances.floors, own)
            cases += [self._compared(run, tolerances) for run in (*runs, *self._runs(precise=False))]
            cases += self._unoptimised(runs, tolerances)
            cases += stored or self.wide.as_eager(runs, tolerances, cases)
            cases = [case for case in cases if self.settings.wants(case.case)]
            if cost:
                checks += agreement(self.weights.dtype, self.interface.graph, runs, cost.cosines)
            self.diverges_at = self._diverges_at(cases, runs)
            if not self.settings.case:
                checks += self._relations(runs, tolerances.floors, own)
                checks += self.wide.lowered_checks(self._laboratory(runs, own, own))
                checks += self._other_sizes(tolerances)
            checks += self._refused_axes()
            if not runs:
                checks.append(
                    Check(name="cases", status=Status.FAILED, message="the file promises the sizes of no case")
                )
        if self.refusals:
            self.notes.append("the eager model itself refuses: " + ", ".join(self.refusals))
        return Verdict(
            checks=tuple(checks),
            cases=tuple(cases),
            notes=tuple(self.notes),
            left_out=tuple(self.left_out),
            log=lines(self.subject.format, checks, cases, str(self.artifact.path)),
        )

    @cached_property
    def interface(self) -> Interface:
        """The file, opened, in the graph's names."""
        return match(self.artifact.graph, self.artifact.open(), self.subject.asked, self.reference.model)

    @cached_property
    def contract(self) -> Contract:
        """What the file promises."""
        return self.interface.runner.contract()

    @cached_property
    def weights(self) -> WeightReport:
        """What the file stores."""
        return compare_weights(self.interface.runner.weights(), self.reference.model, self._used_parameters)

    @cached_property
    def wide(self) -> WideLook:
        """The file in float64."""
        return WideLook(self._double, self.interface, self.reference, self.weights, self.settings, self.left_out)

    @cached_property
    def _plain(self) -> Callable[[], Runner] | None:
        """Opens the file without optimisation ahead; None where that isn't wanted, or the format has no such thing."""
        if self.settings.quick or self.artifact.open_plain is None:
            return None
        return ahead(self.artifact.open_plain)

    @cached_property
    def _double(self) -> Callable[[], Runner] | None:
        """Opens the file in float64 ahead; None where a person set the tolerance, or the format has no such thing."""
        if self.artifact.open_double is None or self.settings.explicit is not None:
            return None
        return ahead(partial(self.artifact.open_double, self.reference.scalars))

    @property
    def _judgeable(self) -> bool:
        """Of a file that takes or gives something else than the model nothing more can be said."""
        return all(check.status is Status.PASSED for check in self.interface.checks)

    @cached_property
    def _used_parameters(self) -> frozenset[str]:
        """Parameters that the file needs; known only of our own, which leave none out."""
        if self.subject.asked is None or not self.interface.outputs:
            return frozenset()
        return self.reference.used_parameters(self.interface.graph, self.planned[0][1])

    @cached_property
    def planned(self) -> tuple[tuple[Case, Arrays], ...]:
        """Every case with its inputs."""
        graph, config = self.interface.graph, self.subject.architecture.config
        usual = trace_sizes(graph)
        base = {**usual, **self.interface.static, **self.artifact.traced}
        cases = plan(graph, {axis: base[axis] for axis in usual}, config, self.settings.seed)
        return (*((case, inputs_of(case, graph, config)) for case in cases), *self._real())

    def _real(self) -> list[tuple[Case, Arrays]]:
        """Text, pictures and sounds through the preprocessor, the user's samples among them."""
        subject, settings = self.subject, self.settings
        if subject.preprocessor is None:
            if settings.samples:
                raise ExportError("samples", "there are samples, but the checkpoint has no preprocessor to read them.")
            return []
        config, interface = subject.architecture.config, self.interface
        preprocessing = Preprocessing(subject.preprocessor, interface.graph, config, interface.static, settings.seed)
        if not preprocessing.takes or any(name.startswith("encoder_") for name in interface.graph.inputs):
            return []
        found: list[tuple[Case, Arrays]] = []
        try:
            found += real_cases(preprocessing)
        except ExportError as error:
            self.notes.append(f"no real input was tried: {error.problem.message}")
        for path in settings.samples:
            found += user_cases(path, preprocessing)
        return found

    def _contract(self) -> Iterator[Check]:
        asked = self.subject.asked
        yield from contract_checks(self.interface, self.contract, asked)
        self.notes += contract_notes(self.interface, self.contract, asked)
        if asked is not None and asked.dtype != self.weights.dtype:
            message = f"asked was {asked.dtype}, the weights are stored as {self.weights.dtype}"
            yield Check(name="dtype", status=Status.FAILED, message=message)
        elif asked is None and self.weights.dtype in LOWER:
            self.notes.append(f"the weights are stored as {self.weights.dtype}: judged as such")
        if self.settings.explicit is None:
            yield self.weights.check
        once = self.weights.stored_once
        if asked is not None and not asked.traced_sizes_only:
            yield once
        elif once.message:
            self.notes.append(once.message)

    def _runs(self, precise: bool) -> Iterator[Run]:
        """The cases that the file promises, in eager and in the file."""
        for case, arrays in self.planned:
            if case.precise is precise and self._needed(case) and self._promised(case, arrays):
                try:
                    yield run_case(self.reference, self.interface, case, arrays)
                except ExportError as error:
                    if error.problem.kind != "eager-refuses" or case.name == "traced":
                        raise
                    self.refusals.append(case.name)

    def _compared(self, run: Run, tolerances: Tolerances) -> CaseResult:
        """The verdict; before a case is refused for its values, how much eager and the file round in that very case."""
        graph = self.interface.graph
        result = compared(graph, run, tolerances)
        if result.status is not Status.FAILED or run.given is None or not tolerances.exact or tolerances.explicit:
            return result
        exact = run.exact or self.reference.run64(graph, run.arrays)
        if self.weights.dtype in LOWER or not exact:
            return result
        run = replace(run, exact=exact)
        tolerances = tolerances.for_case(floors_of(graph, [run]))
        result = compared(graph, run, tolerances)
        if result.status is not Status.FAILED or not self.wide.agrees(run, tolerances):
            return result
        return compared(graph, run, tolerances.for_rounding())

    def _promised(self, case: Case, arrays: Arrays) -> bool:
        """Whether the file takes these sizes; where nothing but a run tells, a refusal is told."""
        promised = self.interface.promises(arrays)
        if not promised and not self.interface.declares_sizes:
            self.left_out.append(f"{case.name}: the file refuses these sizes")
        return promised

    def _refused_axes(self) -> Iterator[Check]:
        """An axis that eager itself can't vary has to be declared static."""
        asked = self.subject.asked
        if asked is None or asked.traced_sizes_only:
            return
        for axis in axes_of(self.interface.graph):
            alone = [case.name for case, _ in self.planned if case.name.startswith(f"{axis}=")]
            if alone and set(alone) <= set(self.refusals):
                message = f"{axis} is declared dynamic, but the eager model itself takes no other size"
                yield Check(name="dynamic axes", status=Status.FAILED, message=message)

    def _needed(self, case: Case) -> bool:
        """A case that is replayed alone needs the noise floor too, which the small cases give."""
        if self.settings.quick and case.large and not self.settings.case:
            self.left_out.append(f"{case.name}: quick")
            return False
        return case.precise or self.settings.wants(case.name)

    def _tolerances(self, floors: Mapping[str, Floor]) -> Tolerances:
        lowered = self.weights.dtype in LOWER
        same_kernels = self.contract.same_kernels and not lowered
        return Tolerances(
            floors=floors,
            factor=SAME_KERNELS_FACTOR if same_kernels else None,
            explicit=self.settings.explicit,
            exact=not same_kernels,
            lenient_dtype=lowered or (self.subject.asked is None and stored_wide(self.interface.runner)),
        )

    def _unoptimised(self, runs: list[Run], tolerances: Tolerances) -> Iterator[CaseResult]:
        if self.settings.quick:
            self.left_out.append("without the runtime's optimisation: quick")
        elif self._plain is not None:
            wanted = [run for run in runs if self.settings.wants(run.case.name + UNOPTIMISED)]
            for run in run_again(self.interface, self._plain(), UNOPTIMISED, wanted):
                yield self._compared(run, tolerances)

    def _relations(self, runs: list[Run], floors: Mapping[str, Floor], own: Mapping[str, Floor]) -> tuple[Check, ...]:
        """What must hold between outputs, on one small case."""
        lab = self._laboratory(runs, floors, own)
        if lab is None:
            return ()
        promised = self.interface.run_as_promised
        return check_relations(lab, lambda arrays: self.reference.run(lab.graph, arrays), promised, _plainest(runs))

    def _laboratory(self, runs: list[Run], floors: Mapping[str, Floor], own: Mapping[str, Floor]) -> Laboratory | None:
        if not runs:
            return None
        case, config = _plainest(runs).case, self.subject.architecture.config
        return Laboratory(self.interface.graph, config, case.sizes, floors, own, case.seed)

    def _other_sizes(self, tolerances: Tolerances) -> Iterator[Check]:
        asked = self.subject.asked
        if asked is not None and asked.traced_sizes_only:
            probed = probe(self.interface, self.reference, self.planned, tolerances)
            self.notes += [probed.note] if probed.note else []
            yield from probed.checks(asked.fixed_sizes)

    def _more(self, runs: list[Run]) -> Iterator[Run]:
        """More of eager's rounding, where so few numbers come out that those of the cases may have rounded by luck."""
        graph, config = self.interface.graph, self.subject.architecture.config
        fewest = min((sum(run.eager[name].size for run in runs if run.exact) for name in graph.outputs), default=0)
        if fewest and fewest < _ENOUGH:
            for seed in range(1, _MORE + 1):
                case = replace(runs[0].case, seed=runs[0].case.seed + seed)
                arrays = inputs_of(case, graph, config)
                yield Run(case, arrays, self.reference.run(graph, arrays), self.reference.run64(graph, arrays))

    def _diverges_at(self, cases: list[CaseResult], runs: list[Run]) -> str:
        try:
            return module_at_fault(self.artifact, self.interface, self.reference, cases, runs)
        except ExportError as error:
            self.left_out.append(f"which module is at fault: {error.problem.message}")
            return ""


def _shown(cases: Iterable[CaseResult]) -> Tolerance | None:
    """The tolerance of the first case: the one for the sizes that people look at."""
    return next((each.tolerance for case in cases for each in case.outputs), None)


def _plainest(runs: list[Run]) -> Run:
    """A small case without a mask that has rows and, where there are any, positions to compare."""
    return next((run for run in runs if run.case.name == "together" and run.case.again), runs[0])


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _replay(subject: Subject, cases: Iterable[CaseResult]) -> str:
    """The command that runs the first failed case again, or all where none failed alone."""
    case = next((case.case for case in cases if case.status is not Status.PASSED), "")
    return f"{subject.command} --case {case}" if subject.command and case else subject.command
