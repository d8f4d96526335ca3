"""What several test modules here speak of."""

from __future__ import annotations

import hashlib

from entrypoint.github.client import Patience
from entrypoint.github.comments import marker
from entrypoint.github.pulls import PullRequest
from entrypoint.github.releases import CHECKSUMS, ReleaseNotes

__all__ = ["CONTENTS", "FILES", "HEAD", "KEY", "NEWER", "NOTES", "PATIENCE", "PULL", "SUMS", "TAG"]
__all__ += ["contents", "pull_request", "report", "sha256", "the_release"]

PATIENCE = Patience(timeout=5, upload_timeout=5, attempts=4, backoff=1.0, longest_wait=130.0, between_writes=0.0)

HEAD = "a" * 40
NEWER = "d" * 40
KEY = "ci/export"

TAG = "v1.2.0"
NOTES = ReleaseNotes("Models v1.2.0", "Two models.")
# Text, because the proxy of the contract tests garbles other bytes.
FILES = {"bert-onnx.zip": "onnx weights", "bert-torchscript.zip": "torchscript weights"}


def pull_request(number=7, origin="repository"):
    return PullRequest(
        number=number,
        url=f"https://github.test/org/models/pull/{number}",
        head_sha=HEAD,
        head_ref="feature",
        head_repository="org/models",
        base_sha="b" * 40,
        base_ref="main",
        origin=origin,
    )


PULL = pull_request()


def report(text, key=KEY):
    """The comment that says `text`."""
    return f"{marker(key)}\n{text}"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


SUMS = "".join(f"{sha256(content)}  {name}\n" for name, content in FILES.items())
CONTENTS = FILES | {CHECKSUMS: SUMS}


def the_release(state):
    (release,) = state.releases.values()
    return release


def contents(release):
    return {asset.name: asset.content.decode() for asset in release.assets.values() if asset.state == "uploaded"}
