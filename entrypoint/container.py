"""The action as a step of a workflow: the first process of a container, with everything of the job in its environment.

The first process of a container gets no default action for signals: what it does not handle, it ignores.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing, redirect_stderr
from pathlib import Path
from types import FrameType
from typing import NoReturn

from entrypoint import isolation, ownership
from entrypoint.exits import Exit
from entrypoint.settings import InputError, Settings, from_runner
from exporter.pipeline.environment import hub_cache

__all__ = ["main"]


class _Stopped(BaseException):
    """The step was cancelled while it was not exporting; that has its own way to end."""

    def __init__(self, exit_code: Exit) -> None:
        self.exit_code = exit_code


def main() -> NoReturn:
    """Run the action in a process that has no secrets in its environment, and end with its exit code."""
    if isolation.HANDOVER not in os.environ:
        isolation.hand_over(os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        exit_code = _act({**os.environ, **_received()})
    except _Stopped as stopped:
        exit_code = stopped.exit_code
    # Not sys.exit: a download in a thread would keep the container alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _received() -> dict[str, str]:
    os.umask(0o022)
    if os.geteuid() == 0:
        isolation.close_docker_socket()
    return isolation.receive()


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped(Exit(128 + number))


def _act(environment: dict[str, str]) -> Exit:
    # Only now: what isn't imported can't delay the handlers.
    from entrypoint.workflow import ForeignStream

    with closing(ForeignStream(sys.stderr)) as warnings, redirect_stderr(warnings):
        return _run(environment)


def _run(environment: dict[str, str]) -> Exit:
    from entrypoint.git import Git
    from entrypoint.main import action
    from entrypoint.tools import Tools

    tools = Tools(sys.stdout, Git(Path()), sandbox=isolation.WORKER if os.geteuid() == 0 else None)
    try:
        settings = from_runner(environment)
        os.chdir(settings.run.workspace)
    except InputError as error:
        tools.say(error.problem.message, "error")
        return Exit.BAD_CALL
    except OSError as error:
        tools.say(f"The workspace can't be entered: {error}.", "error")
        return Exit.BAD_CALL
    try:
        return action(settings, tools)
    finally:
        _hand_back(settings)


def _hand_back(settings: Settings) -> None:
    """What root made in folders of the host belongs to the runner's user again, the cache of the Hub included."""
    cache = hub_cache(os.environ)
    mounted = [Path(os.environ[name]) for name in ("GITHUB_WORKSPACE", "RUNNER_TEMP", "HOME") if os.environ.get(name)]
    shared = [folder for folder in mounted if cache != folder and cache.is_relative_to(folder)]
    above = [
        folder for folder in cache.parents if any(folder != mount and folder.is_relative_to(mount) for mount in shared)
    ]
    ownership.hand_back([settings.output_directory, *([cache] if shared else [])], above, settings.run.workspace)
