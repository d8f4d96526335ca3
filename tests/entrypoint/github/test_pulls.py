"""Which pull request an event is about."""

from __future__ import annotations

import pytest

from entrypoint.github.errors import ApiError
from entrypoint.github.pulls import PullRequest, find_pull_request, origin_of

HEAD = "a" * 40


def event_of(pull_head="org/models", sender="octocat"):
    repository = {"full_name": "org/models"}
    head = {"ref": "feature", "sha": HEAD, "repo": {"full_name": pull_head} if pull_head else None}
    base = {"ref": "main", "sha": "b" * 40, "repo": repository}
    pull = {"number": 7, "html_url": "https://github.test/org/models/pull/7", "head": head, "base": base}
    return {"pull_request": pull, "repository": repository, "sender": {"login": sender}}


def run_of(sha=HEAD, event="pull_request", repository="org/models", branch="feature"):
    source = {"full_name": repository, "owner": {"login": repository.split("/")[0]}} if repository else None
    return {
        "workflow_run": {
            "id": 99,
            "event": event,
            "head_branch": branch,
            "head_sha": sha,
            "head_repository": source,
            "pull_requests": [],
        }
    }


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "pull_request_review"])
def test_an_event_of_a_pull_request_names_it(client, state, event):
    found = find_pull_request(client, event, event_of())
    assert found.pull == PullRequest(
        number=7,
        url="https://github.test/org/models/pull/7",
        head_sha=HEAD,
        head_ref="feature",
        head_repository="org/models",
        base_sha="b" * 40,
        base_ref="main",
        origin="repository",
    )
    assert state.calls == []


@pytest.mark.parametrize(
    ("event", "head", "sender", "origin"),
    [
        ("pull_request", "org/models", "octocat", "repository"),
        ("pull_request", "mallory/models", "mallory", "fork"),
        ("pull_request", None, "mallory", "fork"),
        ("pull_request_review", "mallory/models", "octocat", "fork"),
        ("pull_request", "org/models", "dependabot[bot]", "dependabot"),
        ("push", "org/models", "dependabot[bot]", "dependabot"),
        ("push", "org/models", "octocat", "repository"),
        ("pull_request_target", "mallory/models", "mallory", "repository"),
        ("workflow_run", "mallory/models", "mallory", "repository"),
        ("schedule", "org/models", "octocat", "repository"),
    ],
)
def test_who_gets_a_read_only_token(event, head, sender, origin):
    assert origin_of(event, event_of(head, sender)) == origin


def test_a_pull_request_of_a_fork_says_so(client):
    pull = find_pull_request(client, "pull_request", event_of("mallory/models")).pull
    assert (pull.origin, pull.head_repository) == ("fork", "mallory/models")
    assert find_pull_request(client, "pull_request", event_of(None)).pull.head_repository == ""


@pytest.mark.parametrize("repository", ["org/models", "mallory/models"])
def test_a_run_leads_to_its_one_open_pull_request(client, state, repository):
    state.add_pull(7, HEAD, head_repository=repository)
    state.add_pull(8, HEAD, head_ref="other")
    state.add_pull(9, HEAD, head_repository="someone/models")
    found = find_pull_request(client, "workflow_run", run_of(repository=repository))
    assert (found.pull.number, found.pull.head_sha, found.reason) == (7, HEAD, "")
    assert found.pull.head_repository == repository


def test_a_run_of_another_repository_of_the_same_owner_does_not_count(client, state):
    state.add_pull(7, HEAD, head_repository="org/models-fork")
    found = find_pull_request(client, "workflow_run", run_of(repository="org/models"))
    assert found.pull is None


def test_a_run_that_was_overtaken_says_so(client, state):
    state.add_pull(7, "d" * 40)
    found = find_pull_request(client, "workflow_run", run_of())
    assert found.pull is None
    assert found.reason == "#7 has moved on to ddddddd; run 99 was for aaaaaaa"


def test_a_closed_pull_request_is_not_used(client, state):
    state.add_pull(7, HEAD, state="closed")
    found = find_pull_request(client, "workflow_run", run_of())
    assert (found.pull, found.reason) == (None, "org:feature has no open pull request here any more")


def test_two_pull_requests_of_one_branch_are_not_guessed_between(client, state):
    state.add_pull(7, HEAD)
    state.add_pull(8, HEAD, base_ref="release")
    found = find_pull_request(client, "workflow_run", run_of())
    assert (found.pull, found.reason) == (None, "org:feature is the head of several open pull requests (#8, #7)")


def test_a_fork_that_is_gone_is_explained(client):
    found = find_pull_request(client, "workflow_run", run_of(repository=None))
    assert (found.pull, found.reason) == (None, "the repository that run 99 was for is gone")


@pytest.mark.parametrize("event", ["push", "schedule", "pull_request_target"])
def test_a_run_of_another_event_has_no_pull_request(client, state, event):
    state.add_pull(7, HEAD)
    found = find_pull_request(client, "workflow_run", run_of(event=event))
    assert (found.pull, found.reason) == (None, f"run 99 was started by {event}, not by a pull request")
    assert state.calls == []


def test_a_comment_on_a_pull_request_leads_to_it(client, state):
    state.add_pull(7, HEAD, head_repository=None)
    found = find_pull_request(client, "issue_comment", {"issue": {"number": 7, "pull_request": {}}})
    assert (found.pull.number, found.pull.head_sha, found.pull.head_repository) == (7, HEAD, "")


def test_a_comment_on_an_issue_does_not(client):
    found = find_pull_request(client, "issue_comment", {"issue": {"number": 5}})
    assert found.reason == "the comment is on issue #5, not on a pull request"


@pytest.mark.parametrize(
    "event", ["push", "merge_group", "workflow_dispatch", "repository_dispatch", "schedule", "release", "watch"]
)
def test_events_without_a_pull_request_give_a_reason(client, state, event):
    found = find_pull_request(client, event, {})
    assert found.pull is None
    assert "pull request" in found.reason
    assert state.calls == []


def test_no_answer_is_an_error_not_a_missing_pull_request(client, state):
    state.fail("GET", "/pulls$", 403, "Resource not accessible by integration")
    with pytest.raises(ApiError, match="refused to list the open pull requests of org:feature"):
        find_pull_request(client, "workflow_run", run_of())
