"""What a run tells while it goes on: frozen data for whoever draws the progress.

A model goes through steps; every `StepStarted` is followed by one `StepFinished` of the same model and step before the
model's `ModelFinished`, unless the run is interrupted in the middle of a download. Every entry has one `ModelFinished`.
Models run side by side, so events of different models interleave. Calls never overlap: the run makes them one at a
time, from any of its threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.results import ModelResult, Status

__all__ = ["Event", "ModelFinished", "StepFinished", "StepStarted"]


@dataclass(frozen=True)
class StepStarted:
    """A step of a model began.

    Attributes:
        model: Name of the entry.
        step: ``fetch``, ``inspect``, ``export onnx``, ``validate onnx`` ...; foreign text is never part of it.
        detail: What is special this time, such as the engine (``dynamo``) or the revision; may be empty.
    """

    model: str
    step: str
    detail: str = ""


@dataclass(frozen=True)
class StepFinished:
    """A step of a model ended.

    Attributes:
        model: Name of the entry.
        step: The same as in `StepStarted`.
        status: How it ended; `cancelled` when the run was interrupted.
        seconds: How long it took.
        message: One line that says why, when it did not pass; may hold foreign text, so escape it.
    """

    model: str
    step: str
    status: Status
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class ModelFinished:
    """A model is done, with everything that goes into the report about it."""

    result: ModelResult


Event = StepStarted | StepFinished | ModelFinished
