"""Reports of other jobs: found where download-artifact left them, read with suspicion, merged into one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from exporter.pipeline.workspace import REPORT_FILE
from exporter.results import ExportError, ModelResult, Report, ReportError, Status, combine, read_report

__all__ = ["Found", "Merged", "Placed", "find_reports", "merge"]

_LARGEST = 64 << 20  # bytes of one report; one of 1,000 models has about 10 MB
_MOST = 1_000
_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class Found:
    """A report, and the folder that the paths in it are relative to."""

    folder: Path
    report: Report


@dataclass(frozen=True)
class Placed:
    """A model of a report, and the folder that the paths in it are relative to."""

    folder: Path
    model: ModelResult


@dataclass(frozen=True)
class Merged:
    """Several reports as one; `models` are those of `report`, in the same order."""

    report: Report
    models: tuple[Placed, ...]


def find_reports(paths: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """Every ``export-report.json`` in some folders, however deep, and what could not be read, a sentence each.

    What an artifact of another job holds is foreign: links are not followed, and content is checked by the schema.

    Raises:
        ExportError: There is none (kind ``no-report``).
    """
    files = sorted({file for path in paths for file in _files(path)})
    if not files:
        where = ", ".join(map(str, paths))
        raise ExportError(
            "no-report",
            f"There is no {REPORT_FILE} in {where}.",
            "Download the artifacts of the jobs that ran first, for example with actions/download-artifact, "
            "and name the folder in `reports`.",
        )
    found, problems = [], []
    for file in files[:_MOST]:
        try:
            found.append(Found(file.parent, _read(file)))
        except (OSError, ReportError) as error:
            problems.append(f"{file} was left out: {error}.")
    if len(files) > _MOST:
        problems.append(f"{len(files) - _MOST:,} of {len(files):,} reports were left out: {_MOST:,} are read at most.")
    if len(problems) > _MOST_PROBLEMS:
        rest = len(problems) - _MOST_PROBLEMS
        problems = [*problems[:_MOST_PROBLEMS], f"{rest:,} more reports were left out."]
    return found, problems


def merge(found: Sequence[Found], problems: Sequence[str] = ()) -> Merged:
    """One report of several: of a model that is in more than one, the result that got further, then the later one.

    So a job that was run again counts, and of a plan only what no job did. A report that could not be read makes the
    whole an error: nobody knows what it said.
    """
    best: dict[tuple[str, str], tuple[tuple[bool, str], Placed]] = {}
    for each in found:
        for model in each.report.models:
            identity = (model.source.path if model.source else "", model.name)
            rank = (model.status is not Status.CANCELLED, each.report.started)
            if identity not in best or rank >= best[identity][0]:
                best[identity] = (rank, Placed(each.folder, model))
    models = tuple(sorted((placed for _, placed in best.values()), key=_position))
    reports = [each.report for each in found]
    names = {placed.model.name for placed in models}
    unchanged = {each.name: each for report in reports for each in report.unchanged if each.name not in names}
    status = combine([placed.model.status for placed in models] + [Status.ERROR] * bool(problems))
    commits = list(dict.fromkeys(report.commit for report in reports if report.commit))
    notes = [*problems, *dict.fromkeys(note for report in reports for note in report.notes)]
    if len(commits) > 1:
        notes.append(f"The reports are about different commits: {', '.join(commit[:7] for commit in commits[:5])}.")
    whole = Report(
        status=status,
        models=tuple(placed.model for placed in models),
        unchanged=tuple(unchanged.values()),
        versions={name: version for report in reports for name, version in report.versions.items()},
        commit=commits[0] if len(commits) == 1 else "",
        started=min((report.started for report in reports if report.started), default=""),
        seconds=_seconds(reports),
        notes=tuple(notes),
    )
    return Merged(whole, models)


def _position(placed: Placed) -> tuple[str, int, str]:
    source = placed.model.source
    return (source.path, source.line, placed.model.name) if source else ("", 0, placed.model.name)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for root, _, names in os.walk(path):
        file = Path(root, REPORT_FILE)
        if REPORT_FILE in names and not file.is_symlink():
            yield file


def _read(file: Path) -> Report:
    with file.open("rb") as stream:
        text = stream.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ReportError(f"it is larger than {_LARGEST:,} bytes")
    return read_report(text)


def _seconds(reports: Sequence[Report]) -> float:
    """From the first start to the last end, as jobs run side by side; without times, the longest."""
    longest = max((report.seconds for report in reports), default=0.0)
    try:
        starts = [datetime.fromisoformat(report.started) for report in reports if report.seconds]
        ends = [
            datetime.fromisoformat(report.started) + timedelta(seconds=report.seconds)
            for report in reports
            if report.seconds
        ]
        return (max(ends) - min(starts)).total_seconds() if ends else longest
    except (ValueError, TypeError, OverflowError):
        return longest
