"""The driver: a plan becomes worker processes, and what they answer becomes a report and files in their place.

The parent process never imports torch or transformers: workers resolve the names of their steps themselves.
"""

from __future__ import annotations

from exporter.pipeline.events import Event, ModelFinished, StepFinished, StepStarted
from exporter.pipeline.interrupt import Interruption, interruptible
from exporter.pipeline.pool import Sandbox
from exporter.pipeline.run import RunOptions, run

__all__ = [
    "Event",
    "Interruption",
    "ModelFinished",
    "RunOptions",
    "Sandbox",
    "StepFinished",
    "StepStarted",
    "interruptible",
    "run",
]
