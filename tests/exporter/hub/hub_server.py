"""A small local server that speaks as much of the Hub's API as fetching a model takes.

What it answers, each rule as huggingface_hub 2.4.0 asks for it and reads the answer:

* ``GET /api/models/{id}`` and ``/api/models/{id}/revision/{rev}`` (``HfApi.model_info``; ``?blobs=True`` adds sizes):
  JSON with ``id``, ``sha`` and ``siblings``. Listings of gated models are public, as on the Hub.
* ``HEAD`` and ``GET /{id}/resolve/{rev}/{path}`` (``get_hf_file_metadata``, ``http_get``): ``X-Repo-Commit``, ``ETag``,
  ``Content-Length``. A file in LFS is a redirect to another origin, with its size
  and hash in ``X-Linked-Size`` and ``X-Linked-Etag``; the token must not follow there.
* Refusals (``hf_raise_for_status``): ``X-Error-Code`` is ``RepoNotFound``, ``RevisionNotFound``, ``EntryNotFound`` or
  ``GatedRepo``, with ``X-Error-Message`` for people. Without a token, 401 stands for private and for unknown models; a
  token that is wrong is told by its message alone.

Slashes in ids stay, those in revisions come as ``%2F``.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit

__all__ = ["Fault", "HubServer", "Repository", "Request"]

LFS_FROM_BYTES = 1024  # small, so that tiny weights take the way of large ones


@dataclass
class Repository:
    """A model on the server: `commits` maps hash to files, `refs` maps branch or tag to hash."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    private: bool = False
    gated: bool = False
    disabled: bool = False


@dataclass(frozen=True)
class Request:
    """A request as it came, for assertions."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """What the server does instead of answering, for requests whose path contains `path`, `times` times.

    `status` with `headers` is sent; status 0 closes the connection; `seconds` is waited first; `cut` sends only that
    many bytes of the real answer.
    """

    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    cut: int | None = None
    times: int = 1_000_000


class HubServer:
    """The server and its content; a context manager, on a free port of this machine."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.readers: dict[str, set[str]] = {}  # token -> what its owner may read of the private and gated
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._hub = self._listen(_HubHandler)
        self._storage = self._listen(_StorageHandler)

    def _listen(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.hub = self  # type: ignore[attr-defined]
        return server

    def __enter__(self) -> HubServer:
        for server in (self._hub, self._storage):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self) -> str:
        """What ``HF_ENDPOINT`` is set to."""
        return f"http://127.0.0.1:{self._hub.server_port}"

    @property
    def storage(self) -> str:
        """Origin of the large files."""
        return f"http://127.0.0.1:{self._storage.server_port}"

    def publish(self, model_id: str, *versions: dict[str, bytes], **facts: bool) -> tuple[str, ...]:
        """Put a model on the server; the last of its `versions` is ``main``. Returns their commits."""
        commits = {hashlib.sha1(f"{model_id}{n}".encode()).hexdigest(): files for n, files in enumerate(versions)}
        self.repositories[model_id] = Repository(commits, {"main": list(commits)[-1]}, **facts)
        return tuple(commits)

    def fault_for(self, path: str) -> Fault | None:
        """The fault to show for a request, used up by one."""
        for fault in self.faults:
            if fault.path in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def paths(self, method: str) -> list[str]:
        """Paths that were asked for with this method, in order."""
        return [request.path for request in self.requests if request.method == method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> HubServer:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.hub.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.cut: int | None = None
        fault = self.hub.fault_for(self.path)
        if fault is not None:
            time.sleep(fault.seconds)
            if fault.cut is None and not fault.seconds:
                if fault.status:
                    self.send(fault.status, fault.headers, fault.body)
                self.close_connection = True
                return
            self.cut = fault.cut
        self.answer()

    def answer(self) -> None:
        raise NotImplementedError

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if self.cut is None else body[: self.cut])
            if self.cut is not None:
                self.close_connection = True

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        if code:
            headers["X-Error-Code"] = code
        self.send(status, headers, json.dumps({"error": message}).encode())


class _StorageHandler(_Handler):
    def answer(self) -> None:
        digest = self.path.strip("/")
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == digest:
                        self.send(200, {"ETag": f'"{digest}"'}, content)
                        return
        self.send(404, {}, b"")


class _HubHandler(_Handler):
    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.readers:
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        if path.startswith("/api/models/"):
            model_id, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            name = None
        else:
            model_id, _, rest = path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
        repository = self._readable(model_id, token)
        if repository is None:
            return
        revision = revision or "main"
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif name is None:
            self._tell(model_id, repository, commit)
        elif repository.gated and model_id not in self.hub.readers.get(token, ()):
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {model_id} is restricted.")
        elif name not in repository.commits[commit]:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            self._give(repository.commits[commit][name], commit)

    def _readable(self, model_id: str, token: str) -> Repository | None:
        repository = self.hub.repositories.get(model_id)
        if repository is not None and repository.disabled:
            self.refuse(403, "", "Access to this resource is disabled.")
            return None
        hidden = repository is None or (repository.private and model_id not in self.hub.readers.get(token, ()))
        if hidden:
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _tell(self, model_id: str, repository: Repository, commit: str) -> None:
        siblings: list[dict[str, object]] = []
        for name, content in repository.commits[commit].items():
            entry: dict[str, object] = {"rfilename": name}
            if "blobs=" in self.path:
                entry["size"] = len(content)
            siblings.append(entry)
        facts = {"id": model_id, "sha": commit, "siblings": siblings, "gated": "auto" if repository.gated else False}
        self.send(200, {"Content-Type": "application/json"}, json.dumps(facts).encode())

    def _give(self, content: bytes, commit: str) -> None:
        headers = {"X-Repo-Commit": commit}
        if len(content) < LFS_FROM_BYTES:
            self.send(200, {**headers, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}, content)
            return
        digest = hashlib.sha256(content).hexdigest()
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        self.send(302, {**headers, **linked, "Location": f"{self.hub.storage}/{digest}"}, b"")
