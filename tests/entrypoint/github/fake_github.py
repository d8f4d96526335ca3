"""A GitHub to test against: it keeps state, speaks HTTP, and fails on demand.

Every rule that depends on state names the page that documents it. `test_contract.py` holds the shapes of requests and
answers against GitHub's OpenAPI description. As a program it serves until it is stopped, with its state as JSON at
``/_state``: ``python fake_github.py --port 8080``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import fake_shapes as shapes

__all__ = ["Answer", "Call", "FakeGitHub", "Fault", "State", "Token"]

ACTIONS = "github-actions[bot]"
BODY_LIMIT = 65_536


@dataclass(frozen=True)
class Token:
    """Who a token is, and what it may write. Everything may be read, except what `unreadable` names."""

    login: str
    writes: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        return "Bot" if self.login.endswith("[bot]") else "User"


@dataclass
class Pull:
    number: int
    head_sha: str
    head_ref: str
    head_repository: str | None
    base_ref: str = "main"
    base_sha: str = "b" * 40
    state: str = "open"
    locked: bool = False
    author: str = "octocat"


@dataclass
class Comment:
    id: int
    issue: int
    author: str
    body: str


@dataclass
class Asset:
    id: int
    name: str
    content: bytes
    state: str = "uploaded"
    digest: str | None = None
    content_type: str = "application/octet-stream"


@dataclass
class Release:
    id: int
    tag: str
    name: str = ""
    body: str = ""
    draft: bool = False
    prerelease: bool = False
    immutable: bool = False
    target: str = "main"
    assets: dict[int, Asset] = field(default_factory=dict)


@dataclass
class Artifact:
    id: int
    name: str
    content: bytes
    branch: str = "main"
    commit: str = "c" * 40
    run: int = 1
    head_repository: int = 1
    expired: bool = False
    size: int | None = None  # what the listing says, where that is not the truth
    digest: str | None = None


@dataclass(frozen=True)
class Call:
    """A request that came in, and what it was answered."""

    method: str
    path: str
    login: str
    status: int


@dataclass
class Answer:
    status: int
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Fault:
    """Something that goes wrong with the next `times` requests that match, after the first `skip`.

    Attributes:
        path: Regular expression, searched for in the path.
        answer: Sent instead of the true answer; None sends the true one.
        done: Whether the request has its effect all the same.
        meanwhile: Something that happens just before the request is looked at.
        reset: Break the connection instead of answering.
        hang: Answer only when this is set; half a minute at most.
    """

    method: str
    path: str
    answer: Answer | None = None
    times: int = 1
    skip: int = 0
    done: bool = False
    meanwhile: Callable[[], object] | None = None
    reset: bool = False
    hang: threading.Event | None = None


class Refusal(Exception):
    def __init__(self, status: int, message: str, /, **more: Any) -> None:
        self.answer = Answer(status, {"message": message, "documentation_url": "https://docs.github.com/rest", **more})


@dataclass
class State:
    """All there is. Tests set it up and look at it directly."""

    repository: str = "org/models"
    default_branch: str = "main"
    tokens: dict[str, Token] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    releases: dict[int, Release] = field(default_factory=dict)
    artifacts: dict[int, Artifact] = field(default_factory=dict)
    spent_tags: set[str] = field(default_factory=set)
    immutable_releases: bool = False  # the setting of the repository
    knows_digests: bool = True
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    last_id: int = 0

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def add_pull(self, number: int, head_sha: str, head_ref: str = "feature", **facts: Any) -> Pull:
        facts.setdefault("head_repository", self.repository)
        self.pulls[number] = Pull(number, head_sha, head_ref, **facts)
        return self.pulls[number]

    def add_comment(self, issue: int, author: str, body: str) -> Comment:
        comment = Comment(self.next_id(), issue, author, body)
        self.comments[comment.id] = comment
        return comment

    def add_release(self, tag: str, **facts: Any) -> Release:
        release = Release(self.next_id(), tag, **facts)
        self.releases[release.id] = release
        return release

    def add_asset(self, release: Release, name: str, content: bytes, **facts: Any) -> Asset:
        facts.setdefault("digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
        asset = Asset(self.next_id(), name, content, **facts)
        release.assets[asset.id] = asset
        return asset

    def add_artifact(self, name: str, content: bytes, **facts: Any) -> Artifact:
        facts.setdefault("digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
        artifact = Artifact(self.next_id(), name, content, **facts)
        self.artifacts[artifact.id] = artifact
        return artifact

    def bodies(self, issue: int) -> list[str]:
        return [comment.body for comment in self.comments.values() if comment.issue == issue]

    def writes(self) -> list[Call]:
        """The requests that would change something, GraphQL's questions left out."""
        return [call for call in self.calls if call.method != "GET" and not call.path.endswith("/graphql")]

    def fail(self, method: str, path: str, status: int, message: str = "", **more: Any) -> Fault:
        """Answer the next matching request with an error; `more` is for `Fault`, and `headers`."""
        answer = Refusal(status, message or "Server Error").answer
        answer.headers.update(more.pop("headers", {}))
        return self.happen(method, path, answer=answer, **more)

    def happen(self, method: str, path: str, **facts: Any) -> Fault:
        fault = Fault(method, path, **facts)
        self.faults.append(fault)
        return fault


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    token: Token

    @property
    def json(self) -> dict[str, Any]:
        try:
            data = json.loads(self.body)
        except ValueError:
            raise Refusal(400, "Problems parsing JSON") from None
        return data if isinstance(data, dict) else {}


class FakeGitHub:
    """The server. Use as a context manager.

    Attributes:
        state: Replace it with a new `State` to start over.
        url: Where it listens.
        public_url: What its answers say where it is; set it to the proxy's address when one is in between.
        binary_url: The same for zip files, which not every proxy lets through unharmed.
        prefix: Path of the REST API: empty as on api.github.com, ``/api/v3`` as on Enterprise Server.
        strict_store: Whether the file store refuses requests that bring a token along.
        crashes: Errors in the fake itself, which no test may cause.
    """

    def __init__(self, prefix: str = "", host: str = "127.0.0.1", port: int = 0) -> None:
        self.state = State()
        self.prefix = prefix
        self.strict_store = True
        self.crashes: list[str] = []
        self._server = _Server((host, port), self)
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self.public_url = self.binary_url = self.url
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FakeGitHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def api_url(self) -> str:
        """What ``GITHUB_API_URL`` would be."""
        return f"{self.public_url}{self.prefix}"

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer | None:
        """Answer one request; None breaks the connection."""
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path.startswith("/_"):
            return self._aside(url.path, headers)
        with self._lock:
            fault = self._fault(method, url.path)
        if fault is not None and fault.meanwhile is not None:
            fault.meanwhile()
        answer, login = Answer(500), ""
        if fault is None or fault.done or (fault.answer is None and not fault.reset):
            with self._lock:
                answer, login = self._true_answer(method, url.path, query, headers, body)
        if fault is not None:
            if fault.hang is not None:
                fault.hang.wait(30)
            answer = fault.answer or answer
        status = 0 if fault is not None and fault.reset else answer.status
        self.state.calls.append(Call(method, url.path, login, status))
        return answer if status else None

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.state.faults:
            if fault.method == method and re.search(fault.path, path) and fault.times:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _true_answer(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[Answer, str]:
        token = self.state.tokens.get(headers.get("authorization", "").partition(" ")[2])
        if token is None:
            return Answer(401, {"message": "Bad credentials"}), ""
        request = Request(method, path, query, headers, body, token)
        try:
            return self._dispatch(request), token.login
        except Refusal as refusal:
            return refusal.answer, token.login

    def _dispatch(self, request: Request) -> Answer:
        here = rf"{self.prefix}/repos/{re.escape(self.state.repository)}"
        uploads = f"{self._uploads_prefix}/repos/{re.escape(self.state.repository)}"
        graphql = "/api/graphql" if self.prefix else "/graphql"
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("POST", graphql, self._graphql),
            ("GET", here, lambda request: Answer(200, self._base())),
            ("GET", rf"{here}/pulls", self._list_pulls),
            ("GET", rf"{here}/pulls/(\d+)", self._get_pull),
            ("GET", rf"{here}/issues/(\d+)/comments", self._list_comments),
            ("POST", rf"{here}/issues/(\d+)/comments", self._create_comment),
            ("PATCH", rf"{here}/issues/comments/(\d+)", self._edit_comment),
            ("DELETE", rf"{here}/issues/comments/(\d+)", self._delete_comment),
            ("GET", rf"{here}/actions/artifacts", self._list_artifacts),
            ("GET", rf"{here}/actions/artifacts/(\d+)/zip", self._download_artifact),
            ("GET", rf"{here}/releases", self._list_releases),
            ("POST", rf"{here}/releases", self._create_release),
            ("GET", rf"{here}/releases/latest", self._latest_release),
            ("GET", rf"{here}/releases/tags/(.+)", self._release_by_tag),
            ("GET", rf"{here}/releases/(\d+)", lambda request, number: Answer(200, self._told(self._release(number)))),
            ("PATCH", rf"{here}/releases/(\d+)", self._edit_release),
            ("DELETE", rf"{here}/releases/(\d+)", self._delete_release),
            ("GET", rf"{here}/releases/(\d+)/assets", self._list_assets),
            ("POST", rf"{uploads}/releases/(\d+)/assets", self._upload_asset),
            ("GET", rf"{here}/releases/assets/(\d+)", self._get_asset),
            ("DELETE", rf"{here}/releases/assets/(\d+)", self._delete_asset),
        ]
        for method, pattern, handle in routes:
            match = re.fullmatch(pattern, request.path)
            if match and method == request.method:
                return handle(request, *match.groups())
        raise Refusal(404, "Not Found")

    @property
    def _uploads_prefix(self) -> str:
        # api.github.com uploads to a host of its own with the same paths, Enterprise Server to /api/uploads:
        # https://docs.github.com/en/rest/releases/assets#upload-a-release-asset
        return "/api/uploads" if self.prefix else ""

    def _base(self) -> dict[str, Any]:
        state = self.state
        return shapes.repository(self.api_url, state.repository, 1, False, state.default_branch)

    def _user(self, login: str) -> dict[str, Any]:
        return shapes.user(self.api_url, login, "Bot" if login.endswith("[bot]") else "User")

    @staticmethod
    def _may(request: Request, permission: str) -> None:
        # https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
        allowed = request.token.writes if request.method != "GET" else {permission} - request.token.unreadable
        if permission not in allowed:
            whose = "integration" if request.token.kind == "Bot" else "personal access token"
            raise Refusal(403, f"Resource not accessible by {whose}", status="403")

    def _paged(
        self, request: Request, items: list[Any], show: Callable[[Any], dict[str, Any]]
    ) -> tuple[list[Any], dict[str, str]]:
        # https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
        size = min(int(request.query.get("per_page", 30)), 100)
        page = int(request.query.get("page", 1))
        last = max(1, -(-len(items) // size))

        def link(number: int, relation: str) -> str:
            query = urlencode(request.query | {"page": str(number)})
            return f'<{self.public_url}{request.path}?{query}>; rel="{relation}"'

        links = [link(page - 1, "prev"), link(1, "first")] if page > 1 else []
        links += [link(page + 1, "next"), link(last, "last")] if page < last else []
        shown = [show(item) for item in items[(page - 1) * size : page * size]]
        return shown, {"Link": ", ".join(links)} if links else {}

    # GraphQL ---------------------------------------------------------------------------------------------------------

    def _graphql(self, request: Request) -> Answer:
        # `viewer` is whoever the token is, apps included: https://docs.github.com/en/graphql/reference/queries#user
        question = " ".join(str(request.json.get("query", "")).split())
        if question != "query { viewer { login } }":
            return Answer(200, {"errors": [{"message": f"this fake does not know: {question}"}]})
        return Answer(200, {"data": {"viewer": {"login": request.token.login}}})

    # Pull requests and comments --------------------------------------------------------------------------------------

    def _pull_json(self, pull: Pull) -> dict[str, Any]:
        head = None
        if pull.head_repository is not None:
            own = pull.head_repository == self.state.repository
            head = self._base() if own else shapes.repository(self.api_url, pull.head_repository, 2, True, "main")
        return shapes.pull(self.api_url, self._base(), head, vars(pull))

    def _list_pulls(self, request: Request) -> Answer:
        # `state` defaults to open; `head` is user:ref-name: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
        self._may(request, "pull_requests")
        wanted = request.query.get("state", "open")
        head = request.query.get("head")
        found = [
            pull
            for pull in sorted(self.state.pulls.values(), key=lambda pull: -pull.number)
            if wanted in ("all", pull.state)
            and head in (None, f"{(pull.head_repository or pull.author).split('/')[0]}:{pull.head_ref}")
        ]
        return Answer(200, *self._paged(request, found, self._pull_json))

    def _get_pull(self, request: Request, number: str) -> Answer:
        self._may(request, "pull_requests")
        return Answer(200, self._pull_json(self._pull(number)) | shapes.pull_details())

    def _pull(self, number: str) -> Pull:
        pull = self.state.pulls.get(int(number))
        if pull is None:
            raise Refusal(404, "Not Found")
        return pull

    def _comment_json(self, comment: Comment) -> dict[str, Any]:
        author = self._user(comment.author)
        return shapes.comment(self._base(), comment.id, comment.issue, comment.body, author)

    def _list_comments(self, request: Request, issue: str) -> Answer:
        # "ordered by ascending ID": https://docs.github.com/en/rest/issues/comments#list-issue-comments
        self._pull(issue)
        comments = sorted(self.state.comments.values(), key=lambda comment: comment.id)
        found = [comment for comment in comments if comment.issue == int(issue)]
        return Answer(200, *self._paged(request, found, self._comment_json))

    def _text(self, request: Request) -> str:
        # The limit is in what GitHub answers, not in its pages: "body is too long (maximum is 65536 characters)".
        body = str(request.json.get("body") or "")
        if not body or len(body) > BODY_LIMIT:
            why = "body is too long (maximum is 65536 characters)" if body else "body can't be blank"
            error = {"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": why}
            raise Refusal(422, "Validation Failed", errors=[error])
        return body

    def _create_comment(self, request: Request, issue: str) -> Answer:
        # https://docs.github.com/en/rest/issues/comments#create-an-issue-comment
        self._may(request, "pull_requests")
        # https://docs.github.com/en/communities/moderating-comments-and-conversations/locking-conversations
        if self._pull(issue).locked:
            raise Refusal(403, "Unable to create comment because issue is locked.")
        comment = self.state.add_comment(int(issue), request.token.login, self._text(request))
        return Answer(201, self._comment_json(comment))

    def _comment(self, number: str) -> Comment:
        comment = self.state.comments.get(int(number))
        if comment is None:
            raise Refusal(404, "Not Found")
        return comment

    def _edit_comment(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/issues/comments#update-an-issue-comment
        self._may(request, "pull_requests")
        comment = self._comment(number)
        comment.body = self._text(request)
        return Answer(200, self._comment_json(comment))

    def _delete_comment(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/issues/comments#delete-an-issue-comment
        self._may(request, "pull_requests")
        del self.state.comments[self._comment(number).id]
        return Answer(204)

    # Artifacts -------------------------------------------------------------------------------------------------------

    def _list_artifacts(self, request: Request) -> Answer:
        # Of all branches, forks and runs: https://docs.github.com/en/rest/actions/artifacts#list-artifacts-for-a-repository
        self._may(request, "actions")
        artifacts = sorted(self.state.artifacts.values(), key=lambda artifact: -artifact.id)
        found = [artifact for artifact in artifacts if request.query.get("name") in (None, artifact.name)]
        page, headers = self._paged(request, found, self._artifact_json)
        return Answer(200, {"total_count": len(found), "artifacts": page}, headers)

    def _artifact_json(self, artifact: Artifact) -> dict[str, Any]:
        facts = {
            "id": artifact.id,
            "name": artifact.name,
            "size_in_bytes": len(artifact.content) if artifact.size is None else artifact.size,
            "expired": artifact.expired,
            "digest": artifact.digest,
        }
        run = {
            "id": artifact.run,
            "repository_id": 1,
            "head_repository_id": artifact.head_repository,
            "head_branch": artifact.branch,
            "head_sha": artifact.commit,
        }
        home = f"{self.binary_url}{self.prefix}/repos/{self.state.repository}"
        archive = f"{home}/actions/artifacts/{artifact.id}/zip"
        return shapes.artifact(self._base(), facts, run) | {"archive_download_url": archive}

    def _download_artifact(self, request: Request, number: str) -> Answer:
        # A redirect, or 410 once expired: https://docs.github.com/en/rest/actions/artifacts#download-an-artifact
        self._may(request, "actions")
        artifact = self.state.artifacts.get(int(number))
        if artifact is None:
            raise Refusal(404, "Not Found")
        if artifact.expired:
            raise Refusal(410, "Artifact has expired")
        return self._stored(f"artifacts/{number}")

    def _stored(self, path: str) -> Answer:
        # The store is on another host, as localhost is another than 127.0.0.1.
        return Answer(
            302, headers={"Location": f"{self.url.replace('127.0.0.1', 'localhost')}/_store/{path}?sig=s3cr3t"}
        )

    def _aside(self, path: str, headers: dict[str, str]) -> Answer:
        if path == "/_state":
            shown = {name: value for name, value in vars(self.state).items() if name not in ("tokens", "faults")}
            return Answer(200, json.loads(json.dumps(shown, default=_plain)))
        if self.strict_store and "authorization" in headers:
            # A signed URL is the whole authentication; Azure's blob store refuses a second one.
            return Answer(400, raw=b"InvalidAuthenticationInfo")
        kind, number = path.rsplit("/", 2)[1:]
        if kind == "artifacts":
            return Answer(200, raw=self.state.artifacts[int(number)].content)
        found = [
            release.assets[int(number)] for release in self.state.releases.values() if int(number) in release.assets
        ]
        return Answer(200, raw=found[0].content)

    # Releases --------------------------------------------------------------------------------------------------------

    def _release(self, number: str) -> Release:
        release = self.state.releases.get(int(number))
        if release is None:
            raise Refusal(404, "Not Found")
        return release

    @staticmethod
    def _place(release: Release) -> str:
        return f"untagged-{release.id:020x}" if release.draft else quote(release.tag, safe="")

    def _asset_json(self, release: Release, asset: Asset) -> dict[str, Any]:
        facts = {
            "id": asset.id,
            "name": asset.name,
            "state": asset.state,
            "size": len(asset.content),
            "digest": asset.digest if self.state.knows_digests and asset.state == "uploaded" else None,
            "content_type": asset.content_type,
        }
        return shapes.asset(self._base(), self._place(release), facts, self._user(ACTIONS))

    def _told(self, release: Release) -> dict[str, Any]:
        facts = {
            "id": release.id,
            "tag_name": release.tag,
            "target_commitish": release.target,
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": release.prerelease,
            "immutable": release.immutable,
            "assets": [self._asset_json(release, asset) for asset in release.assets.values()],
        }
        uploads = f"{self.public_url}{self._uploads_prefix}"
        return shapes.release(self._base(), uploads, self._place(release), facts, self._user(ACTIONS))

    def _list_releases(self, request: Request) -> Answer:
        # "Only users with push access will receive listings for draft releases":
        # https://docs.github.com/en/rest/releases/releases#list-releases
        self._may(request, "contents")
        releases = sorted(self.state.releases.values(), key=lambda release: -release.id)
        shown = [release for release in releases if not release.draft or "contents" in request.token.writes]
        return Answer(200, *self._paged(request, shown, self._told))

    def _latest_release(self, request: Request) -> Answer:
        # "most recent non-prerelease, non-draft": https://docs.github.com/en/rest/releases/releases#get-the-latest-release
        self._may(request, "contents")
        full = [release for release in self.state.releases.values() if not release.draft and not release.prerelease]
        if not full:
            raise Refusal(404, "Not Found")
        return Answer(200, self._told(full[-1]))

    def _release_by_tag(self, request: Request, tag: str) -> Answer:
        # "a published release": https://docs.github.com/en/rest/releases/releases#get-a-release-by-tag-name
        self._may(request, "contents")
        for release in self.state.releases.values():
            if not release.draft and quote(release.tag, safe="") == tag:
                return Answer(200, self._told(release))
        raise Refusal(404, "Not Found")

    def _create_release(self, request: Request) -> Answer:
        # https://docs.github.com/en/rest/releases/releases#create-a-release
        self._may(request, "contents")
        data = request.json
        tag = data.get("tag_name", "")
        published = [release.tag for release in self.state.releases.values() if not release.draft]
        if tag in self.state.spent_tags:
            # https://docs.github.com/en/code-security/concepts/supply-chain-security/immutable-releases
            error = {"resource": "Release", "code": "custom", "field": "tag_name", "message": _SPENT}
            raise Refusal(422, "Validation Failed", errors=[error])
        if tag in published and not data.get("draft"):
            error = {"resource": "Release", "code": "already_exists", "field": "tag_name"}
            raise Refusal(422, "Validation Failed", errors=[error])
        release = self.state.add_release(
            tag,
            name=data.get("name") or "",
            body=data.get("body") or "",
            draft=bool(data.get("draft")),
            prerelease=bool(data.get("prerelease")),
            target=data.get("target_commitish") or self.state.default_branch,
        )
        self._freeze(release)
        return Answer(201, self._told(release))

    def _edit_release(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/releases/releases#update-a-release
        self._may(request, "contents")
        release, data = self._release(number), request.json
        release.name = data.get("name", release.name)
        release.body = data.get("body", release.body)
        release.prerelease = data.get("prerelease", release.prerelease)
        release.draft = data.get("draft", release.draft)
        self._freeze(release)
        return Answer(200, self._told(release))

    def _freeze(self, release: Release) -> None:
        # Publishing freezes: https://docs.github.com/en/code-security/concepts/supply-chain-security/immutable-releases
        if self.state.immutable_releases and not release.draft:
            release.immutable = True
            self.state.spent_tags.add(release.tag)

    def _delete_release(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/releases/releases#delete-a-release
        self._may(request, "contents")
        del self.state.releases[self._release(number).id]
        return Answer(204)

    def _list_assets(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/releases/assets#list-release-assets
        self._may(request, "contents")
        release = self._release(number)
        show = partial(self._asset_json, release)
        return Answer(200, *self._paged(request, list(release.assets.values()), show))

    def _upload_asset(self, request: Request, number: str) -> Answer:
        # Renames special characters, refuses a name that is taken, also by a `starter` that a failed upload left:
        # https://docs.github.com/en/rest/releases/assets#upload-a-release-asset
        self._may(request, "contents")
        release = self._release(number)
        self._changeable(release, "Cannot upload assets to an immutable release.")
        name = re.sub(r"[^A-Za-z0-9._+@-]+", ".", request.query.get("name", "")).strip(".")
        if any(asset.name == name for asset in release.assets.values()):
            error = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
            raise Refusal(422, "Validation Failed", errors=[error])
        asset = self.state.add_asset(release, name, request.body, content_type=request.headers.get("content-type", ""))
        return Answer(201, self._asset_json(release, asset))

    @staticmethod
    def _changeable(release: Release, why_not: str) -> None:
        # https://docs.github.com/en/code-security/concepts/supply-chain-security/immutable-releases
        if release.immutable:
            raise Refusal(422, why_not)

    def _asset(self, number: str) -> tuple[Release, Asset]:
        for release in self.state.releases.values():
            if int(number) in release.assets:
                return release, release.assets[int(number)]
        raise Refusal(404, "Not Found")

    def _get_asset(self, request: Request, number: str) -> Answer:
        # JSON, or with this Accept a redirect or the content: https://docs.github.com/en/rest/releases/assets#get-a-release-asset
        self._may(request, "contents")
        release, asset = self._asset(number)
        if request.headers.get("accept") == "application/octet-stream":
            return self._stored(f"assets/{number}")
        return Answer(200, self._asset_json(release, asset))

    def _delete_asset(self, request: Request, number: str) -> Answer:
        # https://docs.github.com/en/rest/releases/assets#delete-a-release-asset
        self._may(request, "contents")
        release, asset = self._asset(number)
        self._changeable(release, "Cannot delete asset from an immutable release.")
        del release.assets[asset.id]
        return Answer(204)


_SPENT = "tag_name was used by an immutable release"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return vars(value) if hasattr(value, "__dict__") else str(value)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], fake: FakeGitHub) -> None:
        self.fake = fake
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up is part of the tests; anything else is a fault of the fake's own.
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.fake.crashes.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait for the delayed acknowledgement
    server: _Server

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        answer = self.server.fake.answer(self.command, self.path, headers, body)
        if answer is None:
            # Linger 0 makes the close a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        content = (
            answer.raw if answer.raw is not None else b"" if answer.data is None else json.dumps(answer.data).encode()
        )
        self.send_response(answer.status)
        if answer.data is not None:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204 and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _respond

    def log_message(self, *_: object) -> None:
        """Silence: tests look at `State.calls`."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a fake GitHub until it is stopped.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--public-url", default="", help="where clients see it, if not at host and port")
    parser.add_argument("--repository", default="org/models")
    parser.add_argument("--token", default="ghs_fake", help="a token with all rights, of github-actions[bot]")
    parser.add_argument("--pull", action="append", default=[], metavar="NUMBER:SHA", help="an open pull request")
    options = parser.parse_args()
    fake = FakeGitHub(host=options.host, port=options.port)
    fake.public_url = fake.binary_url = options.public_url or fake.url
    fake.state.repository = options.repository
    fake.state.tokens[options.token] = Token(ACTIONS, frozenset({"contents", "pull_requests", "actions"}))
    for pull in options.pull:
        number, _, sha = pull.partition(":")
        fake.state.add_pull(int(number), sha)
    with fake:
        print(fake.api_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
