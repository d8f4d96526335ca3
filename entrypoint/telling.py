"""Telling people: the comment on the pull request, the release, the job summary, annotations, outputs.

The verdict reaches the summary and the outputs whatever GitHub's API does. What GitHub refuses is a note beside the
verdict, and where the inputs insist on it an exit code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint import changes, conversion, publishing, render, workflow
from entrypoint.exits import Exit, of_report
from entrypoint.render import plain
from entrypoint.render.budget import COMMENT, SUMMARY, Limit
from entrypoint.render.escape import prose
from entrypoint.reports import Found, Placed, merge
from entrypoint.settings import Settings
from entrypoint.tools import Tools
from entrypoint.workflow import FileCommandError
from exporter.manifest import Entry
from exporter.pipeline.workspace import REPORT_FILE
from exporter.results import ExportError, Report, Status

if TYPE_CHECKING:
    from entrypoint.github.artifacts import Baseline
    from entrypoint.github.client import Client
    from entrypoint.github.pulls import PullRequest

__all__ = ["Place", "Telling", "look_up", "refuse", "write_outputs"]

_MOST_MESSAGES = 50
_LONGEST_MESSAGE = 2_000
_RELEASE_NOTES = Limit(120_000)  # characters; GitHub takes 125,000 in the notes of a release
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NO_PERMISSION = ("release-permission", "github-permission", "github-token")


@dataclass(frozen=True)
class Place:
    """Where a report belongs.

    Attributes:
        pull: The pull request; None: there is none, and `reason` says why.
        unknown: Whether GitHub could not be asked for one.
        commit: What the report is about, as people know it: the head of the pull request, not its merge.
        run_url: Page of the run that made the artifacts; `run_label` is its name.
        baseline: What to compare with; None when nobody looked.
    """

    pull: PullRequest | None = None
    reason: str = ""
    unknown: bool = False
    commit: str = ""
    run_url: str = ""
    run_label: str = ""
    baseline: Baseline | None = None

    @property
    def compared(self) -> Report | None:
        """The reports of the baseline as one."""
        reports = self.baseline.reports if self.baseline else ()
        return merge([Found(Path(), report) for report in reports]).report if reports else None

    @property
    def label(self) -> str:
        """What people call the baseline; empty without one."""
        return self.baseline.label if self.baseline else ""

    @property
    def baseline_url(self) -> str:
        """Page of the baseline; empty without one."""
        return self.baseline.url if self.baseline else ""


def look_up(settings: Settings, tools: Tools) -> Place:
    """The place of what this run reports; what can't be found is said in the log."""
    with ExitStack() as stack:
        return _find(_connect(settings, tools, stack), settings, tools)


def refuse(settings: Settings, messages: Sequence[str]) -> None:
    """Say in the summary why nothing was done; people look there before they open a log."""
    target = settings.run.summary_file
    if target is not None:
        listed = [f"- {prose(message, _LONGEST_MESSAGE)}" for message in messages[:_MOST_MESSAGES]]
        if len(messages) > _MOST_MESSAGES:
            listed.append(f"- and {len(messages) - _MOST_MESSAGES:,} more, in the log")
        workflow.write_summary(target, "\n".join(["## ❌ Model export: not done", "", *listed]))


def write_outputs(settings: Settings, tools: Tools, values: Mapping[str, str]) -> None:
    """Set outputs of the step; the largest is left empty, with a warning, where GitHub would not take them all."""
    target = settings.run.output_file
    if target is None:
        return
    try:
        workflow.write_outputs(target, values)
    except FileCommandError as error:
        largest = max(values, key=lambda name: len(values[name]))
        tools.say(f"The output `{largest}` is empty: {error}. The report has everything.", "warning")
        workflow.write_outputs(target, {**values, largest: ""})


@dataclass
class Telling:
    """One report on its way to people.

    Attributes:
        report: What to tell.
        models: Its models, each with the folder that its files are in.
        left_out: Entries that were not exported because nothing about them changed.
    """

    settings: Settings
    tools: Tools
    report: Report
    models: Sequence[Placed]
    left_out: Sequence[Entry] = ()
    _notes: list[str] = field(default_factory=list)
    _comment_url: str = ""
    _refused: bool = False

    def in_full(self) -> Exit:
        """Tell it everywhere, and say with which exit code the step is to end."""
        self._place = _here(self.settings)
        try:
            self._annotate()
            self._save()
            with ExitStack() as stack:
                client = _connect(self.settings, self.tools, stack)
                self._place = _find(client, self.settings, self.tools)
                self._save()
                self._publish(client)
                self._comment(client)
        finally:
            self._close()
        verdict = of_report(self.report, self.settings.fail_on)
        return Exit.GITHUB_REFUSED if self._refused and verdict is Exit.OK else verdict

    def in_brief(self) -> None:
        """Tell it where that takes no time: the runner waits ten seconds for a step that was cancelled."""
        self._place = _here(self.settings)
        try:
            self._save()
        finally:
            self._close()

    def _save(self) -> None:
        unchanged = changes.last_verdicts(self.left_out, self._place.compared, self._place.label)
        if unchanged:
            self.report = self.report.model_copy(update={"unchanged": unchanged})
        conversion.save(self.report, self.settings.output_directory)

    def _annotate(self) -> None:
        # The jobs that exported have put theirs on the manifest's lines already.
        if self.settings.command == "run":
            for annotation in render.annotations(self.report):
                print(workflow.annotate(annotation), file=self.tools.log)
        self.tools.log.flush()

    def _publish(self, client: Client | None) -> None:
        settings = self.settings
        tag = (settings.command == "publish" and settings.tag) or settings.run.tag
        if not tag or settings.publish == "false" or settings.command not in ("run", "publish"):
            return
        if settings.only and settings.publish == "auto":
            # A job of a matrix: each would publish its part, and the first one the release.
            self.tools.say("Not published: `only` leaves models out. Publish all at once with `command: publish`.")
            return
        if of_report(self.report, settings.fail_on) is not Exit.OK:
            self._note("Not published: only models that passed are.")
            return
        if client is None:
            self._refuse("Not published: there is no token for GitHub.", lenient=settings.publish == "auto")
            return
        context = self._context()
        notes = render.summary(self.report, context, _RELEASE_NOTES)
        edition = publishing.Edition(tag, self.report, self.models, notes, settings.run.commit)
        try:
            published = publishing.publish_edition(client, edition, settings.output_directory)
        except ExportError as error:
            problem = error.problem
            lenient = settings.publish == "auto" and problem.kind in _NO_PERMISSION
            self._refuse(f"Not published: {problem.message} {problem.hint}".rstrip(), lenient)
            return
        kind = "the draft of release" if published.draft else "release"
        self._note(f"Published in {kind} {tag}: {len(published.assets)} files, {published.url}")

    def _comment(self, client: Client | None) -> None:
        settings, place = self.settings, self._place
        if settings.comment == "false":
            return
        insists = settings.comment == "true" or settings.command == "report"
        if place.pull is None or client is None:
            if insists or place.unknown:
                self._refuse(f"No comment was written: {place.reason}.", lenient=not (insists and place.unknown))
            return

        from entrypoint.github.comments import room_for, upsert_comment
        from entrypoint.github.errors import CannotComment

        # The adapter puts a marker of its own on top, by which it finds the comment again.
        marker = f"{render.marker(settings.key)}\n"
        room = Limit(room_for(settings.key) + len(marker), COMMENT.measure)
        body = render.comment(self.report, self._context(), room).removeprefix(marker)
        try:
            outcome = upsert_comment(client, place.pull, body, settings.key, place.commit)
        except CannotComment as error:
            problem = error.problem
            readonly = place.pull.origin != "repository" and problem.kind == "comment-permission"
            self._refuse(f"No comment was written. {problem.message} {problem.hint}".rstrip(), readonly or not insists)
            return
        self._comment_url = outcome.url
        if outcome.action == "stale":
            self._note(f"No comment was written: {outcome.reason}.")

    def _refuse(self, message: str, lenient: bool) -> None:
        """Note what GitHub did not let happen; unless that was to be expected, the step fails for it."""
        self._notes.append(message)
        self._refused = self._refused or not lenient
        self.tools.say(message, "warning" if lenient else "error")

    def _note(self, message: str) -> None:
        self._notes.append(message)
        self.tools.say(message)

    def _context(self) -> render.CommentContext:
        place, compared = self._place, self._place.compared
        return render.CommentContext(
            key=self.settings.key,
            head_sha=place.commit,
            run_url=place.run_url,
            run_label=place.run_label,
            artifacts_url=f"{place.run_url}#artifacts" if place.run_url else "",
            baseline=render.Baseline.of(compared, place.label, place.baseline_url) if compared else None,
            notes=tuple(self._notes),
        )

    def _close(self) -> None:
        """The summary, the outputs and the last lines of the log."""
        settings, report = self.settings, self.report
        target = settings.run.summary_file
        if target is not None:
            present = target.stat().st_size if target.exists() else 0
            room = Limit(SUMMARY.maximum - present, SUMMARY.measure)
            workflow.write_summary(target, render.summary(report, self._context(), room))
        statuses = [model.status for model in report.models]
        values = {
            "passed": str(statuses.count(Status.PASSED)),
            "failed": str(sum(status not in (Status.PASSED, Status.UNVERIFIED) for status in statuses)),
            "report": str(settings.output_directory / REPORT_FILE),
            "comment-url": self._comment_url,
            "artifacts": json.dumps(_artifacts(self.models), separators=(",", ":")),
        }
        write_outputs(settings, self.tools, values)
        print("\n".join(plain.lines(report)), file=self.tools.log, flush=True)


def _connect(settings: Settings, tools: Tools, stack: ExitStack) -> Client | None:
    if not settings.token:
        return None
    return stack.enter_context(tools.connect(settings))


def _here(settings: Settings) -> Place:
    """What is known of the place without asking GitHub."""
    run = settings.run
    about = run.payload.get("workflow_run", {}) if run.event == "workflow_run" else {}
    head = run.payload.get("pull_request", {}).get("head", {}).get("sha")
    return Place(
        commit=str(head or about.get("head_sha") or run.commit),
        run_url=str(about.get("html_url") or run.url),
        run_label=f"#{about['run_number']}" if about.get("run_number") else run.number,
    )


def _find(client: Client | None, settings: Settings, tools: Tools) -> Place:
    here = _here(settings)
    run = settings.run
    if client is None:
        return Place(None, "there is no token for GitHub", True, here.commit, here.run_url, here.run_label)

    from entrypoint.github.artifacts import find_baseline
    from entrypoint.github.errors import ApiError
    from entrypoint.github.pulls import Lookup, find_pull_request

    unknown = False
    try:
        lookup = find_pull_request(client, run.event, run.payload)
    except ApiError as error:
        lookup, unknown = Lookup(None, error.problem.message.removesuffix(".")), True
    asks = run.payload.get("workflow_run", {}).get("id") if run.event == "workflow_run" else None
    baseline = find_baseline(client, settings.baseline, except_run=int(asks or run.id))
    for note in baseline.notes:
        tools.say(f"Baseline: {note}")
    return Place(
        pull=lookup.pull,
        reason=lookup.reason,
        unknown=unknown,
        commit=lookup.pull.head_sha if lookup.pull else here.commit,
        run_url=here.run_url,
        run_label=here.run_label,
        baseline=baseline,
    )


def _artifacts(models: Sequence[Placed]) -> list[dict[str, str | int]]:
    """The artifacts that passed, and where each is, relative to the workspace."""
    return [
        {
            "model": placed.model.name,
            "format": result.format,
            "path": os.path.normpath(placed.folder / placed.model.name / result.format),
            "bytes": result.bytes,
        }
        for placed in models
        for result in placed.model.formats
        if result.status is Status.PASSED and result.files
        # A foreign report may name anything; what is no name of a folder is no artifact.
        if _NAME.fullmatch(placed.model.name) and _NAME.fullmatch(result.format)
    ]
