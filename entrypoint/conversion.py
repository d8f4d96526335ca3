"""The main job, watched: entries in, a report out, with progress while it lasts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint import render, workflow
from entrypoint.exits import Exit, of_report
from exporter import manifest
from exporter.pipeline.events import Event, ModelFinished
from exporter.pipeline.files import write_atomically
from exporter.pipeline.interrupt import interruptible
from exporter.pipeline.run import RunOptions
from exporter.pipeline.run import run as convert_all
from exporter.pipeline.workspace import LOG_FILE, REPORT_FILE
from exporter.results import ModelResult, Report, combine

if TYPE_CHECKING:
    from exporter.manifest import Entry

__all__ = ["REPORT_PAGE", "Conversion", "Revise", "Watch", "convert", "run", "save", "show_result"]

REPORT_PAGE = "export-report.md"

Revise = Callable[[ModelResult], ModelResult]
"""Says the same about a model with what is known outside of the run."""


@dataclass(frozen=True)
class Watch:
    """What happens beside a run.

    Attributes:
        revise: Is applied to every result before anybody sees it.
        finished: Is told every model that is done.
        logs: The output directory, to print the whole log of every model; None: only what the verdict needs.
    """

    revise: Revise = lambda model: model
    finished: Callable[[ModelResult], None] | None = None
    logs: Path | None = None


@dataclass(frozen=True)
class Conversion:
    """What a run gave, and the exit code of the signal that ended it early, if one did."""

    report: Report
    interrupted: Exit | None


def convert(entries: Sequence[Entry], options: RunOptions, watch: Watch | None = None) -> Conversion:
    """Convert and judge entries, and show how it goes on.

    Raises:
        ExportError: The run can't start, such as a second one in the same folder.
    """
    watch = watch or Watch()
    with interruptible() as interruption, _progress(len(entries)) as show:

        def listen(event: Event) -> None:
            if isinstance(event, ModelFinished):
                if watch.finished is not None:
                    watch.finished(event.result)
                if watch.logs is not None:
                    _print_log(watch.logs / event.result.name / LOG_FILE, event.result.name)
                event = replace(event, result=watch.revise(event.result))
            show(event)

        report = convert_all(entries, options, listen, interruption.event)
    models = tuple(map(watch.revise, report.models))
    if models != report.models:
        report = report.model_copy(update={"models": models, "status": combine(model.status for model in models)})
    status = interruption.exit_status
    return Conversion(report, None if status is None else Exit(status))


def _print_log(log: Path, name: str) -> None:
    """Print what the workers of a model printed, as text that no runner takes for a command."""
    if log.is_file():
        with workflow.grouped(sys.stdout, f"Log of {name}"), workflow.fenced(sys.stdout) as text:
            text.write(log.read_text(encoding="utf-8", errors="replace"))


def save(report: Report, directory: Path) -> None:
    """Write the report for programs and for people."""
    write_atomically(directory / REPORT_FILE, report.to_json())
    write_atomically(directory / REPORT_PAGE, render.markdown(report))


def run(manifests: Sequence[Path], only: Sequence[str], options: RunOptions, fail_on: str) -> Exit:
    """The command `run`: the same job outside of a workflow's step.

    Args:
        manifests: Paths of manifests.
        only: Names of the models to run; all when empty.
        options: Where to write and how to run.
        fail_on: What makes the exit code 1.

    Raises:
        ManifestErrors: What is wrong in the manifests, all at once.
        ExportError: The run can't start.
    """
    conversion = convert(manifest.load(manifests).select(only).entries, options)
    save(conversion.report, options.output_directory)
    show_result(conversion.report)
    return conversion.interrupted or of_report(conversion.report, fail_on)


def show_result(report: Report) -> None:
    """Print the table and the verdict."""
    if _in_terminal():
        from rich.console import Console

        from entrypoint.render import terminal

        Console().print(terminal.closing(report))
        return
    from entrypoint.render import plain

    print("\n".join(plain.lines(report)), flush=True)


def _in_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("GITHUB_ACTIONS") != "true"


def _progress(models: int) -> AbstractContextManager[Callable[[Event], None]]:
    if _in_terminal():
        from entrypoint.render import terminal

        return terminal.Progress(models)
    from entrypoint.render import plain

    return plain.Progress(sys.stdout)
