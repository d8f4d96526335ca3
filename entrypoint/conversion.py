"""The main job as a command: manifests in, artifacts and report out, with progress while it lasts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from entrypoint import render
from entrypoint.exits import Exit
from exporter import manifest
from exporter.pipeline.events import Event
from exporter.pipeline.interrupt import interruptible
from exporter.pipeline.run import RunOptions
from exporter.pipeline.run import run as convert
from exporter.results import Report, Status

__all__ = ["run"]

REPORT_PAGE = "export-report.md"

_FAILING: dict[str, frozenset[Status]] = {
    "tolerance": frozenset({Status.FAILED, Status.ERROR, Status.CANCELLED}),
    "error": frozenset({Status.ERROR, Status.CANCELLED}),
    "never": frozenset(),
}


def run(manifests: Sequence[Path], only: Sequence[str], options: RunOptions, fail_on: str) -> Exit:
    """Convert and judge the models of some manifests.

    Args:
        manifests: Paths of manifests.
        only: Names of the models to run; all when empty.
        options: Where to write and how to run.
        fail_on: ``tolerance``, ``error`` or ``never``: what makes the exit code 1.

    Raises:
        ManifestErrors: What is wrong in the manifests, all at once.
        ExportError: The run can't start, such as a second one in the same folder.
    """
    loaded = manifest.load(manifests)
    entries = loaded.select(only).entries if only else loaded.entries
    with interruptible() as interruption, _progress(len(entries)) as show:
        report = convert(entries, options, show, interruption.event)
    (options.output_directory / REPORT_PAGE).write_text(render.markdown(report), encoding="utf-8")
    _close(report)
    return Exit(interruption.exit_status or _exit(report, fail_on))


def _exit(report: Report, fail_on: str) -> Exit:
    statuses = {each.status for model in report.models for each in (model, *model.formats)}
    return Exit.MODEL_FAILED if statuses & _FAILING[fail_on] else Exit.OK


def _in_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("GITHUB_ACTIONS") != "true"


def _progress(models: int) -> AbstractContextManager[Callable[[Event], None]]:
    if _in_terminal():
        from entrypoint.render import terminal

        return terminal.Progress(models)
    from entrypoint.render import plain

    return plain.Progress(sys.stdout)


def _close(report: Report) -> None:
    if _in_terminal():
        from rich.console import Console

        from entrypoint.render import terminal

        Console().print(terminal.closing(report))
        return
    from entrypoint.render import plain

    print("\n".join(plain.lines(report)))
