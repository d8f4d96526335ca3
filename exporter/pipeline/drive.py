"""One model from its entry to its result: fetch, inspect, then one format after the other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from exporter.manifest import Entry
from exporter.pipeline.convert import convert
from exporter.pipeline.facts import Facts
from exporter.pipeline.messages import Inspection
from exporter.pipeline.plan import weights_bytes
from exporter.pipeline.pool import Cancelled
from exporter.pipeline.requests import Requests
from exporter.pipeline.session import ModelSession, Session
from exporter.results import FormatResult, ModelResult, Problem, Status, combine

__all__ = ["drive", "unfinished"]

_NEURON = Problem(
    kind="needs-neuron",
    message="Neuron artifacts are compiled where the Neuron SDK is, and this run has none.",
    hint="Use the Neuron action on a self-hosted runner.",
)


def drive(entry: Entry, session: Session) -> ModelResult:
    """Do everything that an entry asks for. What goes wrong is in the result."""
    started = time.monotonic()
    facts = Facts()
    formats: list[FormatResult] = []
    problem = None
    model = ModelSession(session, entry, session.workspace.log(entry.name))
    try:
        session.workspace.start_log(entry.name)
        requests = _prepare(model, facts)
        for name in entry.formats.names:
            if name == "neuron":
                formats.append(FormatResult(format=name, status=Status.UNVERIFIED, problem=_NEURON))
            else:
                formats.append(convert("onnx" if name == "onnx" else "torchscript", requests, model, facts))
    except (Cancelled, InterruptedError):
        formats += _cancelled(entry, formats)
    except Exception as error:
        problem = _give_up(model, error)
    return unfinished(entry).model_copy(
        update={
            "status": Status.ERROR if problem else combine(result.status for result in formats),
            "commit": facts.commit,
            "task": facts.task or entry.task or "",
            "model_type": facts.model_type,
            "architecture": facts.architecture,
            "parameters": facts.parameters,
            "formats": tuple(formats),
            "problem": problem,
            "notes": facts.notes,
            "seconds": time.monotonic() - started,
        }
    )


def unfinished(entry: Entry) -> ModelResult:
    """The result of an entry that the run did not get to the end of."""
    return ModelResult(
        name=entry.name,
        model=entry.model,
        status=Status.CANCELLED,
        source=entry.source,
        revision=entry.revision or "",
        task=entry.task or "",
        formats=_cancelled(entry, ()),
    )


def _give_up(model: ModelSession, error: Exception) -> Problem:
    """Nothing could be made, so nothing of earlier runs may pass for it."""
    try:
        for name in model.entry.formats.names:
            if name != "neuron":
                model.session.workspace.set_aside(model.entry.name, name)
    except OSError as second:
        return model.problem(second)
    return model.problem(error)


def _cancelled(entry: Entry, done: Iterable[FormatResult]) -> tuple[FormatResult, ...]:
    finished = {result.format for result in done}
    return tuple(
        FormatResult(format=name, status=Status.CANCELLED) for name in entry.formats.names if name not in finished
    )


def _prepare(model: ModelSession, facts: Facts) -> Requests:
    session, entry = model.session, model.entry
    folder = entry.checkpoint or _fetch(model, facts)
    facts.weights_bytes = weights_bytes(folder)
    requests = Requests(entry, folder, facts.commit, session.permissions)
    facts.learn(model.step("inspect", "", lambda: model.ask(session.steps.inspect, requests.inspect(), Inspection)))
    return requests


def _fetch(model: ModelSession, facts: Facts) -> Path:
    revision = model.entry.revision or ""
    remote_code = model.session.permissions.remote_code
    fetched = model.step("fetch", revision, lambda: model.session.fetch(model.entry.model, revision, remote_code))
    facts.commit, facts.notes = fetched.commit, fetched.notes
    if model.session.cancelled.is_set():
        raise Cancelled
    return fetched.path
