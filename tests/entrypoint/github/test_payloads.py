"""Events as GitHub's own examples have them: no shape of a payload is a surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrypoint.github.pulls import find_pull_request, origin_of

EXAMPLES = Path(__file__).parent / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_file(), reason="needs `npm ci --ignore-scripts` in tests/entrypoint/github"
)


def payloads(event):
    (examples,) = [found for found in json.loads(EXAMPLES.read_text()) if found["name"] == event]
    return examples["examples"]


@pytest.mark.parametrize("event", ["pull_request", "pull_request_review", "pull_request_review_comment"])
def test_a_pull_request_is_read_from_every_example(client, event):
    for payload in payloads(event):
        pull = find_pull_request(client, event, payload).pull
        assert pull.number == payload["pull_request"]["number"]
        assert len(pull.head_sha) == len(pull.base_sha) == 40
        assert pull.origin in ("repository", "fork", "dependabot")


@pytest.mark.parametrize("event", ["push", "merge_group", "workflow_dispatch", "repository_dispatch", "release"])
def test_other_events_have_a_reason(client, event):
    for payload in payloads(event):
        found = find_pull_request(client, event, payload)
        assert found.pull is None
        assert found.reason
        assert origin_of(event, payload) == "repository"


def test_a_run_of_a_pull_request_leads_to_it(client, state):
    for payload in payloads("workflow_run"):
        run = payload["workflow_run"]
        assert run["event"] in find_pull_request(client, "workflow_run", payload).reason
        state.add_pull(7, run["head_sha"], run["head_branch"], head_repository=run["head_repository"]["full_name"])
        payload["workflow_run"] = run | {"event": "pull_request"}
        assert find_pull_request(client, "workflow_run", payload).pull.number == 7


def test_a_comment_is_on_an_issue_or_a_pull_request(client, state):
    for payload in payloads("issue_comment"):
        number = payload["issue"]["number"]
        state.add_pull(number, "a" * 40)
        found = find_pull_request(client, "issue_comment", payload)
        assert (found.pull is not None) == ("pull_request" in payload["issue"])
