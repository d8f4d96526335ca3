"""What the models of a run share, and how one of them takes a step: events before and after, a heading in the log."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from exporter.manifest import Entry
from exporter.pipeline.events import Event, StepFinished, StepStarted
from exporter.pipeline.fetch import Fetch
from exporter.pipeline.logs import clean
from exporter.pipeline.pool import Call, Cancelled, WorkerPool
from exporter.pipeline.requests import Permissions
from exporter.pipeline.worker import disk_full_problem
from exporter.pipeline.workspace import Workspace
from exporter.results import ExportError, Problem, Status

__all__ = ["ModelSession", "Session", "Steps"]

Answer = TypeVar("Answer")
Reply = TypeVar("Reply", bound=BaseModel)
Verdict = tuple[Status, str]


@dataclass(frozen=True)
class Steps:
    """Names of the functions that workers run (see `exporter.pipeline.messages`)."""

    inspect: str = "exporter.pipeline.steps:inspect"
    export: str = "exporter.pipeline.steps:export"
    validate: str = "exporter.pipeline.steps:validate"


@dataclass(frozen=True)
class Session:
    """What the models of a run share.

    Attributes:
        pool: Runs the steps.
        workspace: Where artifacts and logs go.
        steps: Which functions the steps are.
        permissions: What they may do.
        fetch: Brings models of the Hub here.
        tell: Is told every event.
        cancelled: Set when the run is to end.
    """

    pool: WorkerPool
    workspace: Workspace
    steps: Steps
    permissions: Permissions
    fetch: Fetch
    tell: Callable[[Event], None]
    cancelled: threading.Event


@dataclass(frozen=True)
class ModelSession:
    """The part of a session that one model has for itself.

    Attributes:
        log: What its workers print.
    """

    session: Session
    entry: Entry
    log: Path

    def step(
        self,
        name: str,
        detail: str,
        action: Callable[[], Answer],
        verdict: Callable[[Answer], Verdict] = lambda _: (Status.PASSED, ""),
    ) -> Answer:
        """Do `action` as a step: tell that it began and how it ended, and head its part of the log.

        Args:
            name: Of the step.
            detail: What is special this time; may be empty.
            action: Does the work.
            verdict: How a step ended that raised nothing, and why.
        """
        started = time.monotonic()
        self.session.tell(StepStarted(self.entry.name, name, detail))
        status, message = Status.CANCELLED, ""
        try:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"== {name}{f' ({clean(detail)})' if detail else ''} ==\n")
            answer = action()
            status, message = verdict(answer)
            return answer
        except (Cancelled, InterruptedError):
            raise
        except ExportError as error:
            status, message = Status.ERROR, error.problem.message
            raise
        except Exception as error:
            status, message = Status.ERROR, f"{type(error).__name__}: {error}"
            raise
        finally:
            seconds = time.monotonic() - started
            self.session.tell(StepFinished(self.entry.name, name, status, seconds, message))

    def ask(
        self, step: str, request: BaseModel, reply: type[Reply], directory: Path | None = None, needed_bytes: int = 0
    ) -> Reply:
        """Run a step in a worker that prints to this model's log; arguments as in `exporter.pipeline.pool.Call`."""
        call = Call(step, request, self.log, directory, needed_bytes)
        return self.session.pool.call(call, reply, self.session.cancelled)

    def problem(self, error: Exception) -> Problem:
        """The problem to show for an exception. A bug of ours leaves its traceback in the log."""
        if isinstance(error, ExportError):
            return error.problem
        directory = self.session.workspace.directory
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return disk_full_problem(Path(error.filename or self.log), directory, 0)
        if isinstance(error, OSError):
            return Problem(kind="output-directory", message=clean(f"{directory} can't be written to: {error}."))
        with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
        return Problem(
            kind="bug",
            message=clean(f"{type(error).__name__}: {error}"),
            hint=f"This is a bug in the exporter; please report it with the end of {self.log.name}.",
        )
