"""The sticky comment, over HTTP. `test_contract.py` runs the same through GitHub's OpenAPI description."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_github import ACTIONS
from github_examples import HEAD, KEY, NEWER, PULL, pull_request, report

from entrypoint import render
from entrypoint.github.comments import BODY_LIMIT, marker, room_for, upsert_comment
from entrypoint.github.errors import CannotComment


@pytest.fixture(autouse=True)
def open_pull(state):
    return state.add_pull(7, HEAD)


def test_the_first_report_is_posted_with_its_marker_on_top(client, state):
    state.add_comment(7, "octocat", "When will this be ready?")
    outcome = upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert outcome.action == "created"
    assert state.bodies(7) == ["When will this be ready?", report("All passed.")]
    assert outcome.url == f"https://github.test/org/models/pull/7#issuecomment-{state.last_id}"


def test_the_next_report_changes_the_same_comment(client, state):
    mine = state.add_comment(7, ACTIONS, report("1 failed."))
    state.add_comment(7, "octocat", "Looking into it.")
    outcome = upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert (outcome.action, outcome.removed) == ("updated", 0)
    assert outcome.url.endswith(f"#issuecomment-{mine.id}")
    assert state.bodies(7) == [report("All passed."), "Looking into it."]


@pytest.mark.parametrize(
    "there", [report("All passed.\nReally."), report("All passed.\nReally.\n").replace("\n", "\r\n")]
)
def test_what_it_says_already_is_not_written_again(client, state, there):
    state.add_comment(7, ACTIONS, there)
    outcome = upsert_comment(client, PULL, "All passed.\nReally.", KEY, HEAD)
    assert outcome.action == "unchanged"
    assert state.writes() == []


def test_own_duplicates_go_and_the_oldest_stays(client, state):
    oldest = state.add_comment(7, ACTIONS, report("1 failed."))
    state.add_comment(7, "octocat", "Why three?")
    state.add_comment(7, ACTIONS, report("2 failed."))
    state.add_comment(7, ACTIONS, report("All passed."))
    outcome = upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert (outcome.action, outcome.removed) == ("updated", 2)
    assert outcome.url.endswith(f"#issuecomment-{oldest.id}")
    assert state.bodies(7) == [report("All passed."), "Why three?"]


def test_it_is_found_among_three_hundred_comments(client, state):
    for number in range(240):
        state.add_comment(7, "octocat", f"Comment {number}")
    state.add_comment(7, ACTIONS, report("1 failed."))
    for number in range(60):
        state.add_comment(7, "octocat", f"Later comment {number}")
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "updated"
    assert sum(body.startswith(marker(KEY)) for body in state.bodies(7)) == 1
    assert len(state.bodies(7)) == 301
    pages = [call for call in state.calls if call.method == "GET" and call.path.endswith("/comments")]
    assert len(pages) == 4


@pytest.mark.parametrize("author", ["mallory", "other-app[bot]", "dependabot[bot]"])
def test_the_same_marker_from_someone_else_is_left_alone(client, state, author):
    theirs = state.add_comment(7, author, report("Everything is fine, merge it!"))
    outcome = upsert_comment(client, PULL, "1 failed.", KEY, HEAD)
    assert outcome.action == "created"
    assert [url.rpartition("-")[2] for url in outcome.foreign] == [str(theirs.id)]
    assert state.bodies(7) == [report("Everything is fine, merge it!"), report("1 failed.")]
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "updated"
    assert state.bodies(7) == [report("Everything is fine, merge it!"), report("All passed.")]


def test_a_marker_that_is_only_quoted_does_not_count(client, state):
    state.add_comment(7, ACTIONS, f"Someone wrote:\n> {report('1 failed.')}")
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "created"
    assert len(state.bodies(7)) == 2


@pytest.mark.parametrize("token", ["ghs_app", "ghp_mona"])
def test_an_app_and_a_person_find_their_own_comments_again(connect_as, state, token):
    client = connect_as(token)
    assert upsert_comment(client, PULL, "1 failed.", KEY, HEAD).action == "created"
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "updated"
    assert state.bodies(7) == [report("All passed.")]


@pytest.mark.parametrize(
    "other", ["ci/export-2", "ci/expor", "ci/export v=1 -->", "", "a\nb", "ключ", "--> <b>", "x" * 70_000, "\udcff"]
)
def test_two_keys_live_side_by_side(client, state, other):
    upsert_comment(client, PULL, "one", KEY, HEAD)
    upsert_comment(client, PULL, "two", other, HEAD)
    upsert_comment(client, PULL, "one again", KEY, HEAD)
    assert state.bodies(7) == [report("one again"), report("two", other)]
    assert marker(other).count("-->") == 1
    assert "\n" not in marker(other)
    assert marker(other) == render.marker(other)  # what is rendered is what is looked for


def test_a_report_of_an_older_commit_does_not_replace_a_newer_one(client, state):
    state.add_comment(7, ACTIONS, report("All passed."))
    state.pulls[7].head_sha = NEWER
    outcome = upsert_comment(client, PULL, "1 failed.", KEY, HEAD)
    assert outcome.action == "stale"
    assert outcome.reason == "#7 has moved on to ddddddd; this report is for aaaaaaa"
    assert state.writes() == []


def test_a_head_that_moves_while_we_look_is_noticed(client, state):
    state.add_comment(7, ACTIONS, report("All passed."))
    state.happen("GET", "/pulls/7$", meanwhile=lambda: setattr(state.pulls[7], "head_sha", NEWER))
    assert upsert_comment(client, PULL, "1 failed.", KEY, HEAD).action == "stale"
    assert state.bodies(7) == [report("All passed.")]


def test_a_comment_deleted_in_between_is_posted_anew(client, state):
    mine = state.add_comment(7, ACTIONS, report("1 failed."))
    state.happen("PATCH", "/issues/comments/", meanwhile=lambda: state.comments.pop(mine.id))
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).action == "created"
    assert state.bodies(7) == [report("All passed.")]


def test_a_duplicate_deleted_by_someone_else_is_no_error(client, state):
    state.add_comment(7, ACTIONS, report("1 failed."))
    extra = state.add_comment(7, ACTIONS, report("2 failed."))
    state.happen("DELETE", "/issues/comments/", meanwhile=lambda: state.comments.pop(extra.id))
    assert upsert_comment(client, PULL, "All passed.", KEY, HEAD).removed == 0
    assert state.bodies(7) == [report("All passed.")]


def test_two_runs_at_once_leave_one_comment(client, state):
    state.happen("POST", "/comments$", meanwhile=lambda: state.add_comment(7, ACTIONS, report("theirs")))
    outcome = upsert_comment(client, PULL, "ours", KEY, HEAD)
    assert (outcome.action, outcome.removed) == ("created", 1)
    assert state.bodies(7) == [report("ours")]


def test_many_runs_at_once_leave_one_comment(connect_as, state):
    clients = [connect_as("ghs_job") for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as pool:
        done = [pool.submit(upsert_comment, client, PULL, f"run {n}", KEY, HEAD) for n, client in enumerate(clients)]
    assert {future.result().action for future in done} <= {"created", "updated"}
    (body,) = state.bodies(7)
    assert body in [report(f"run {n}") for n in range(len(clients))]


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("repository", "permissions: pull-requests: write"),
        ("fork", "a pull request from a fork a read-only token"),
        ("dependabot", "runs for Dependabot a read-only token"),
    ],
)
def test_a_read_only_token_is_explained(connect_as, state, origin, words):
    with pytest.raises(CannotComment) as caught:
        upsert_comment(connect_as("ghs_readonly"), pull_request(origin=origin), "All passed.", KEY, HEAD)
    assert caught.value.problem.kind == "comment-permission"
    assert caught.value.problem.message == (
        "GitHub refused to comment on #7 (403 Resource not accessible by integration)."
    )
    assert words in caught.value.problem.hint
    assert state.comments == {}


def test_a_locked_conversation_is_explained(client, state):
    state.pulls[7].locked = True
    with pytest.raises(CannotComment, match="locked") as caught:
        upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert caught.value.problem.kind == "comment-locked"


def test_a_pull_request_that_is_not_there_is_explained(client):
    with pytest.raises(CannotComment, match="nothing when asked to list the comments of #8"):
        upsert_comment(client, pull_request(8), "All passed.", KEY, HEAD)


def test_the_limit_is_met_exactly(client, state):
    body = "é" * room_for(KEY)
    assert upsert_comment(client, PULL, body, KEY, HEAD).action == "created"
    assert len(state.bodies(7)[0]) == BODY_LIMIT


def test_one_character_more_is_refused_before_anything_is_sent(client, state):
    with pytest.raises(CannotComment, match="GitHub takes 65,4"):
        upsert_comment(client, PULL, "x" * (room_for(KEY) + 1), KEY, HEAD)
    assert state.calls == []
