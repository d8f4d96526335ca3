"""What can go wrong with a Hub: each cause is told apart, says what to do, and never shows the token."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hub_server import Fault, HubServer

Fetch = Callable[..., dict[str, Any]]

FILES = {
    "config.json": json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode(),
    "model.safetensors": bytes(range(256)) * 8,
}
TOKEN = "hf_abcdefghijklmnop"


def check(answer: dict[str, Any], kind: str, *words: str) -> None:
    """`answer` is a problem of this kind; its message and hint hold the words; no token in it."""
    text = f"{answer.get('message')} {answer.get('hint')}"
    assert answer.get("kind") == kind, answer
    for word in words:
        assert word in text
    assert answer["hint"]
    assert TOKEN not in text


def test_a_revision_that_is_gone(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    check(fetcher("org/model", "v9"), "hub-no-revision", "org/model", "'v9'")


def test_a_commit_that_is_gone(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    check(fetcher("org/model", "0" * 40), "hub-no-revision", "0" * 40)


def test_an_unknown_model_without_a_token(fetcher: Fetch) -> None:
    check(fetcher("org/unknown"), "hub-unauthorized", "org/unknown", "without a token", "HF_TOKEN")


def test_an_unknown_model_with_a_token(hub: HubServer, fetcher: Fetch) -> None:
    hub.readers[TOKEN] = set()
    check(fetcher("org/unknown", token=TOKEN), "hub-not-found", "org/unknown")


def test_a_private_model_looks_like_an_unknown_one(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES, private=True)
    hub.readers[TOKEN] = set()
    check(fetcher("org/model"), "hub-unauthorized", "private")
    check(fetcher("org/model", token=TOKEN), "hub-not-found", "private")


def test_a_gated_model(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES, gated=True)
    hub.readers[TOKEN] = set()
    check(fetcher("org/model"), "hub-gated", "no token", f"{hub.endpoint}/org/model", "HF_TOKEN")
    check(fetcher("org/model", token=TOKEN), "hub-gated", "no access yet", f"{hub.endpoint}/org/model")
    hub.readers[TOKEN] = {"org/model"}
    assert "path" in fetcher("org/model", token=TOKEN)


def test_a_disabled_model(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES, disabled=True)
    check(fetcher("org/model"), "hub-disabled", "org/model")


def test_a_token_that_is_wrong(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    check(fetcher("org/model", token=TOKEN), "hub-bad-token", "HF_TOKEN", "expired")


def test_a_token_without_the_permission(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.readers[TOKEN] = set()
    said = f"Please enable access to public gated repositories for {TOKEN}"
    hub.faults.append(Fault("/resolve/", 403, {"X-Error-Message": said}))
    check(fetcher("org/model", token=TOKEN), "hub-forbidden", "enable access to public gated", "fine-grained", "***")


def test_too_many_requests_for_longer_than_is_waited(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/", 429, {"RateLimit": '"api";r=0;t=255'}))
    check(fetcher("org/model"), "hub-rate-limit", "429", "255 seconds", "HF_TOKEN")
    assert len(hub.requests) == 1


def test_too_many_requests_for_a_moment(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/", 429, {"Retry-After": "1"}, times=1))
    assert "path" in fetcher("org/model")


def test_a_server_error_that_stays(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/", 503, body=b"maintenance"))
    check(fetcher("org/model"), "hub-server-error", "503", "maintenance")
    assert len(hub.requests) == 3


def test_server_errors_that_pass(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults += [Fault("/api/", 500, times=1), Fault("/resolve/", 502, times=2)]
    assert "path" in fetcher("org/model")


def test_a_hub_that_does_not_answer(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/", seconds=6.0))
    check(fetcher("org/model"), "hub-timeout", "org/model", "HTTPS_PROXY")


def test_a_hub_that_hangs_up(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/"))
    check(fetcher("org/model"), "hub-unreachable", "org/model")


def test_no_hub_at_all(fetcher_with: Callable[..., Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fetcher = fetcher_with(HF_ENDPOINT=f"http://127.0.0.1:{port}")
    check(fetcher.fetch("org/model"), "hub-unreachable", "refused", "HF_ENDPOINT")


def test_a_proxy_that_is_not_there(fetcher_with: Callable[..., Any]) -> None:
    fetcher = fetcher_with(HF_ENDPOINT="https://hub.invalid", HTTPS_PROXY="http://127.0.0.1:1")
    assert fetcher.fetch("org/model")["kind"] in ("hub-proxy", "hub-unreachable")


def test_an_endpoint_that_is_no_hub(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/api/", 200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"))
    check(fetcher("org/model"), "hub-bad-answer", "not a Hub", "HF_ENDPOINT")


def test_a_file_server_that_is_no_hub(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", FILES)
    hub.faults.append(Fault("/resolve/", 200, {}, b"{}"))
    check(fetcher("org/model"), "hub-bad-answer")


@pytest.mark.parametrize("model_id", ["a/b/c", "../up", "-x/y", "org/model.git"])
def test_what_is_no_id(fetcher: Fetch, model_id: str) -> None:
    check(fetcher(model_id), "bad-model-id", repr(model_id))


@pytest.mark.parametrize("revision", ["../../up", "/etc", "a b", "v1~1", "a\n", ""])
def test_what_is_no_revision(hub: HubServer, fetcher: Fetch, revision: str) -> None:
    check(fetcher("org/model", revision), "bad-revision", repr(revision))
    assert hub.requests == []


def test_a_repository_without_config(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", {"model.safetensors": b"x"})
    check(fetcher("org/model"), "no-config", "org/model")


@pytest.mark.parametrize(
    ("files", "kind", "word"),
    [
        ({"flax_model.msgpack": b""}, "unsupported-weights", "Flax"),
        ({"model-q4.gguf": b""}, "unsupported-weights", "GGUF"),
        ({"saved_model.pb": b""}, "unsupported-weights", "SavedModel"),
        ({}, "no-weights", "model.safetensors"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "gone.safetensors"}}'}, "missing-shards", "gone"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'}, "bad-index", "../x"),
    ],
)
def test_weights_that_cannot_be_loaded_are_not_fetched(
    hub: HubServer, fetcher: Fetch, files: dict[str, bytes], kind: str, word: str
) -> None:
    hub.publish("org/model", {"config.json": FILES["config.json"], **files})
    check(fetcher("org/model"), kind, word)


def test_a_disk_that_is_too_small_is_told_before_the_download(hub: HubServer, fetcher: Fetch) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**60

    hub.publish("org/model", {**FILES, "model.safetensors": Huge(b"x")})
    check(fetcher("org/model"), "disk-full", f"{2**60:,}", "HF_HOME")
    assert not any("model.safetensors" in path for path in hub.paths("HEAD"))
