"""Which pull request an event is about, and what its token may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import github.PullRequest
import github.Repository

from entrypoint.github.client import Client

__all__ = ["Lookup", "Origin", "PullRequest", "find_pull_request", "origin_of"]

Origin = Literal["repository", "fork", "dependabot"]

# These run on the head's merge commit with a token that GitHub makes read-only for forks and Dependabot.
_ON_HEAD = ("pull_request", "pull_request_review", "pull_request_review_comment")
_WITHOUT = {
    "push": "a push has no pull request",
    "merge_group": "a merge queue tests several pull requests at once",
    "workflow_dispatch": "a run started by hand has no pull request",
    "repository_dispatch": "a run started through the API has no pull request",
    "schedule": "a scheduled run has no pull request",
    "release": "a release has no pull request",
    "workflow_call": "a called workflow gets the event of its caller",
}


@dataclass(frozen=True)
class PullRequest:
    """A pull request as the event or the API described it.

    Attributes:
        head_sha: Commit at its head then; `comments.upsert_comment` asks again before it writes.
        head_repository: "owner/name" it comes from; empty when that repository is gone.
        origin: Why the token of a `pull_request` event may be read-only: see `origin_of`.
    """

    number: int
    url: str
    head_sha: str
    head_ref: str
    head_repository: str
    base_sha: str
    base_ref: str
    origin: Origin = "repository"


@dataclass(frozen=True)
class Lookup:
    """A pull request, or the reason why there is none, completing "No pull request: ..."."""

    pull: PullRequest | None
    reason: str = ""


def find_pull_request(client: Client, event: str, payload: Mapping[str, Any]) -> Lookup:
    """Find the one open pull request that a run is about.

    Events that carry a pull request are taken at their word. For `workflow_run` the pull request is found from the run
    itself (``head_repository`` owner and branch), because the run's own list is empty for forks and an artifact could
    claim any number; it counts only if exactly one is open and its head is still the commit of the run.

    Args:
        event: ``GITHUB_EVENT_NAME``.
        payload: Content of ``GITHUB_EVENT_PATH``.

    Raises:
        ApiError: GitHub did not answer.
    """
    if event in (*_ON_HEAD, "pull_request_target"):
        return Lookup(_from_json(payload["pull_request"], origin_of(event, payload)))
    if event == "issue_comment":
        issue = payload["issue"]
        if "pull_request" not in issue:
            return Lookup(None, f"the comment is on issue #{issue['number']}, not on a pull request")
        return Lookup(_by_number(client, int(issue["number"])))
    if event == "workflow_run":
        return _of_run(client, payload["workflow_run"])
    return Lookup(None, _WITHOUT.get(event, f"the event {event} has no pull request"))


def origin_of(event: str, payload: Mapping[str, Any]) -> Origin:
    """Whether GitHub withholds secrets and write permission from this event, and why.

    `fork` and `dependabot` get a read-only ``GITHUB_TOKEN`` and no secrets from `pull_request` and its reviews.
    `pull_request_target` and `workflow_run` run with the base repository's rights.

    https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#workflows-in-forked-repositories
    """
    if event not in (*_ON_HEAD, "push"):
        return "repository"
    if payload.get("sender", {}).get("login") == "dependabot[bot]":
        return "dependabot"
    if event == "push":
        return "repository"
    head = payload["pull_request"]["head"].get("repo") or {}
    return "repository" if head.get("full_name") == payload["repository"]["full_name"] else "fork"


def _from_json(pull: Mapping[str, Any], origin: Origin) -> PullRequest:
    return PullRequest(
        number=int(pull["number"]),
        url=pull["html_url"],
        head_sha=pull["head"]["sha"],
        head_ref=pull["head"]["ref"],
        head_repository=(pull["head"].get("repo") or {}).get("full_name", ""),
        base_sha=pull["base"]["sha"],
        base_ref=pull["base"]["ref"],
        origin=origin,
    )


def _from_api(pull: github.PullRequest.PullRequest) -> PullRequest:
    # The API gives null for a head repository that was deleted; PyGithub's types don't say so.
    source: github.Repository.Repository | None = pull.head.repo
    return PullRequest(
        number=pull.number,
        url=pull.html_url,
        head_sha=pull.head.sha,
        head_ref=pull.head.ref,
        head_repository=source.full_name if source else "",
        base_sha=pull.base.sha,
        base_ref=pull.base.ref,
    )


def _by_number(client: Client, number: int) -> PullRequest:
    return client.ask(f"read pull request #{number}", lambda: _from_api(client.repository.get_pull(number)))


def _of_run(client: Client, run: Mapping[str, Any]) -> Lookup:
    if run["event"] not in _ON_HEAD:
        return Lookup(None, f"run {run['id']} was started by {run['event']}, not by a pull request")
    source = run.get("head_repository")
    if not source:
        return Lookup(None, f"the repository that run {run['id']} was for is gone")
    branch, sha = run["head_branch"], run["head_sha"]
    head = f"{source['owner']['login']}:{branch}"
    pages = client.repository.get_pulls(state="open", head=head)
    found = client.ask(f"list the open pull requests of {head}", lambda: [_from_api(pull) for pull in pages])
    # The filter is by owner and branch; an owner can hold a second repository of the network with the same branch.
    open_now = [pull for pull in found if pull.head_repository == source["full_name"] and pull.head_ref == branch]
    if not open_now:
        return Lookup(None, f"{head} has no open pull request here any more")
    if len(open_now) > 1:
        numbers = ", ".join(f"#{pull.number}" for pull in open_now)
        return Lookup(None, f"{head} is the head of several open pull requests ({numbers})")
    pull = open_now[0]
    if pull.head_sha != sha:
        return Lookup(None, f"#{pull.number} has moved on to {pull.head_sha[:7]}; run {run['id']} was for {sha[:7]}")
    return Lookup(pull)
