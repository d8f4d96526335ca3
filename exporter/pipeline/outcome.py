"""How a worker came to its end, and what that means: the step's reply, or one problem of one kind."""

from __future__ import annotations

import enum
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from exporter.pipeline.logs import clean_problem, tail
from exporter.pipeline.worker import PROBLEM, REPLY, disk_full_problem, is_full
from exporter.results import ExportError, Problem

__all__ = ["ANSWER_LIMIT", "LOG_LIMIT", "Ending", "Stop", "reply_of"]

ANSWER_LIMIT = 32 << 20
"""Most bytes that a worker may answer with."""

LOG_LIMIT = 64 << 20
"""Most bytes that a step may print."""

Reply = TypeVar("Reply", bound=BaseModel)


class Stop(enum.Enum):
    """Why the run ended a worker before it was done."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    ANSWER = "answer"
    LOG = "log"


@dataclass(frozen=True)
class Ending:
    """Everything the run knows about a worker that is no more.

    Attributes:
        answer: What it wrote, at most `ANSWER_LIMIT` bytes and one read.
        stopped: Why the run ended it; None when it ended by itself.
        ended: Status as from ``waitpid``; None when even its keeper was killed.
        started: Whether it came to life at all.
        memory_limit: Bytes it could hold, and the most it was seen to hold (`peak_memory`).
        time_limit: Seconds it could take.
        kernel_kills: Processes that the kernel killed meanwhile for want of memory, in our control group.
        log: Its log, in which its own lines start at byte `log_start`.
        directory: The folder it filled, if any, in which it was about to write `needed_bytes`.
    """

    answer: bytes
    stopped: Stop | None
    ended: int | None
    started: bool
    memory_limit: int
    peak_memory: int
    time_limit: float
    kernel_kills: int
    log: Path
    log_start: int
    directory: Path
    needed_bytes: int


def reply_of(ending: Ending, reply: type[Reply]) -> Reply:
    """What the step answered.

    Raises:
        ExportError: With the step's own problem, or with ours about how the worker ended: ``timeout``,
            ``out-of-memory``, ``disk-full``, ``worker-killed``, ``worker-exit``, ``worker-garbage``, ``no-result``,
            ``log-flood``, ``worker-start``.
    """
    problem = _problem_of_ending(ending)
    if problem is None and ending.answer.startswith(PROBLEM):
        problem = _parse(Problem, ending.answer[len(PROBLEM) :])
    elif problem is None and ending.answer.startswith(REPLY):
        parsed = _parse(reply, ending.answer[len(REPLY) :])
        if not isinstance(parsed, Problem):
            return parsed
        problem = parsed
    elif problem is None:
        problem = _garbage("it does not start like one")
    problem = clean_problem(problem)
    raise ExportError(
        problem.kind, problem.message, problem.hint, log=problem.log or tail(ending.log, ending.log_start)
    )


def _parse(record: type[Reply], data: bytes) -> Reply | Problem:
    try:
        return record.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _garbage(f"{where}: {first['msg']}" if where else first["msg"])


def _problem_of_ending(ending: Ending) -> Problem | None:
    """What is wrong whatever the worker answered; None when there is an answer to read."""
    if ending.stopped is not None:
        return _problem_of_stop(ending, ending.stopped)
    if not ending.started:
        return Problem(
            kind="worker-start",
            message="No worker could be started: the machine has no memory or no process left.",
            hint="Run fewer jobs at once.",
        )
    if ending.ended is None:
        return Problem(kind="worker-killed", message="The worker and the process that guards it were killed.")
    code = os.waitstatus_to_exitcode(ending.ended)
    if code < 0:
        return _problem_of_signal(ending, -code)
    if code > 0:
        return Problem(kind="worker-exit", message=f"The worker ended with exit status {code} and without a result.")
    if not ending.answer:
        return Problem(
            kind="no-result",
            message="The worker ended with exit status 0, but without a result.",
            hint="Something in the model's code ends the process.",
        )
    return None


def _problem_of_stop(ending: Ending, stop: Stop) -> Problem:
    if stop is Stop.TIMEOUT:
        return Problem(
            kind="timeout",
            message=f"The step was not done after {ending.time_limit:g} s and was ended.",
            hint="Raise the time limit, or convert this model on a faster machine.",
        )
    if stop is Stop.MEMORY:
        return Problem(
            kind="out-of-memory",
            message=f"The worker held {_gb(ending.peak_memory)} of memory, more than its share of "
            f"{_gb(ending.memory_limit)}, and was ended.",
            hint="Use a machine with more memory, fewer jobs at once, or a smaller model.",
        )
    if stop is Stop.LOG:
        return Problem(kind="log-flood", message=f"The step printed more than {LOG_LIMIT >> 20} MiB and was ended.")
    if stop is Stop.ANSWER:
        return _garbage(f"it is longer than {ANSWER_LIMIT >> 20} MiB")
    return Problem(kind="cancelled", message="The run was interrupted.")


def _problem_of_signal(ending: Ending, number: int) -> Problem:
    if ending.kernel_kills and number == signal.SIGKILL:
        return Problem(
            kind="out-of-memory",
            message=f"The kernel killed the worker because the machine had no memory left; it held at least "
            f"{_gb(ending.peak_memory)}.",
            hint="Use a machine with more memory, fewer jobs at once, or a smaller model.",
        )
    if is_full(ending.directory):
        # A file mapped into memory that the disk can't hold ends in SIGBUS, not in an exception.
        return disk_full_problem(ending.directory, ending.directory, ending.needed_bytes)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return Problem(
        kind="worker-killed",
        message=f"The worker was killed by {name}.",
        hint="A crash in compiled code, or something outside killed it; the log may say where.",
    )


def _garbage(why: str) -> Problem:
    return Problem(
        kind="worker-garbage",
        message=f"The worker's answer can't be read: {why}.",
        hint="Something in the model's code writes where only the export may write.",
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
