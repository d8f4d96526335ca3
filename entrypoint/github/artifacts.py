"""The baseline: the last report of the default branch, to compare sizes and verdicts with."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Literal

from entrypoint.github.client import Client
from entrypoint.github.errors import ApiError, MissingError, RefusedError
from exporter.results import ExportError, Report, ReportError, Status, read_report

__all__ = ["REPORT_NAME", "Baseline", "find_baseline"]

REPORT_NAME = "export-report.json"

_LARGEST = 64 << 20  # bytes, packed and unpacked; a report of 1,000 models has about 10 MB
_MOST_LISTED = 500  # artifacts looked through, newest first
_MOST_TRIED = 3  # artifacts downloaded, when the newest can't be read
_MOST_MEMBERS = 10_000


@dataclass(frozen=True)
class Baseline:
    """The reports to compare with, and where they are from.

    Attributes:
        source: `none` means that there is nothing to compare with; `notes` say why.
        reports: One, or one for each job where the artifact holds a report of several.
        label: What to call it, like ``main@def5678`` or ``release v1.2.0``; empty without a baseline.
        commit: Commit that the reports are about; empty where it isn't known.
        url: Page of the run or the release.
        notes: What was looked at and could not be used, a sentence each.
    """

    source: Literal["artifact", "release", "none"]
    reports: tuple[Report, ...] = ()
    label: str = ""
    commit: str = ""
    url: str = ""
    notes: tuple[str, ...] = ()


def find_baseline(client: Client, artifact: str, branch: str = "", except_run: int = 0) -> Baseline:
    """Find the newest readable report: from an artifact of `branch`, else from the latest release.

    Never fails: a report without a comparison is better than no report. Artifacts of forks are left out even where
    their branch has the same name, as anyone could put a report there.

    Args:
        artifact: Name that the workflow uploads the report under.
        branch: Empty for the default branch.
        except_run: Id of the run that asks: a second attempt must not be compared with the first.
    """
    notes: list[str] = []
    ways: tuple[Callable[[], Baseline], ...] = (
        lambda: _from_artifacts(client, artifact, branch, except_run),
        lambda: _from_release(client),
    )
    for find in ways:
        found = _tried(find)
        notes.extend(found.notes)
        if found.reports:
            return replace(found, notes=tuple(notes))
    return Baseline("none", notes=tuple(notes))


def _tried(find: Callable[[], Baseline]) -> Baseline:
    try:
        return find()
    except RefusedError as error:
        hint = "Give the job `permissions: actions: read, contents: read`."
        return Baseline("none", notes=(f"{error.problem.message} {hint}",))
    except ApiError as error:
        return Baseline("none", notes=(error.problem.message,))


class _UnusableError(ExportError):
    """A file that holds no report we can read."""

    def __init__(self, message: str) -> None:
        super().__init__("baseline-unusable", message)


@dataclass(frozen=True)
class _Artifact:
    created: str
    url: str
    size: int
    digest: str
    commit: str
    run: int


def _from_artifacts(client: Client, name: str, branch: str, except_run: int) -> Baseline:
    repository = client.repository
    default, page = client.ask("read the repository", lambda: (repository.default_branch, repository.html_url))
    branch = branch or default
    candidates = [found for found in _artifacts(client, name, branch) if found.run != except_run]
    notes: list[str] = []
    interrupted: Baseline | None = None
    for artifact in candidates[:_MOST_TRIED]:
        try:
            reports = _reports(_downloaded(client, artifact))
        except (ApiError, _UnusableError) as error:
            notes.append(f"The artifact {name} of run {artifact.run} was left out: {error.problem.message}")
            continue
        label = f"{branch}@{artifact.commit[:7]}"
        found = Baseline("artifact", reports, label, artifact.commit, f"{page}/actions/runs/{artifact.run}")
        if _is_whole(reports):
            return replace(found, notes=tuple(notes))
        notes.append(f"Run {artifact.run} was interrupted before it had a verdict for every model.")
        interrupted = interrupted or found
    if interrupted is not None:
        return replace(interrupted, notes=tuple(notes))
    if not candidates:
        notes.append(f"No run on {branch} left an artifact named {name}.")
    return Baseline("none", notes=tuple(notes))


def _is_whole(reports: tuple[Report, ...]) -> bool:
    """Whether every model was reached, in one report or another: the plan of a matrix names those that no job did."""
    models = [model for report in reports for model in report.models]
    reached = {model.name for model in models if model.status is not Status.CANCELLED}
    return all(model.name in reached for model in models)


def _artifacts(client: Client, name: str, branch: str) -> list[_Artifact]:
    """What runs on this repository's own branch uploaded and what is still there, newest first."""
    pages = client.repository.get_artifacts(name=name)

    def request() -> list[_Artifact]:
        listed = [artifact.raw_data for artifact in islice(pages, _MOST_LISTED)]
        return [_artifact(data) for data in listed if not data["expired"] and _is_of(data.get("workflow_run"), branch)]

    found = client.ask(f"list the artifacts named {name}", request)
    return sorted(found, key=lambda artifact: artifact.created, reverse=True)


def _is_of(run: Mapping[str, Any] | None, branch: str) -> bool:
    return (
        run is not None
        and run.get("head_branch") == branch
        and run.get("repository_id") is not None
        and run.get("head_repository_id") == run.get("repository_id")
    )


def _artifact(data: Mapping[str, Any]) -> _Artifact:
    return _Artifact(
        created=data.get("created_at") or "",
        url=data["archive_download_url"],
        size=int(data["size_in_bytes"]),
        digest=data.get("digest") or "",
        commit=data["workflow_run"].get("head_sha") or "",
        run=int(data["workflow_run"].get("id") or 0),
    )


def _downloaded(client: Client, artifact: _Artifact) -> bytes:
    if artifact.size > _LARGEST:
        raise _UnusableError(f"it has {artifact.size:,} bytes, more than the {_LARGEST:,} we read.")
    content = client.download(f"download the artifact of run {artifact.run}", artifact.url, _LARGEST)
    algorithm, _, expected = artifact.digest.partition(":")
    if algorithm == "sha256" and hashlib.sha256(content).hexdigest() != expected:
        raise _UnusableError("what arrived does not have the SHA-256 that GitHub tells.")
    return content


def _reports(archive: bytes) -> tuple[Report, ...]:
    """Every report in a zip, read in memory: nothing is written, so no path in it can lead anywhere."""
    budget = _LARGEST
    reports = []
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = opened.infolist()
            if len(members) > _MOST_MEMBERS:
                raise _UnusableError(f"it has {len(members):,} files, more than the {_MOST_MEMBERS:,} we look through.")
            for member in members:
                if PurePosixPath(member.filename).name != REPORT_NAME:
                    continue
                # The header may lie about the size: what counts is what comes out.
                with opened.open(member) as stream:
                    text = stream.read(budget + 1)
                budget -= len(text)
                if budget < 0:
                    raise _UnusableError(f"it unpacks to more than the {_LARGEST:,} bytes we read.")
                reports.append(_report(text))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _UnusableError(f"it is no zip file we can read ({error}).") from None
    if not reports:
        raise _UnusableError(f"it holds no {REPORT_NAME}.")
    return tuple(reports)


def _report(text: bytes) -> Report:
    try:
        return read_report(text)
    except ReportError as error:
        raise _UnusableError(f"{error}.") from None


def _from_release(client: Client) -> Baseline:
    try:
        tag, page, assets = client.ask("read the latest release", lambda: _latest(client))
    except MissingError:
        return Baseline("none", notes=("There is no release to compare with.",))
    if REPORT_NAME not in assets:
        return Baseline("none", notes=(f"The latest release, {tag}, has no {REPORT_NAME}.",))
    try:
        content = client.download(f"download {REPORT_NAME} of release {tag}", assets[REPORT_NAME], _LARGEST)
        report = _report(content)
    except (ApiError, _UnusableError) as error:
        return Baseline("none", notes=(f"{REPORT_NAME} of release {tag} was left out: {error.problem.message}",))
    return Baseline("release", (report,), f"release {tag}", report.commit, page)


def _latest(client: Client) -> tuple[str, str, dict[str, str]]:
    release = client.repository.get_latest_release().complete()
    return release.tag_name, release.html_url, {asset.name: asset.url for asset in release.assets}
