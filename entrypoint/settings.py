"""What is asked for: inputs, the runner's variables and command-line options as one frozen record.

The runner passes an input as ``INPUT_`` and its name in upper case, dashes kept. It does not enforce `required`, and an
input that is left empty arrives as empty text; so both are judged here, and every error names the input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from exporter.results import ExportError

__all__ = ["COMMANDS", "INPUTS", "OUTPUTS", "Choice", "InputError", "Settings", "WorkflowRun"]
__all__ += ["from_runner", "variable"]

Choice = Literal["auto", "true", "false"]

COMMANDS = ("run", "plan", "report", "publish")

INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "command": "run",
        "manifest": "export.yml",
        "output-dir": "export",
        "only": "",
        "only-changed": "false",
        "jobs": "1",
        "fail-on": "tolerance",
        "quick": "false",
        "allow-custom-code": "false",
        "allow-remote-code": "false",
        "keep-cache": "true",
        "comment": "auto",
        "comment-key": "",
        "baseline": "export-report",
        "publish": "auto",
        "tag": "",
        "reports": "",
        "shards": "256",
        "hf-token": "",
        "token": "",
    }
)
"""Inputs and their defaults; ``action.yml`` says the same, and puts the job's own token in `token`."""

OUTPUTS = ("passed", "failed", "report", "comment-url", "matrix", "artifacts")

_MOST_JOBS = 256
_MOST_SHARDS = 256  # https://docs.github.com/en/actions/reference/limits
_TRUE = ("true", "True", "TRUE")  # what YAML 1.2 calls true, as actions/toolkit reads it
_FALSE = ("false", "False", "FALSE")


class InputError(ExportError):
    """Inputs that can't be used; the message names each, and says what to write."""

    def __init__(self, *problems: str) -> None:
        super().__init__("input", "\n".join(problems))


@dataclass(frozen=True)
class WorkflowRun:
    """The run of a workflow that we are a step of; all empty outside of GitHub Actions.

    Attributes:
        repository: "owner/name".
        event: Name of what started the workflow; `payload` is its content.
        commit: ``GITHUB_SHA``: for a pull request the merge of its head into its base.
        number: What people call the run.
        workspace: The checkout.
        output_file: Where outputs go; None outside of a step. `summary_file` likewise.
        debug: Whether somebody asked for a verbose log.
    """

    repository: str = ""
    server_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    event: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    commit: str = ""
    ref: str = ""
    ref_type: str = ""
    id: int = 0
    number: str = ""
    workflow: str = ""
    job: str = ""
    workspace: Path = Path()
    output_file: Path | None = None
    summary_file: Path | None = None
    debug: bool = False

    @property
    def url(self) -> str:
        """Page of the run; empty outside of one."""
        return f"{self.server_url}/{self.repository}/actions/runs/{self.id}" if self.id else ""

    @property
    def tag(self) -> str:
        """The tag that was pushed or released; empty when the run is about something else."""
        if self.event == "release":
            gone = self.payload.get("action") in ("deleted", "unpublished")
            return "" if gone else str(self.payload.get("release", {}).get("tag_name", ""))
        return self.ref.removeprefix("refs/tags/") if self.ref_type == "tag" and self.event != "delete" else ""


@dataclass(frozen=True)
class Settings:
    """What to do, and with what. Defaults are those of the inputs.

    Attributes:
        command: One of `COMMANDS`.
        manifests: Relative to the workspace, as all paths here.
        only: Names of models; all when empty.
        only_changed: Whether a pull request exports only what it changes.
        fail_on: What makes the exit code 1: ``tolerance``, ``error`` or ``never``.
        keep_cache: Whether what was fetched from the Hub stays when its model is done.
        comment: Whether to comment on the pull request; `auto` and `true` differ in what a refusal means.
        comment_key: Tells this use of the action from others on the same pull request.
        baseline: Name of the artifact with the report to compare with.
        publish: Whether a tag or release gets the artifacts.
        tag: What `publish` publishes to, where the event doesn't say.
        reports: Files and folders with reports to merge; the output directory when empty.
        shards: Jobs of the matrix, at most.
        token: For GitHub. `hf_token` is for the Hub.
    """

    command: str = "run"
    manifests: tuple[Path, ...] = (Path("export.yml"),)
    output_directory: Path = Path("export")
    only: tuple[str, ...] = ()
    only_changed: bool = False
    jobs: int = 1
    fail_on: str = "tolerance"
    quick: bool = False
    allow_custom_code: bool = False
    allow_remote_code: bool = False
    keep_cache: bool = True
    comment: Choice = "auto"
    comment_key: str = ""
    baseline: str = "export-report"
    publish: Choice = "auto"
    tag: str = ""
    reports: tuple[Path, ...] = ()
    shards: int = _MOST_SHARDS
    hf_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    run: WorkflowRun = field(default_factory=WorkflowRun)

    @property
    def key(self) -> str:
        """`comment_key`, by default the workflow and the job: two uses then don't overwrite each other's comment."""
        return self.comment_key or "/".join(filter(None, (self.run.workflow, self.run.job))) or "export"


def variable(name: str) -> str:
    """The environment variable in which the runner passes the input `name`."""
    return f"INPUT_{name.replace(' ', '_').upper()}"


def from_runner(environment: Mapping[str, str]) -> Settings:
    """Settings of a step, from the environment that the runner gives it.

    Raises:
        InputError: Everything that is wrong with the inputs, at once.
    """
    run = _workflow_run(environment)
    temporary = environment.get("RUNNER_TEMP", "")
    inputs = _Inputs(environment, (run.workspace, *([Path(temporary)] if temporary else [])))
    settings = Settings(
        command=inputs.choice("command", *COMMANDS),
        manifests=inputs.paths("manifest"),
        output_directory=inputs.path("output-dir"),
        only=inputs.lines("only"),
        only_changed=inputs.flag("only-changed"),
        jobs=inputs.number("jobs", _MOST_JOBS),
        fail_on=inputs.choice("fail-on", "tolerance", "error", "never"),
        quick=inputs.flag("quick"),
        allow_custom_code=inputs.flag("allow-custom-code"),
        allow_remote_code=inputs.flag("allow-remote-code"),
        keep_cache=inputs.flag("keep-cache"),
        comment=inputs.maybe("comment"),
        comment_key=inputs.key("comment-key"),
        baseline=inputs.text("baseline"),
        publish=inputs.maybe("publish"),
        tag=inputs.tag("tag"),
        reports=inputs.paths("reports"),
        shards=inputs.number("shards", _MOST_SHARDS),
        # A token for the whole job is what people have already.
        hf_token=inputs.text("hf-token") or environment.get("HF_TOKEN", "").strip(),
        token=inputs.text("token"),
        run=run,
    )
    inputs.raise_problems()
    return settings


class _Inputs:
    """Reads inputs, and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str], roots: tuple[Path, ...]) -> None:
        self._environment = environment
        self._roots = tuple(root.resolve() for root in roots)
        self._problems: list[str] = []

    def raise_problems(self) -> None:
        if self._problems:
            raise InputError(*self._problems)

    def text(self, name: str) -> str:
        return self._environment.get(variable(name), "").strip() or INPUTS[name]

    def lines(self, name: str) -> tuple[str, ...]:
        written = (line.strip() for line in self.text(name).splitlines())
        return tuple(dict.fromkeys(line for line in written if line))

    def choice(self, name: str, *allowed: str) -> str:
        value = self.text(name)
        if value in allowed:
            return value
        near = get_close_matches(value, allowed, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return self._wrong(name, f"{_quoted(value)} is not one of {', '.join(f'`{word}`' for word in allowed)}{hint}")

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in (*_TRUE, *_FALSE):
            self._wrong(name, f"{_quoted(value)} is neither `true` nor `false`")
        return value in _TRUE

    def maybe(self, name: str) -> Choice:
        value = self.text(name)
        spelt = value.lower() if value in (*_TRUE, *_FALSE) else self.choice(name, "auto", "true", "false")
        return cast(Choice, spelt)

    def number(self, name: str, most: int) -> int:
        value = self.text(name)
        if value.isascii() and value.isdigit() and len(value) < 6 and 1 <= int(value) <= most:
            return int(value)
        self._wrong(name, f"{_quoted(value)} is no whole number from 1 to {most}")
        return 1

    def key(self, name: str) -> str:
        value = self.text(name)
        if len(value) > 100 or not value.isprintable():
            self._wrong(name, "expected at most 100 characters on one line, such as `nightly`")
        return value

    def tag(self, name: str) -> str:
        value = self.text(name).removeprefix("refs/tags/")
        # What git-check-ref-format(1) refuses.
        if re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|$)|[/.]$|^[/-]", value):
            self._wrong(name, f"{_quoted(value)} can't be the name of a tag; write it like `v1.2.0`")
        return value

    def path(self, name: str) -> Path:
        value = self.text(name)
        if len(value.splitlines()) == 1:
            return self._inside(name, value)
        self._wrong(name, "expected one path, on one line")
        return Path()

    def paths(self, name: str) -> tuple[Path, ...]:
        return tuple(self._inside(name, line) for line in self.lines(name))

    def _inside(self, name: str, value: str) -> Path:
        """A path relative to the workspace, where it is in there; else absolute, in the runner's temporary folder.

        The paths of the host mean nothing in a container, and what is outside of both is not for a job to touch.
        """
        if "\0" in value or len(value) > 4096:
            self._wrong(name, "expected a path, got unprintable text")
            return Path()
        workspace = self._roots[0]
        path = (workspace / value).resolve()
        if path.is_relative_to(workspace):
            return path.relative_to(workspace)
        if not any(path.is_relative_to(root) for root in self._roots):
            self._wrong(name, f"{_quoted(value)} is outside the workspace; write a path relative to it, like `export`")
        return path

    def _wrong(self, name: str, message: str) -> str:
        self._problems.append(f"The input `{name}`: {message}.")
        return INPUTS[name]


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")


def _workflow_run(environment: Mapping[str, str]) -> WorkflowRun:
    def value(name: str, default: str = "") -> str:
        return environment.get(f"GITHUB_{name}", "") or default

    output, summary = value("OUTPUT"), value("STEP_SUMMARY")
    number = value("RUN_NUMBER")
    return WorkflowRun(
        repository=value("REPOSITORY"),
        server_url=value("SERVER_URL", WorkflowRun.server_url).rstrip("/"),
        api_url=value("API_URL", WorkflowRun.api_url),
        event=value("EVENT_NAME"),
        payload=_payload(value("EVENT_PATH")),
        commit=value("SHA"),
        ref=value("REF"),
        ref_type=value("REF_TYPE"),
        id=int(value("RUN_ID")) if value("RUN_ID").isdigit() else 0,
        number=f"#{number}" if number else "",
        workflow=value("WORKFLOW"),
        job=value("JOB"),
        workspace=Path(value("WORKSPACE", ".")),
        output_file=Path(output) if output else None,
        summary_file=Path(summary) if summary else None,
        debug=environment.get("RUNNER_DEBUG") == "1",
    )


def _payload(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        payload = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"The event in GITHUB_EVENT_PATH ({path}) can't be read: {error}.") from None
    if not isinstance(payload, dict):
        raise InputError(f"The event in GITHUB_EVENT_PATH ({path}) is no JSON object.")
    return payload
