"""The main job: entries in, artifacts and a report out."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from exporter.manifest import Entry
from exporter.pipeline.drive import drive, unfinished
from exporter.pipeline.events import Event, ModelFinished
from exporter.pipeline.fetch import Fetch, fetch_from_hub
from exporter.pipeline.pool import PRELOAD, PoolOptions, Sandbox, WorkerPool
from exporter.pipeline.requests import Permissions
from exporter.pipeline.session import Session, Steps
from exporter.pipeline.versions import versions
from exporter.pipeline.workspace import Workspace, open_workspace
from exporter.results import ModelResult, Report, combine

__all__ = ["RunOptions", "run"]

_POLL_SECONDS = 0.05
# Workers end at once; what may not is a download in a thread of ours, and nobody waits for that.
_WIND_UP_SECONDS = 2.5


@dataclass(frozen=True)
class RunOptions:
    """How and where to run.

    Attributes:
        output_directory: See `exporter.pipeline.workspace` for what is in it afterwards.
        jobs: Models at once.
        time_limit: Seconds that one step of one model may take.
        memory_limit: Bytes that one worker may hold; None: an equal share of what there is.
        allow_custom_code: Whether the manifest's ``config`` may import code of the repository.
        allow_remote_code: Whether checkpoints may bring code.
        quick: Whether the judge may leave out its expensive cases.
        sandbox: Unprivileged user for workers; needs root.
        commit: Commit of the repository, for the report.
        fetch: Brings models of the Hub here.
        steps: Functions that workers run, and `preload`, what they import once.
    """

    output_directory: Path
    jobs: int = 1
    time_limit: float = 3600.0
    memory_limit: int | None = None
    allow_custom_code: bool = False
    allow_remote_code: bool = False
    quick: bool = False
    sandbox: Sandbox | None = None
    commit: str = ""
    fetch: Fetch = fetch_from_hub
    steps: Steps = field(default_factory=Steps)
    preload: tuple[str, ...] = PRELOAD


def run(
    entries: Sequence[Entry],
    options: RunOptions,
    on_event: Callable[[Event], None],
    cancelled: threading.Event | None = None,
) -> Report:
    """Export and judge every entry, and write ``export-report.json``; results are in the order of the entries.

    The report is also written when the run is interrupted, by `cancelled` or by `KeyboardInterrupt`: what was not done
    is `cancelled` in it. It is there from the start and grows with every model, so that nothing is lost if this
    process is killed.

    Args:
        entries: Models, with unique names.
        options: How and where.
        on_event: Is told what happens, one call at a time, from any thread.
        cancelled: Ends the run within seconds when it is set.

    Raises:
        ExportError: The output directory can't be used. What goes wrong with a model is in its result.
    """
    stop = cancelled or threading.Event()
    with open_workspace(options.output_directory) as workspace:
        record = _Record(entries, workspace, options.commit, on_event, stop)
        record.write()
        pool_options = PoolOptions(
            scratch=workspace.scratch,
            jobs=max(1, min(options.jobs, len(entries))),
            memory_limit=options.memory_limit,
            time_limit=options.time_limit,
            preload=options.preload,
            sandbox=options.sandbox,
        )
        with WorkerPool(pool_options) as pool:
            session = Session(
                pool=pool,
                workspace=workspace,
                steps=options.steps,
                permissions=Permissions(options.allow_custom_code, options.allow_remote_code, options.quick),
                fetch=options.fetch,
                tell=record.tell,
                cancelled=stop,
            )
            pool.start()
            try:
                _drive_all(entries, session, record, pool_options.jobs)
            finally:
                report = record.close()
    record.raise_error()
    return report


def _drive_all(entries: Sequence[Entry], session: Session, record: _Record, jobs: int) -> None:
    waiting: queue.SimpleQueue[Entry] = queue.SimpleQueue()
    for entry in entries:
        waiting.put(entry)
    # Daemons, since a download can't be interrupted, and this process shall be able to end without it.
    threads = [
        threading.Thread(target=_work, args=(waiting, session, record), name=f"job-{number}", daemon=True)
        for number in range(jobs)
    ]
    for thread in threads:
        thread.start()
    try:
        # Short waits: signal handlers run in this thread, and only between them.
        while any(thread.is_alive() for thread in threads) and not session.cancelled.is_set():
            _wait(threads, _POLL_SECONDS)
    except BaseException:
        session.cancelled.set()
        raise
    finally:
        _wait(threads, _WIND_UP_SECONDS)


def _wait(threads: Sequence[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _work(waiting: queue.SimpleQueue[Entry], session: Session, record: _Record) -> None:
    """One job: model after model, until there is none left or the run is to end."""
    try:
        while not session.cancelled.is_set():
            record.tell(ModelFinished(drive(waiting.get_nowait(), session)))
    except queue.Empty:
        return
    except BaseException as error:
        record.fail(error)


class _Record:
    """What has happened so far: tells the listener, keeps the results, writes them down."""

    def __init__(
        self,
        entries: Sequence[Entry],
        workspace: Workspace,
        commit: str,
        on_event: Callable[[Event], None],
        stop: threading.Event,
    ) -> None:
        self._entries = entries
        self._workspace = workspace
        self._commit = commit
        self._on_event = on_event
        self._stop = stop
        self._results: dict[str, ModelResult] = {}
        self._started = datetime.now(timezone.utc)
        self._begin = time.monotonic()
        self._next_write = 0.0
        self._error: BaseException | None = None
        self._closed = False
        # Reentrant: the listener may look at what it likes.
        self._lock = threading.RLock()

    def tell(self, event: Event) -> None:
        """Pass an event on, and keep the result in it; after the end of the run nothing is heard any more."""
        with self._lock:
            if self._closed:
                return
            if isinstance(event, ModelFinished):
                self._results[event.result.name] = event.result
                self._write_now_and_then()
            try:
                self._on_event(event)
            except BaseException as error:  # shown when the run has ended cleanly
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the run; `raise_error` raises the first of these."""
        with self._lock:
            self._error = self._error or error
        self._stop.set()

    def raise_error(self) -> None:
        """Raise what made the run fail, if anything did."""
        if self._error is not None:
            raise self._error

    def report(self) -> Report:
        """The report as it stands; what is not done is `cancelled`."""
        with self._lock:
            models = tuple(self._results.get(entry.name) or unfinished(entry) for entry in self._entries)
            return Report(
                status=combine(model.status for model in models),
                models=models,
                versions=versions(),
                commit=self._commit,
                started=self._started.isoformat(timespec="seconds"),
                seconds=time.monotonic() - self._begin,
            )

    def close(self) -> Report:
        """Account for every entry, and write the last word."""
        with self._lock:
            for entry in self._entries:
                if entry.name not in self._results:
                    self.tell(ModelFinished(unfinished(entry)))
            self._closed = True
            report = self.report()
            self._workspace.write_report(report)
            return report

    def write(self) -> None:
        """Write the report as it stands."""
        self._workspace.write_report(self.report())

    def _write_now_and_then(self) -> None:
        """Write, but spend at most a tenth of the time with it: the report of a thousand models is long."""
        begin = time.monotonic()
        if begin < self._next_write:
            return
        # With a full disk the next write, or the last one, may succeed: temporary files are gone by then.
        with contextlib.suppress(OSError):
            self.write()
        self._next_write = time.monotonic() + 9 * (time.monotonic() - begin)
