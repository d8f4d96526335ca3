"""When the network and GitHub misbehave: the right end state, nothing twice, and a message that helps."""

from __future__ import annotations

import hashlib
import io
import logging
import socket
import threading
import time
import traceback

import pytest
from fake_github import ACTIONS, Answer
from github_examples import CONTENTS, HEAD, KEY, NOTES, PATIENCE, PULL, TAG, contents, report, the_release

from entrypoint.github.artifacts import find_baseline
from entrypoint.github.client import Patience, connect
from entrypoint.github.comments import upsert_comment
from entrypoint.github.errors import ApiError, CannotComment, CannotPublish, UnavailableError
from entrypoint.github.pulls import find_pull_request
from entrypoint.github.releases import AssetFile, publish_assets
from exporter.results import ExportError


@pytest.fixture(autouse=True)
def open_pull(state):
    return state.add_pull(7, HEAD)


def comment(client, text="All passed."):
    return upsert_comment(client, PULL, text, KEY, HEAD)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(("method", "path"), [("GET", "/comments$"), ("GET", "/pulls/7$"), ("POST", "/comments$")])
def test_a_server_error_that_passes_is_waited_out(client, state, waits, method, path, status):
    state.fail(method, path, status, times=2)
    assert comment(client).action == "created"
    assert state.bodies(7) == [report("All passed.")]
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("how", [{"answer": Answer(502, {"message": "Bad Gateway"})}, {"reset": True}])
def test_a_post_whose_answer_was_lost_is_not_repeated(client, state, how):
    state.happen("POST", "/comments$", done=True, **how)
    outcome = comment(client)
    assert outcome.action == "created"
    assert state.bodies(7) == [report("All passed.")]
    assert outcome.url.endswith(f"-{state.last_id}")


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("method", ["PATCH", "DELETE", "GET"])
def test_a_reset_connection_is_tried_again(client, state, method, done):
    state.add_comment(7, ACTIONS, report("1 failed."))
    state.add_comment(7, ACTIONS, report("2 failed."))
    state.happen(method, "/comments", reset=True, done=done)
    assert comment(client).action == "updated"
    assert state.bodies(7) == [report("All passed.")]


@pytest.fixture
def hang():
    """Answers come when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_slow_post_leaves_one_comment(connect_as, state, waits, hang):
    client = connect_as("ghs_job", Patience(timeout=1, attempts=3, between_writes=0))
    state.happen("POST", "/comments$", hang=hang)
    assert comment(client).action == "created"
    assert state.bodies(7) == [report("All passed.")]
    assert waits == [1.0]


def test_a_server_that_never_answers_is_given_up(connect_as, state, hang):
    client = connect_as("ghs_job", Patience(timeout=1, attempts=2, between_writes=0))
    state.happen("GET", "/comments$", hang=hang, times=2)
    with pytest.raises(CannotComment, match=r"gave no answer in time when asked to list the comments of #7"):
        comment(client)


def test_a_page_that_fails_does_not_cost_the_pages_before(client, state):
    for number in range(250):
        state.add_comment(7, "octocat", f"{number}")
    state.add_comment(7, ACTIONS, report("1 failed."))
    state.fail("GET", "/comments$", 502, skip=1)
    assert comment(client).action == "updated"
    assert len([call for call in state.calls if call.path.endswith("/comments")]) == 4


def test_retry_after_is_honoured(client, state, waits):
    for method, path, status in [("GET", "/comments$", 403), ("POST", "/comments$", 403), ("GET", "/pulls/7$", 429)]:
        words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        state.fail(method, path, status, words, headers={"Retry-After": "7"})
    assert comment(client).action == "created"
    assert waits == [7.0, 7.0, 7.0]
    assert state.bodies(7) == [report("All passed.")]


def test_a_secondary_limit_that_names_no_time_gets_a_minute_then_two(client, state, waits):
    state.fail("POST", "/comments$", 403, "You have exceeded a secondary rate limit.", times=2)
    assert comment(client).action == "created"
    assert waits == [60.0, 120.0]


def test_the_primary_limit_is_waited_for_when_it_ends_soon(client, state, waits):
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
    state.fail("GET", "/comments$", 403, "API rate limit exceeded for installation.", headers=headers)
    assert comment(client).action == "created"
    assert 25 < waits[0] < 35


def test_a_limit_beyond_our_patience_is_an_error_that_says_how_long(client, state, waits):
    state.fail("POST", "/comments$", 429, "Too many requests", headers={"Retry-After": "3600"}, times=9)
    with pytest.raises(CannotComment) as caught:
        comment(client)
    assert caught.value.problem.kind == "github-rate-limit"
    assert "asks to wait 3600 s" in caught.value.problem.message
    assert "later" in caught.value.problem.hint
    assert waits == []


def test_an_outage_ends_after_a_known_number_of_attempts(client, state, waits):
    state.fail("POST", "/comments$", 500, times=99)
    with pytest.raises(CannotComment) as caught:
        comment(client)
    assert caught.value.problem.kind == "github-unavailable"
    assert "GitHub failed when asked to comment on #7 (500 Server Error)." in caught.value.problem.message
    assert "githubstatus.com" in caught.value.problem.hint
    assert [call.status for call in state.writes()] == [500] * PATIENCE.attempts
    assert sum(waits) < 20


def test_a_token_that_is_not_accepted_is_explained(connect_as):
    with pytest.raises(CannotComment, match=r"401 Bad credentials.*revoked or expired"):
        comment(connect_as("ghs_unknown"))


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_nobody_listening_is_explained(waits):
    address = f"127.0.0.1:{closed_port()}"
    words = f"The connection to {address} broke when asked to list the comments"
    with (
        connect("ghs_job", "org/models", f"http://{address}", PATIENCE, waits.append) as client,
        pytest.raises(CannotComment, match=words),
    ):
        comment(client)
    assert len(waits) == PATIENCE.attempts - 1


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"{ half a", b"[1, 2]", b'"text"', b""])
def test_an_answer_of_something_else_is_explained(client, state, body):
    state.happen("GET", "/pulls$", answer=Answer(200, raw=body))
    run = {"id": 1, "event": "pull_request", "head_branch": "feature", "head_sha": HEAD}
    run["head_repository"] = {"full_name": "org/models", "owner": {"login": "org"}}
    if body:
        with pytest.raises(ApiError, match="something that is not GitHub's API"):
            find_pull_request(client, "workflow_run", {"workflow_run": run})
    else:
        assert find_pull_request(client, "workflow_run", {"workflow_run": run}).pull is None


def test_a_server_that_wants_another_address_is_explained(client, state):
    moved = Answer(301, headers={"Location": "https://ghes.corp/api/v3/repos/org/models/issues/7/comments"})
    state.happen("GET", "/comments$", answer=moved)
    with pytest.raises(CannotComment, match=r"redirected from http protocol to https.*Check GITHUB_API_URL"):
        comment(client)


def test_redirects_in_a_circle_end(client, fake, state):
    state.happen("GET", "/circle$", answer=Answer(302, headers={"Location": f"{fake.url}/circle"}), times=99)
    with pytest.raises(ApiError, match="redirected more than 5 times"):
        client.download("download it", f"{fake.url}/circle", 100)
    assert len(state.calls) == 5


def test_a_certificate_that_is_not_trusted_is_explained(fake, waits):
    # The fake speaks no TLS at all, which requests reports in the same way.
    address = fake.url.replace("http://", "https://")
    with (
        connect("ghs_job", "org/models", address, PATIENCE, waits.append) as client,
        pytest.raises(CannotComment, match=r"was not trusted when asked.*REQUESTS_CA_BUNDLE"),
    ):
        comment(client)
    assert waits == []


def test_a_next_page_on_another_host_is_not_followed(client, state):
    one = {"id": 1, "body": "Hi", "html_url": "https://github.test", "user": {"login": "octocat"}}
    elsewhere = Answer(200, [one], {"Link": '<http://evil.test/repos?page=2>; rel="next"'})
    state.happen("GET", "/comments$", answer=elsewhere)
    with pytest.raises(CannotComment, match="something that is not GitHub's API"):
        comment(client)


def test_an_answer_cut_short_is_asked_for_again(client, state):
    cut = Answer(200, raw=b"[]", headers={"Content-Length": "999", "Connection": "close"})
    state.happen("GET", "/comments$", answer=cut)
    assert comment(client).action == "created"


# The token ----------------------------------------------------------------------------------------------------------

SECRET = "ghs_job"


def test_the_token_is_in_no_text_we_make(client, state, caplog):
    caplog.set_level(logging.DEBUG)
    assert SECRET not in repr(client)
    assert SECRET not in str(vars(client.patience))
    state.add_artifact("export-report", b"no zip")
    find_baseline(client, "export-report")
    state.fail("GET", "/comments$", 403, f"Your token {SECRET} may not do this")
    texts = []
    for fail in (
        lambda: comment(client),
        lambda: (state.fail("POST", "/comments$", 500, f"echo {SECRET}", times=9), comment(client)),
        lambda: (state.happen("GET", "/pulls/7$", reset=True, times=9), comment(client)),
    ):
        with pytest.raises(CannotComment) as caught:
            fail()
        texts += [str(caught.value), repr(caught.value), caught.value.problem.model_dump_json()]
        texts += traceback.format_exception(caught.value)
    assert SECRET not in "".join(texts)
    assert "***" in "".join(texts)
    assert caplog.text
    assert SECRET not in caplog.text


def test_the_store_behind_a_redirect_does_not_get_the_token(client, fake, state):
    assert fake.strict_store
    artifact = state.add_artifact("any", b"content")
    url = f"{fake.api_url}/repos/org/models/actions/artifacts/{artifact.id}/zip"
    assert client.download("download it", url, 100) == b"content"


@pytest.mark.parametrize("where", ["http://evil.test/x", "https://127.0.0.1/x", "http://127.0.0.1.evil.test/x"])
def test_no_other_host_gets_the_token(client, where):
    with pytest.raises(ApiError, match="the token was not sent there"):
        client.download("download it", where, 100)


@pytest.mark.parametrize(
    ("api", "url", "fine"),
    [
        ("https://api.github.com", "https://uploads.github.com/x", True),
        ("https://api.github.com", "https://github.com/x", True),
        ("https://api.github.com", "https://notgithub.com/x", False),
        ("https://api.github.com", "http://uploads.github.com/x", False),
        ("https://api.octo.ghe.com", "https://uploads.octo.ghe.com/x", True),
        ("https://api.octo.ghe.com", "https://uploads.other.ghe.com/x", False),
        ("https://ghes.corp/api/v3", "https://ghes.corp/api/uploads/x", True),
    ],
)
def test_which_hosts_are_of_the_same_site(api, url, fine):
    with connect("ghs_job", "org/models", api) as client:
        if fine:
            client._check_host(url)
        else:
            with pytest.raises(ApiError):
                client._check_host(url)


def test_a_netrc_does_not_replace_the_token(client, state, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    artifact = state.add_artifact("any", b"content")
    url = f"{client._api_url}/repos/org/models/actions/artifacts/{artifact.id}/zip"
    assert client.download("download it", url, 100) == b"content"
    assert comment(client).action == "created"


@pytest.mark.parametrize(
    ("token", "repository", "api", "kind"),
    [
        ("", "org/models", "https://api.github.com", "github-token"),
        ("t", "models", "https://api.github.com", "github-repository"),
        ("t", "org/models/x", "https://api.github.com", "github-repository"),
        ("t", "org/models", "api.github.com", "github-api-url"),
        ("t", "org/models", "ftp://api.github.com", "github-api-url"),
        ("t", "org/models", "https://", "github-api-url"),
    ],
)
def test_a_connection_that_can_not_be_is_refused(token, repository, api, kind):
    with pytest.raises(ExportError) as caught:
        connect(token, repository, api)
    assert caught.value.problem.kind == kind


# Proxies ------------------------------------------------------------------------------------------------------------


def test_a_proxy_is_used(fake, state, waits, monkeypatch):
    # A proxy gets the whole URL; the fake answers whatever host that names.
    monkeypatch.setenv("http_proxy", fake.url)
    monkeypatch.setenv("no_proxy", "")
    fake.public_url = fake.binary_url = "http://api.github.invalid"
    with connect("ghs_job", "org/models", "http://api.github.invalid", PATIENCE, waits.append) as client:
        assert comment(client).action == "created"
    assert state.bodies(7) == [report("All passed.")]


def test_a_proxy_that_is_down_is_named(monkeypatch, waits):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with (
        connect("ghs_job", "org/models", "http://api.github.invalid", PATIENCE, waits.append) as client,
        pytest.raises(CannotComment, match=r"The proxy in front of api\.github\.invalid gave no connection"),
    ):
        comment(client)


# Uploads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    "how", [{"answer": Answer(502, {"message": "Bad Gateway"})}, {"answer": Answer(500)}, {"reset": True}]
)
@pytest.mark.parametrize("path", ["/releases$", "/assets$"])
def test_an_upload_that_fails_once_ends_whole(client, state, files, path, how, done):
    state.happen("POST", path, done=done, **how)
    published = publish_assets(client, TAG, files, NOTES)
    assert not published.draft
    assert contents(the_release(state)) == CONTENTS
    assert len(the_release(state).assets) == 3
    drafts = [call for call in state.calls if call.method == "POST" and call.path.endswith("/releases")]
    assert len(drafts) == (1 if done or path != "/releases$" else 2)


def test_a_502_that_leaves_a_starter_behind_ends_whole(client, state, files):
    def leave_a_starter():
        state.add_asset(the_release(state), "bert-onnx.zip", b"", state="starter", digest=None)

    state.fail("POST", "/assets$", 502, meanwhile=leave_a_starter)
    publish_assets(client, TAG, files, NOTES)
    assert contents(the_release(state)) == CONTENTS
    assert len(the_release(state).assets) == 3


def test_a_name_that_someone_takes_meanwhile_is_taken_back(client, state, files):
    state.happen(
        "POST", "/assets$", meanwhile=lambda: state.add_asset(the_release(state), "bert-onnx.zip", b"something else")
    )
    publish_assets(client, TAG, files, NOTES)
    assert contents(the_release(state)) == CONTENTS


def test_an_upload_that_arrives_damaged_is_done_again(client, state, files):
    def flip():
        for asset in the_release(state).assets.values():
            asset.content = asset.content[:-1]
            asset.digest = f"sha256:{hashlib.sha256(asset.content).hexdigest()}"

    # The listing after the upload shows what is stored: here it is not what was acknowledged.
    state.happen("GET", "/assets$", skip=1, meanwhile=flip)
    with pytest.raises(CannotPublish, match="not what was sent"):
        publish_assets(client, TAG, files, NOTES)
    assert the_release(state).draft
    published = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in published.assets][:2] == ["replaced", "replaced"]
    assert contents(the_release(state)) == CONTENTS


def test_an_upload_that_is_throttled_waits(client, state, files, waits):
    state.fail("POST", "/assets$", 403, "You have exceeded a secondary rate limit.", headers={"Retry-After": "9"})
    publish_assets(client, TAG, files, NOTES)
    assert waits == [9.0]
    assert contents(the_release(state)) == CONTENTS


def test_an_upload_that_never_works_leaves_a_draft_and_says_so(client, state, files):
    state.fail("POST", "/assets$", 502, skip=1, times=99)
    with pytest.raises(CannotPublish) as caught:
        publish_assets(client, TAG, files, NOTES)
    message = caught.value.problem.message
    assert message.startswith("GitHub failed when asked to upload bert-torchscript.zip to release v1.2.0 (502")
    assert message.endswith("The draft of release v1.2.0 has 1 of 2 files; run the job again to go on from there.")
    assert the_release(state).draft
    assert len([call for call in state.calls if call.status == 502]) == PATIENCE.attempts


def test_a_release_that_can_not_be_made_is_explained(client, state, files):
    fault = state.fail("POST", "/releases$", 500, "Oops", times=99)
    fault.answer.data["errors"] = ["the disk is full", {"field": "tag_name", "code": "custom"}]
    with pytest.raises(CannotPublish) as caught:
        publish_assets(client, TAG, files, NOTES)
    assert caught.value.problem.message == (
        "GitHub failed when asked to make a draft of release v1.2.0 (500 Oops; the disk is full; tag_name custom)."
    )


def test_publishing_that_fails_leaves_a_draft_that_the_next_run_publishes(client, state, files):
    state.fail("PATCH", "/releases/", 500, times=99)
    with pytest.raises(CannotPublish, match="has 2 of 2 files"):
        publish_assets(client, TAG, files, NOTES)
    state.faults.clear()
    assert publish_assets(client, TAG, files, NOTES).draft is False
    assert contents(the_release(state)) == CONTENTS


def test_uploads_are_paced(connect_as, state, files, waits):
    client = connect_as("ghs_job", Patience(timeout=5, between_writes=0.001))
    publish_assets(client, TAG, files, NOTES)
    assert waits == [0.001] * 3


def test_an_upload_has_a_timeout(connect_as, fake, state, hang):
    client = connect_as("ghs_job", Patience(timeout=1, upload_timeout=1, between_writes=0))
    state.happen("POST", "/x$", hang=hang)
    with pytest.raises(UnavailableError, match="gave no answer in time"):
        client.upload("upload it", f"{fake.url}/x", io.BytesIO(b"content"), dict)


def test_an_upload_answered_by_something_else_is_explained(client, state, files):
    state.happen("POST", "/assets$", answer=Answer(201, {"well": "done"}))
    with pytest.raises(CannotPublish, match="something that is not GitHub's API"):
        publish_assets(client, TAG, files, NOTES)


def test_an_upload_acknowledged_with_other_bytes_is_done_again(client, state, files):
    told = {"id": 1, "name": "bert-onnx.zip", "state": "uploaded", "size": 12, "browser_download_url": ""}
    told["digest"] = f"sha256:{hashlib.sha256(b'other bytes').hexdigest()}"
    state.happen("POST", "/assets$", answer=Answer(201, told))
    publish_assets(client, TAG, files, NOTES)
    assert contents(the_release(state)) == CONTENTS


def test_an_asset_that_vanishes_is_noticed_before_publishing(client, state, files):
    state.happen("GET", "/assets$", skip=1, meanwhile=lambda: the_release(state).assets.clear())
    with pytest.raises(CannotPublish, match="GitHub does not list it") as caught:
        publish_assets(client, TAG, files, NOTES)
    assert "publish from one job" in caught.value.problem.hint
    assert the_release(state).draft


def test_a_file_is_streamed_not_loaded(client, state, tmp_path, monkeypatch):
    large = tmp_path / "large.bin"
    large.write_bytes(b"0123456789abcdef" * (1 << 18))  # 4 MiB
    reads = []
    opened = type(large).open

    def watch(path, *args, **kwargs):
        stream = opened(path, *args, **kwargs)
        if path == large:
            raw = stream.read
            stream = _Watched(stream, lambda size=-1: (reads.append(size), raw(size))[1])
        return stream

    monkeypatch.setattr(type(large), "open", watch)
    publish_assets(client, TAG, [AssetFile(large, "large.bin")], NOTES)
    assert reads
    assert all(0 < size <= 1 << 20 for size in reads)


class _Watched:
    def __init__(self, stream, read):
        self._stream = stream
        self.read = read

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
