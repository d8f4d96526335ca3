"""Client and fake against GitHub's own OpenAPI descriptions: every scenario again, with Prism in between.

Prism forwards each request to the fake and says where request or answer differ from the description of api.github.com
and of GitHub Enterprise Server. It needs Node and ``npm ci --ignore-scripts`` in this directory; without that these
tests are skipped. Faults of the network are in `test_faults.py` only: Prism would answer for the server.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import test_artifacts
import test_comments
import test_pulls
import test_releases
from fake_github import Answer, FakeGitHub
from github_examples import HEAD, KEY, PULL
from test_comments import open_pull  # noqa: F401 - a fixture of the scenarios

from entrypoint.github.comments import upsert_comment
from entrypoint.github.errors import CannotComment

MODULES = Path(__file__).parent / "node_modules"
DESCRIPTIONS = MODULES / "@octokit/openapi/generated"
SCHEMA = MODULES / "@octokit/graphql-schema/schema.graphql"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not DESCRIPTIONS.is_dir(),
    reason="needs Node, and `npm ci --ignore-scripts` in tests/entrypoint/github",
)

REPOSITORY = "/repos/{owner}/{repo}"
USED = {
    "": ["get"],
    "/pulls": ["get"],
    "/pulls/{pull_number}": ["get"],
    "/issues/{issue_number}/comments": ["get", "post"],
    "/issues/comments/{comment_id}": ["patch", "delete"],
    "/actions/artifacts": ["get"],
    "/releases": ["get", "post"],
    "/releases/latest": ["get"],
    "/releases/tags/{tag}": ["get"],
    "/releases/{release_id}": ["get", "patch", "delete"],
    "/releases/{release_id}/assets": ["get", "post"],
    "/releases/assets/{asset_id}": ["get", "delete"],
}

# Nothing new for Prism: too many requests, or none.
ONLY_DIRECT = {
    "test_more_than_a_release_can_hold_is_refused",
    "test_hundreds_of_assets_are_seen_on_all_pages",
    "test_who_gets_a_read_only_token",
    "test_asset_names",
    "test_any_text_gives_a_name_that_stays",
}

# The same scenarios, another way there: pytest finds them here, with the fixture `fake` of this module.
for module in (test_artifacts, test_comments, test_pulls, test_releases):
    for name, scenario in vars(module).items():
        if name.startswith("test_") and name not in ONLY_DIRECT:
            globals()[f"{module.__name__}_{name}"] = scenario

# Where the description differs from GitHub itself.
KNOWN = (
    r"GET .*: response\.body\S*: .*head\.repo must be object$",  # a fork that was deleted is null
    r": .*state must be equal to one of the allowed values: uploaded, open$",  # its text speaks of `starter`
    # Its text speaks of octet-stream, its schema of JSON alone.
    r"GET .*/releases/assets/\d+: response: The received media type",
    r"GET .*/releases/assets/\d+: response\.body: Response body must be object",
)


def description(name, prefix):
    """GitHub's description of what we use, where it is on such a server; with the whole one Prism starts in 11 s."""
    document = json.loads((DESCRIPTIONS / f"{name}.json").read_text())
    paths = {}
    for path, methods in USED.items():
        for method in methods:
            operation = document["paths"][f"{REPOSITORY}{path}"][method]
            # The one operation with servers of its own is the upload.
            where = "/api/uploads" if prefix and operation.pop("servers", None) else prefix
            paths.setdefault(f"{where}{REPOSITORY}{path}", {})[method] = operation
    paths["/api/graphql" if prefix else "/graphql"] = {"post": GRAPHQL}
    document["paths"] = paths
    document["components"] = reachable(document)
    document["servers"] = []
    document.pop("x-webhooks", None)
    return document


def reachable(document):
    """The components that the paths refer to, directly or through others."""
    found = {}
    waiting = references(document["paths"])
    while waiting:
        kind, name = waiting.pop()
        if name not in found.setdefault(kind, {}):
            found[kind][name] = document["components"][kind][name]
            waiting |= references(found[kind][name])
    return found


def references(part):
    return set(re.findall(r'"#/components/([^/"]+)/([^"]+)"', json.dumps(part)))


# GraphQL is not in the description; the last test here looks at its own schema.
GRAPHQL = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["query", "variables"]}}},
    },
    "responses": {
        "200": {
            "description": "The answer, or errors",
            "content": {"application/json": {"schema": {"type": "object", "required": ["data"]}}},
        }
    },
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, log):
    for _ in range(600):
        if "Prism is listening" in log.read_text():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"Prism did not start within a minute:\n{log.read_text()}")


@pytest.fixture(scope="session", params=["api.github.com", "ghes-3.17"])
def behind_prism(request, tmp_path_factory):
    """A fake that clients see through Prism."""
    prefix = "/api/v3" if request.param.startswith("ghes") else ""
    folder = tmp_path_factory.mktemp("prism")
    document, log = folder / "description.json", folder / "log"
    document.write_text(json.dumps(description(request.param, prefix)))
    with FakeGitHub(prefix) as fake, log.open("w") as output:
        port = free_port()
        command = [NODE, MODULES / ".bin/prism", "proxy", document, fake.url, "--port", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for(process, log)
            fake.public_url = f"http://127.0.0.1:{port}"
            fake.strict_store = False  # Prism follows redirects itself, and takes the token along
            yield fake
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def violations(monkeypatch):
    """What Prism found wrong: it says so in a header of the answer."""
    found = []
    send = requests.adapters.HTTPAdapter.send

    def watched(self, request, **options):
        response = send(self, request, **options)
        for violation in json.loads(response.headers.get("sl-violations", "[]")):
            # Warnings are error statuses that the description doesn't list (it lists few), and unknown paths.
            if violation["severity"] == "Error" or "route not found" in violation["message"]:
                where = ".".join(violation["location"])
                found.append(f"{request.method} {request.path_url}: {where}: {violation['message']}")
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", watched)
    return found


@pytest.fixture
def fake(behind_prism, violations):
    """Replaces the fixture of `conftest.py`: the same fake, behind Prism."""
    yield behind_prism
    assert behind_prism.crashes == []
    assert [violation for violation in violations if not any(re.search(known, violation) for known in KNOWN)] == []


def test_prism_notices_a_wrong_answer(client, state, violations):
    state.add_pull(7, HEAD)
    state.happen("POST", "/comments$", answer=Answer(201, {"id": 1}))
    with suppress(CannotComment):
        upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert "must have required property 'node_id'" in violations[0]
    violations.clear()


def test_prism_notices_a_wrong_request(state, fake, violations):
    url = f"{fake.api_url}/repos/org/models/issues/7/comments"
    requests.post(url, json={"text": "no body"}, headers={"Authorization": "token ghs_job"}, timeout=5)
    assert "must have required property 'body'" in violations[0]
    violations.clear()


def test_prism_notices_a_path_that_is_not_described(state, fake, violations):
    requests.get(f"{fake.api_url}/repos/org/models/unknown", timeout=5)
    assert violations == [f"GET {fake.prefix}/repos/org/models/unknown: request: Selected route not found"]
    violations.clear()


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the npm package @octokit/graphql-schema")
def test_the_question_whose_token_it_is_fits_the_graphql_schema():
    schema = SCHEMA.read_text()
    query, user = (re.search(rf"^type {name}\b.*?^}}", schema, re.M | re.S).group() for name in ("Query", "User"))
    assert re.search(r"^  viewer: User!$", query, re.M)
    assert re.search(r"^  login: String!$", user, re.M)
