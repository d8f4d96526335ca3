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
from pathlib import Path

import graphql
import pytest
import requests
from fake_github import Answer, FakeGitHub
from github_examples import HEAD, KEY, PULL
from test_artifacts import *  # noqa: F403 - the same scenarios, another way there
from test_comments import *  # noqa: F403
from test_pulls import *  # noqa: F403
from test_releases import *  # noqa: F403

from entrypoint.github.comments import upsert_comment

MODULES = Path(__file__).parent / "node_modules"
DESCRIPTIONS = MODULES / "@octokit/openapi/generated"
SCHEMA = MODULES / "@octokit/graphql-schema/schema.graphql"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not DESCRIPTIONS.is_dir(),
    reason="needs Node, and `npm ci --ignore-scripts` in tests/entrypoint/github",
)

REPOSITORY = "/repos/{owner}/{repo}"
PATHS = [
    REPOSITORY,
    f"{REPOSITORY}/pulls",
    f"{REPOSITORY}/pulls/{{pull_number}}",
    f"{REPOSITORY}/issues/{{issue_number}}/comments",
    f"{REPOSITORY}/issues/comments/{{comment_id}}",
    f"{REPOSITORY}/actions/artifacts",
    f"{REPOSITORY}/actions/artifacts/{{artifact_id}}/{{archive_format}}",
    f"{REPOSITORY}/releases",
    f"{REPOSITORY}/releases/latest",
    f"{REPOSITORY}/releases/tags/{{tag}}",
    f"{REPOSITORY}/releases/{{release_id}}",
    f"{REPOSITORY}/releases/{{release_id}}/assets",
    f"{REPOSITORY}/releases/assets/{{asset_id}}",
]

# Where Prism or the description differ from GitHub itself.
KNOWN = (
    # Prism follows the redirect to the file store by itself.
    "Unable to match the returned status code with those defined in the document: 302,410",
    # The description of the upload speaks of assets in the state "starter"; the schema has forgotten them.
    "state must be equal to one of the allowed values: uploaded, open",
)


def description(name, prefix):
    """GitHub's description of the paths we use, where they are on such a server; whole, Prism takes 11 s to start."""
    document = json.loads((DESCRIPTIONS / f"{name}.json").read_text())
    paths = {}
    for path in PATHS:
        for method, operation in document["paths"][path].items():
            # The one operation with servers of its own is the upload.
            where = "/api/uploads" if prefix and operation.pop("servers", None) else prefix
            paths.setdefault(f"{where}{path}", {})[method] = operation
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


# GraphQL is not part of the description; its own schema is checked in the last test here.
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
            fake.strict_store = False  # Prism takes the token along when it follows a redirect
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
            # An error status that the description doesn't list is a warning: it lists few of them.
            if violation["severity"] == "Error":
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
    assert [violation for violation in violations if not violation.endswith(KNOWN)] == []


def test_prism_notices_a_wrong_answer(client, state, violations):
    state.add_pull(7, HEAD)
    state.happen("GET", "/comments$", answer=Answer(200, [{"id": 1}]))
    upsert_comment(client, PULL, "All passed.", KEY, HEAD)
    assert "must have required property 'node_id'" in violations[0]
    violations.clear()


def test_prism_notices_a_wrong_request(client, state, fake, violations):
    state.add_pull(7, HEAD)
    url = f"{fake.api_url}/repos/org/models/issues/7/comments"
    requests.post(url, json={"text": "no body"}, headers={"Authorization": "token ghs_job"}, timeout=5)
    assert "must have required property 'body'" in violations[0]
    violations.clear()


def test_prism_knows_every_path(client, fake):
    assert requests.get(f"{fake.api_url}/repos/org/models/unknown", timeout=5).status_code == 404


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the npm package @octokit/graphql-schema")
def test_the_question_who_we_are_fits_the_graphql_schema(client, state, monkeypatch):
    asked = []
    query = type(client._github.requester).graphql_query
    monkeypatch.setattr(
        type(client._github.requester), "graphql_query", lambda self, *args: (asked.append(args), query(self, *args))[1]
    )
    assert client.login() == "github-actions[bot]"
    schema = graphql.build_schema(SCHEMA.read_text(), assume_valid=True)
    answer = graphql.graphql_sync(schema, asked[0][0], {"viewer": {"login": "github-actions[bot]"}})
    assert (answer.errors, answer.data) == (None, {"viewer": {"login": "github-actions[bot]"}})
