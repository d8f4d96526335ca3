"""One worker process per step, watched from outside: its time, its memory, its log, its answer.

This process never imports torch. Steps are named by string, and only a worker resolves the name.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil
from pydantic import BaseModel

from exporter.pipeline.environment import worker_environment
from exporter.pipeline.files import give, make_folder, remove_tree
from exporter.pipeline.launcher import ForkServer
from exporter.pipeline.limits import available_memory, available_processors, memory_per_worker, out_of_memory_kills
from exporter.pipeline.outcome import ANSWER_LIMIT, LOG_LIMIT, Ending, Stop, reply_of
from exporter.pipeline.worker import Assignment, Sandbox

__all__ = ["PRELOAD", "Call", "Cancelled", "PoolOptions", "Sandbox", "WorkerPool", "tree_memory"]

PRELOAD = ("torch", "transformers", "exporter.pipeline.steps")
"""What the fork server imports once."""

_POLL_SECONDS = 0.1
_KILL_SECONDS = 2.0
_READ_BYTES = 1 << 16

Reply = TypeVar("Reply", bound=BaseModel)


class Cancelled(Exception):  # noqa: N818 - an interruption, not an error
    """The run was interrupted before the step was done."""


@dataclass(frozen=True)
class PoolOptions:
    """How workers are run.

    Attributes:
        scratch: Folder for what workers leave behind; the pool fills and empties it.
        jobs: How many workers there are at once.
        memory_limit: Bytes that one worker and all it starts may hold; None: an equal share of what there is.
        time_limit: Seconds that one step may take.
        preload: Modules imported once and shared by all workers.
        sandbox: Unprivileged user for workers; needs root.
        environment: From which workers get the few variables that pass; this process's own by default.
    """

    scratch: Path
    jobs: int = 1
    memory_limit: int | None = None
    time_limit: float = 3600.0
    preload: tuple[str, ...] = PRELOAD
    sandbox: Sandbox | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


@dataclass(frozen=True)
class Call:
    """One step to run in a worker.

    Attributes:
        step: ``package.module:function``; the function takes one record and returns one.
        request: Its argument.
        log: File that what the worker prints is appended to.
        directory: Existing folder that the step fills; None when it fills none.
        needed_bytes: What the step will about write there; 0 when unknown.
    """

    step: str
    request: BaseModel
    log: Path
    directory: Path | None = None
    needed_bytes: int = 0


class WorkerPool:
    """Runs steps in workers; any number of threads may call it. A context manager: leaving it ends every process."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._memory_limit = options.memory_limit or memory_per_worker(options.jobs, available_memory())
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._closed = False

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the fork server, so that it imports while other things are done."""
        self._running_server()

    def close(self) -> None:
        """End the fork server and every worker."""
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.close()
                self._server = None

    def call(self, call: Call, reply: type[Reply], cancelled: threading.Event) -> Reply:
        """Run a step in a new worker and return what it answers.

        Args:
            call: The step.
            reply: Record that the step returns.
            cancelled: Ends the worker when it is set.

        Raises:
            ExportError: The step's own, or what became of its worker (see `exporter.pipeline.outcome.reply_of`).
            Cancelled: `cancelled` was set; the worker and all it started are gone.
        """
        server = self._running_server()
        with self._scratch_folder() as scratch:
            ending = self._run(server, call, scratch, cancelled)
            if ending.stopped is Stop.CANCELLED:
                raise Cancelled
            return reply_of(ending, reply)

    def _running_server(self) -> ForkServer:
        with self._lock:
            if self._closed:
                raise Cancelled
            if self._server is not None and not self._server.usable:
                self._server.close()
                self._server = None
            if self._server is None:
                options = self._options
                for name in ("home", "huggingface"):
                    make_folder(options.scratch / name)
                    self._give(options.scratch / name)
                threads = max(1, available_processors() // options.jobs)
                environment = worker_environment(options.environment, options.scratch, threads)
                self._server = ForkServer(options.preload, environment, options.scratch / "forkserver.log")
            return self._server

    @contextlib.contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=self._options.scratch))
        try:
            self._give(folder)
            yield folder
        finally:
            remove_tree(folder)

    def _give(self, folder: Path) -> None:
        if self._options.sandbox is not None:
            give(folder, self._options.sandbox.uid, self._options.sandbox.gid)

    def _assignment(self, call: Call, scratch: Path) -> Assignment:
        sandbox = self._options.sandbox
        return Assignment(
            step=call.step,
            request=call.request.model_dump_json(),
            scratch=str(scratch),
            directory=str(call.directory or scratch),
            needed_bytes=call.needed_bytes,
            uid=sandbox.uid if sandbox else None,
            gid=sandbox.gid if sandbox else None,
        )

    def _run(self, server: ForkServer, call: Call, scratch: Path, cancelled: threading.Event) -> Ending:
        if call.directory is not None:
            self._give(call.directory)
        kernel_kills = out_of_memory_kills()
        result, result_end = os.pipe()
        status, status_end = os.pipe()
        with os.fdopen(result, "rb", buffering=0) as answers, os.fdopen(status, "rb", buffering=0) as statuses:
            with (
                os.fdopen(result_end, "wb", buffering=0),
                os.fdopen(status_end, "wb", buffering=0),
                tempfile.TemporaryFile(dir=scratch) as request,
                call.log.open("ab") as log,
            ):
                log_start = log.seek(0, os.SEEK_END)
                request.write(self._assignment(call, scratch).model_dump_json().encode())
                request.seek(0)
                forked = server.fork((request.fileno(), result_end, status_end, log.fileno()), cancelled)
            watch = _Watch(answers.fileno(), statuses.fileno(), call.log, log_start)
            if forked:
                watch.until_end(time.monotonic() + self._options.time_limit, self._memory_limit, cancelled)
            else:
                watch.stopped = Stop.CANCELLED
        return Ending(
            answer=bytes(watch.answer),
            stopped=watch.stopped,
            ended=watch.status.get("ended"),
            started="keeper" in watch.status,
            memory_limit=self._memory_limit,
            peak_memory=watch.peak_memory,
            time_limit=self._options.time_limit,
            kernel_kills=out_of_memory_kills() - kernel_kills,
            log=call.log,
            log_start=log_start,
            directory=call.directory or scratch,
            needed_bytes=call.needed_bytes,
        )


class _Watch:
    """Looks at one worker until it is gone, and sees to it that it goes."""

    def __init__(self, answers: int, statuses: int, log: Path, log_start: int) -> None:
        self.answer = bytearray()
        self.status: dict[str, int] = {}
        self.stopped: Stop | None = None
        self.peak_memory = 0
        self._answers = answers
        self._statuses = statuses
        self._status_text = b""
        self._log = log
        self._log_start = log_start
        os.set_blocking(answers, False)
        os.set_blocking(statuses, False)

    def until_end(self, deadline: float, memory_limit: int, cancelled: threading.Event) -> None:
        """Return when the worker and everything it started are gone; end them when a limit is passed."""
        kill_deadline: float | None = None
        next_look = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            selector.register(self._statuses, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(_POLL_SECONDS):
                    if not self._read(key.fd):
                        selector.unregister(key.fd)
                if self._statuses not in selector.get_map():
                    break
                # Not after every read: a long answer arrives in many pieces, and a look costs milliseconds.
                if self.stopped is None and time.monotonic() >= next_look:
                    self.stopped = self._reason_to_stop(deadline, memory_limit, cancelled)
                    next_look = time.monotonic() + _POLL_SECONDS
                if self.stopped is not None:
                    kill_deadline = kill_deadline or time.monotonic() + _KILL_SECONDS
                    if self._kill(with_keeper=time.monotonic() > kill_deadline):
                        break
        while self._read(self._answers):
            pass

    def _reason_to_stop(self, deadline: float, memory_limit: int, cancelled: threading.Event) -> Stop | None:
        self.peak_memory = max(self.peak_memory, self._memory())
        if cancelled.is_set():
            return Stop.CANCELLED
        if self.peak_memory > memory_limit:
            return Stop.MEMORY
        if time.monotonic() > deadline:
            return Stop.TIMEOUT
        if len(self.answer) > ANSWER_LIMIT:
            return Stop.ANSWER
        if self._log.stat().st_size - self._log_start > LOG_LIMIT:
            return Stop.LOG
        return None

    def _memory(self) -> int:
        return tree_memory(self.status["keeper"]) if "keeper" in self.status else 0

    def _read(self, descriptor: int) -> bool:
        """Take what is there; False at the end, or when there is nothing for now."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if descriptor == self._answers:
            if len(self.answer) <= ANSWER_LIMIT:
                self.answer += data
        else:
            self._status_text += data
            *lines, self._status_text = self._status_text.split(b"\n")
            for line in lines:
                self.status.update(json.loads(line))
        return bool(data)

    def _kill(self, with_keeper: bool) -> bool:
        """Kill the worker and all it started; True when there is nothing left that could be waited for."""
        if "keeper" not in self.status:
            return with_keeper
        with contextlib.suppress(psutil.NoSuchProcess):
            keeper = psutil.Process(self.status["keeper"])
            # The keeper last: whoever is left without it belongs to nobody.
            for process in [*keeper.children(recursive=True), *([keeper] if with_keeper else [])]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        return with_keeper


def tree_memory(pid: int) -> int:
    """Bytes of memory that everything below process `pid` holds and that can't be dropped.

    That is what is resident less pages of files, which the kernel takes back when it needs them: weights mapped from
    the checkpoint are no reason to end a worker. Pages that processes share after a fork count for each of them.
    """
    try:
        processes = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    return sum(_held_memory(process.pid) for process in processes)


def _held_memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended meanwhile
        return 0
    held = 0
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            held += int(value.split()[0]) * 1024
    return held
