"""The process that imported torch once and forks a worker for every step.

Why not `multiprocessing`'s: its server takes whole the environment of the process that starts it, imports that
process's main module again, and unpickles what anybody sends to its socket, which every worker can reach. This one is
started with an environment of its own, listens on a socket pair without an address, and reads JSON.

Each worker is two processes. The *runner* runs the step. The *keeper*, its parent, runs no foreign code: it adopts what
the runner leaves behind, kills that, and says how the runner ended. So nothing outlives a step, daemons included.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import NoReturn

import psutil

from exporter.pipeline.prctl import adopt_orphans, die_with_parent
from exporter.pipeline.worker import work

__all__ = ["READY", "main"]

READY = b"ready"
"""What the server sends when the modules are imported; anything else is the reason why it can't."""

_FORK_MESSAGE_BYTES = 16
_LAST_WORDS_BYTES = 4000
_REAP_SECONDS = 3.0


def main() -> None:
    """Serve until the other end of the socket is closed. Arguments: its file descriptor, import path, modules."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    modules = [name for name in sys.argv[3].split(",") if name]
    # Nobody else's arguments: libraries that look at them would take ours for their own.
    del sys.argv[1:]
    with control:
        try:
            for name in modules:
                importlib.import_module(name)
        except BaseException:
            control.send(traceback.format_exc().encode()[-_LAST_WORDS_BYTES:])
            raise
        # What is frozen isn't walked by the collector, so its pages stay shared with the workers.
        gc.collect()
        gc.freeze()
        # The kernel collects dead keepers. Not earlier: importing modules may wait for programs it runs.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        control.send(READY)
        _serve(control)


def _serve(control: socket.socket) -> None:
    server = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _FORK_MESSAGE_BYTES, 4)
        if not message:
            return
        try:
            if os.fork() == 0:
                control.close()
                _keep(server, descriptors)
        except OSError:  # no memory or no process left: the closed status pipe tells the run
            traceback.print_exc()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _keep(server: int, descriptors: Iterable[int]) -> NoReturn:
    """Fork the runner, wait, clean up after it. Status lines: who, then how it ended."""
    try:
        request, result, status, log = descriptors
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, _kill_everything)
        adopt_orphans()
        die_with_parent(server, signal.SIGTERM)
        keeper = os.getpid()
        runner = os.fork()
        if runner == 0:
            os.close(status)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _run(keeper, request, result, log)
        for descriptor in (request, result, log):
            os.close(descriptor)
        _say(status, {"keeper": keeper, "runner": runner})
        _, ended = os.waitpid(runner, 0)
        _kill_descendants()
        _say(status, {"ended": ended})
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _run(keeper: int, request: int, result: int, log: int) -> NoReturn:
    try:
        work(keeper, request, result, log)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _say(status: int, fact: dict[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the run is gone; what is left to do is to clean up
        os.write(status, json.dumps(fact).encode() + b"\n")


def _kill_everything(_number: int, _frame: FrameType | None) -> NoReturn:
    try:
        _kill_descendants()
    finally:
        os._exit(1)


def _kill_descendants() -> None:
    """Kill until nothing is left: a child that dies hands its own children to this process."""
    deadline = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)
