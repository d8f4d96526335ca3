"""One format of one model: export and validate with one engine after the other, keep the best, put it in its place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from exporter.pipeline.facts import Facts
from exporter.pipeline.messages import ExportReply
from exporter.pipeline.pool import Cancelled
from exporter.pipeline.replay import shown
from exporter.pipeline.requests import Requests, WorkerFormat
from exporter.pipeline.session import ModelSession
from exporter.results import Attempt, FormatResult, Problem, SavedFile, Status, Validation

__all__ = ["convert"]

_ENGINES = ("legacy", "dynamo")
_GOOD = (Status.PASSED, Status.UNVERIFIED)
_BEST_FIRST = (*_GOOD, Status.FAILED, Status.ERROR)

# No engine does better where the disk is full.
_HOPELESS = frozenset({"disk-full", "worker-start", "sandbox"})


@dataclass(frozen=True)
class _Try:
    """What one engine made, and what became of it; `staged` is the artifact's folder once it is exported."""

    result: FormatResult
    staged: Path | None

    @property
    def rank(self) -> tuple[int, bool]:
        """The best is the least: by verdict, then by whether there is something to look at."""
        return _BEST_FIRST.index(self.result.status), self.staged is None

    @property
    def is_last(self) -> bool:
        """Whether another engine need not be tried."""
        problem = self.result.problem
        return self.result.status in _GOOD or (problem is not None and problem.kind in _HOPELESS)

    @property
    def attempt(self) -> Attempt:
        """This try as the report shows it."""
        result = self.result
        message = result.problem.message if result.problem else _why(result.validation)
        return Attempt(engine=result.engine, status=result.status, message=message, seconds=result.seconds)


def convert(format_name: WorkerFormat, requests: Requests, model: ModelSession, facts: Facts) -> FormatResult:
    """Make one format of a model. What goes wrong is in the result.

    Raises:
        Cancelled, InterruptedError: The run was interrupted.
    """
    started = time.monotonic()
    tries: list[_Try] = []
    for engine in _engines(format_name, requests, facts):
        tries.append(_try(format_name, engine, requests, model, facts))
        if tries[-1].is_last:
            break
    best = min(tries, key=lambda each: each.rank)
    for other in tries:
        if other is not best and other.staged is not None:
            model.session.workspace.discard(other.staged)
    return _settle(best, model).model_copy(
        update={
            "attempts": tuple(each.attempt for each in tries) if format_name == "onnx" else (),
            "seconds": time.monotonic() - started,
        }
    )


def _engines(format_name: WorkerFormat, requests: Requests, facts: Facts) -> tuple[str, ...]:
    options = requests.entry.formats.onnx
    if format_name != "onnx" or options is None:
        return ("",)
    return (options.engine,) if options.engine != "auto" else (facts.engines or _ENGINES)


def _try(format_name: WorkerFormat, engine: str, requests: Requests, model: ModelSession, facts: Facts) -> _Try:
    started = time.monotonic()
    result = FormatResult(format=format_name, status=Status.ERROR, engine=engine)
    staged = None
    try:
        place = model.session.workspace.stage(model.entry.name, f"{format_name}-{engine}" if engine else format_name)
        result = _export(result, requests, place, model, facts)
        staged = place
        result = _validate(result, requests, place, model)
    except (Cancelled, InterruptedError):
        raise
    except Exception as error:
        result = result.model_copy(update={"status": Status.ERROR, "problem": model.problem(error)})
    return _Try(result.model_copy(update={"seconds": time.monotonic() - started}), staged)


def _export(result: FormatResult, requests: Requests, place: Path, model: ModelSession, facts: Facts) -> FormatResult:
    request = requests.export("onnx" if result.format == "onnx" else "torchscript", result.engine, place)
    reply = model.step(
        f"export {result.format}",
        result.engine,
        lambda: model.ask(model.session.steps.export, request, ExportReply, place, facts.weights_bytes),
    )
    facts.learn(reply)
    exported = reply.result
    # Only what an export knows: the worker has no say in the verdict.
    return result.model_copy(
        update={
            "engine": exported.engine or result.engine,
            "opset": exported.opset,
            "dtype": exported.dtype,
            "inputs": exported.inputs,
            "outputs": exported.outputs,
            "notes": exported.notes,
        }
    )


def _validate(result: FormatResult, requests: Requests, place: Path, model: ModelSession) -> FormatResult:
    request = requests.validate("onnx" if result.format == "onnx" else "torchscript", place)
    validation = model.step(
        f"validate {result.format}",
        result.engine,
        lambda: model.ask(model.session.steps.validate, request, Validation),
        lambda answer: (_status(answer), _why(answer)),
    )
    status = _status(validation)
    problem = Problem(kind="not-judged", message=_why(validation)) if status is Status.ERROR else None
    return result.model_copy(
        update={
            "status": status,
            "validation": validation,
            "problem": problem,
            "ambiguous": any(output.ambiguous for case in validation.cases for output in case.outputs),
        }
    )


def _settle(best: _Try, model: ModelSession) -> FormatResult:
    """Put the artifact where one of its verdict belongs, and list its files."""
    workspace, name, result = model.session.workspace, model.entry.name, best.result
    try:
        if best.staged is not None and result.status in _GOOD:
            files = workspace.place(best.staged, name, result.format, model.session.cancelled)
            return _placed(result, best.staged, files, model)
        workspace.set_aside(name, result.format)
        if best.staged is not None:
            files = workspace.place_failed(best.staged, name, result.format, model.session.cancelled)
            return _placed(result, best.staged, files, model)
    except InterruptedError:
        raise
    except Exception as error:
        return result.model_copy(update={"status": Status.ERROR, "problem": model.problem(error)})
    return result


def _placed(result: FormatResult, staged: Path, files: tuple[SavedFile, ...], model: ModelSession) -> FormatResult:
    """The result of an artifact that is where users find it; until now the judge knew only where it was made."""
    validation = result.validation
    if validation is not None and files:
        place = model.session.workspace.directory / Path(files[0].path).parent
        log = tuple(line.replace(str(staged), str(place)) for line in validation.log)
        replay = validation.replay.replace(shown(staged), shown(place))
        validation = validation.model_copy(update={"log": log, "replay": replay})
    return result.model_copy(update={"files": files, "validation": validation})


def _status(validation: Validation) -> Status:
    """A judge that was interrupted, or made up a word, has not judged."""
    return validation.status if validation.status in _BEST_FIRST else Status.ERROR


def _why(validation: Validation | None) -> str:
    """Why an artifact did not pass, in a line: the first check that failed, else the worst output, else a case."""
    if validation is None or validation.status in _GOOD:
        return ""
    for check in validation.checks:
        if check.status is not Status.PASSED and check.message:
            return check.message
    worst = validation.worst
    if worst is not None and worst.status is not Status.PASSED and worst.message:
        return f"{worst.output}: {worst.message}"
    messages = (case.message for case in validation.cases if case.status is not Status.PASSED and case.message)
    return next(messages, "the artifact does not compute what the model computes")
