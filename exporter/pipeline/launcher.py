"""The run's handle on its fork server: start it with a clean environment, ask it for workers, end it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import exporter
from exporter.pipeline.forkserver import READY
from exporter.pipeline.logs import clean, tail
from exporter.results import ExportError

__all__ = ["ForkServer"]

_START_SECONDS = 300.0
_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 1.0
_PROGRAM = "import sys; sys.path[:] = sys.argv[2].split(':'); from exporter.pipeline.forkserver import main; main()"


class ForkServer:
    """A running fork server. It ends when it is closed, and also when this process ends in whatever way."""

    def __init__(self, preload: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the server; it imports in the background.

        Args:
            preload: Modules to import once, before the first worker.
            environment: The whole environment of the server and so of every worker.
            log: Where the server itself prints.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = log
        self._ready = False
        self._start_error: ExportError | None = None
        self._lock = threading.Lock()
        with theirs, log.open("ab") as output:
            number = str(theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter we run in, and our own program
                [sys.executable, "-c", _PROGRAM, number, _import_path(), ",".join(preload)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                env=dict(environment),
                # Python looks for modules in the working directory first, and a repository may hold a `torch.py`.
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """False when it ran and is gone: then a new one may do better. One that never ran says why, again and again."""
        return not self._ready or self._process.poll() is None

    def fork(self, descriptors: Sequence[int], cancelled: threading.Event) -> bool:
        """Ask for a worker that is given these file descriptors: request, result, status, log.

        Returns:
            False when `cancelled` was set before the server was ready.

        Raises:
            ExportError: The server could not import what it should (kind ``worker-start``), or is gone.
        """
        with self._lock:
            if not self._wait_ready(cancelled):
                return False
            try:
                socket.send_fds(self._control, [b"fork"], list(descriptors))
            except OSError as error:
                raise self._failure(f"The process that starts workers is gone ({error}).") from error
        return True

    def close(self) -> None:
        """End the server; workers that still run are killed with all they started."""
        self._control.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:  # still importing
            self._process.kill()
            self._process.wait()

    def _wait_ready(self, cancelled: threading.Event) -> bool:
        if self._start_error is not None:
            raise self._start_error
        deadline = time.monotonic() + _START_SECONDS
        self._control.settimeout(_POLL_SECONDS)
        while not self._ready:
            if cancelled.is_set():
                return False
            if time.monotonic() > deadline:
                raise self._failure(f"The process that starts workers was not ready within {_START_SECONDS:g} s.")
            try:
                message = self._control.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise self._failure(f"The process that starts workers is gone ({error}).") from error
            if message != READY:
                reason = clean(message.decode("utf-8", "replace")).rpartition("\n")[2]
                raise self._failure(f"The process that starts workers failed: {reason or 'it ended without a word'}.")
            self._ready = True
        self._control.settimeout(None)
        return True

    def _failure(self, message: str) -> ExportError:
        hint = "Check that torch and transformers are installed and can be imported."
        error = ExportError("worker-start", message, hint, log=tail(self._log))
        if not self._ready:
            self._start_error = error
        return error


def _import_path() -> str:
    """This process's import path without its working directory, and where this package is."""
    home = str(Path(exporter.__file__).resolve().parents[1])
    paths = [path for path in sys.path if path and Path(path).is_absolute()]
    return os.pathsep.join(dict.fromkeys([*paths, home]))
