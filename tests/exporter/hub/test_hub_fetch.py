"""Fetching from a Hub: the right files, at the right commit, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import LFS_FROM_BYTES, Fault, HubServer

Fetch = Callable[..., dict[str, Any]]

CONFIG = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()
WEIGHTS = bytes(range(256)) * 8
TOKENIZER = {"tokenizer.json": b"{}", "tokenizer_config.json": b"{}", "vocab.txt": b"[PAD]\n"}


def names(answer: dict[str, Any]) -> set[str]:
    path = Path(answer["path"])
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def test_takes_what_loading_needs_and_nothing_else(hub: HubServer, fetcher: Fetch) -> None:
    needed = {"config.json": CONFIG, "generation_config.json": b"{}", "model.safetensors": WEIGHTS, **TOKENIZER}
    unneeded = {
        "pytorch_model.bin": WEIGHTS,
        "tf_model.h5": WEIGHTS,
        "flax_model.msgpack": WEIGHTS,
        "onnx/model.onnx": WEIGHTS,
        "model.fp16.safetensors": WEIGHTS,
        "modeling_mine.py": b"raise SystemExit",
        "README.md": b"# A model",
        "training_args.bin": WEIGHTS,
        "unet/config.json": CONFIG,
    }
    (commit,) = hub.publish("org/model", {**needed, **unneeded})
    answer = fetcher("org/model")
    assert names(answer) == set(needed)
    assert answer["commit"] == commit
    assert answer["bytes"] == sum(map(len, needed.values())) - len(CONFIG)  # what was known before the download
    assert (Path(answer["path"]) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "tf_model.h5"])
def test_takes_the_best_weights_there_are(hub: HubServer, fetcher: Fetch, weights: str) -> None:
    hub.publish("org/model", {"config.json": CONFIG, weights: WEIGHTS, "flax_model.msgpack": WEIGHTS})
    assert names(fetcher("org/model")) == {"config.json", weights}


def test_takes_the_shards_that_the_index_names(hub: HubServer, fetcher: Fetch) -> None:
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    files = {
        "config.json": CONFIG,
        "model.safetensors.index.json": index.encode(),
        "model-00001-of-00002.safetensors": WEIGHTS,
        "model-00002-of-00002.safetensors": WEIGHTS + b"2",
    }
    hub.publish("org/model", {**files, "model-00001-of-00009.safetensors": WEIGHTS})
    assert names(fetcher("org/model")) == set(files)


def test_resolves_a_branch_to_its_commit_and_keeps_an_old_one(hub: HubServer, fetcher: Fetch) -> None:
    old, new = hub.publish(
        "org/model",
        {"config.json": CONFIG, "model.safetensors": WEIGHTS},
        {"config.json": CONFIG, "model.safetensors": WEIGHTS[::-1]},
    )
    hub.repositories["org/model"].refs["refs/pr/1"] = old
    assert fetcher("org/model")["commit"] == new
    assert fetcher("org/model", "main")["commit"] == new
    assert fetcher("org/model", old)["commit"] == old
    pull = fetcher("org/model", "refs/pr/1")
    assert pull["commit"] == old
    assert (Path(pull["path"]) / "model.safetensors").read_bytes() == WEIGHTS


def test_asks_for_nothing_twice(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS, **TOKENIZER})
    fetcher("org/model")
    hub.requests.clear()
    again = fetcher("org/model")
    assert again["bytes"] == 0
    assert [request.path.partition("?")[0] for request in hub.requests] == ["/api/models/org/model"]


def test_the_token_goes_to_the_hub_and_not_to_the_storage_of_large_files(hub: HubServer, fetcher: Fetch) -> None:
    assert len(WEIGHTS) >= LFS_FROM_BYTES
    hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS}, private=True)
    hub.readers["hf_secretsecret"] = {"org/model"}
    assert "path" in fetcher("org/model", token="hf_secretsecret")
    at_hub = [request for request in hub.requests if "/org/model" in request.path]
    at_storage = [request for request in hub.requests if "/org/model" not in request.path]
    assert at_hub
    assert at_storage
    assert all(request.headers["authorization"] == "Bearer hf_secretsecret" for request in at_hub)
    assert not any("authorization" in request.headers for request in at_storage)


def test_code_comes_only_when_allowed_and_at_a_full_commit(hub: HubServer, fetcher: Fetch) -> None:
    files = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "modeling_mine.py": b"pass"}
    (commit,) = hub.publish("org/model", files)
    for revision, allowed in ((None, True), ("main", True), (commit, False)):
        assert "modeling_mine.py" not in names(fetcher("org/model", revision, allow_remote_code=allowed))
    assert names(fetcher("org/model", commit, allow_remote_code=True)) == set(files)


def test_asks_again_when_a_connection_breaks(hub: HubServer, fetcher: Fetch) -> None:
    hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    hub.faults.append(Fault(_storage_path(WEIGHTS), cut=700, times=1))
    answer = fetcher("org/model")
    assert (Path(answer["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    assert len([path for path in hub.paths("GET") if _storage_path(WEIGHTS) in path]) == 2


def _storage_path(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TestEnvironment:
    """What the library reads from the environment holds."""

    def test_endpoint_and_token(self, hub: HubServer, fetcher_with: Callable[..., Any]) -> None:
        hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS}, private=True)
        hub.readers["hf_fromenvironment"] = {"org/model"}
        fetcher = fetcher_with(HF_ENDPOINT=hub.endpoint, HF_TOKEN="hf_fromenvironment")
        assert names(fetcher.fetch("org/model")) == {"config.json", "model.safetensors"}

    def test_proxy(self, hub: HubServer, fetcher_with: Callable[..., Any]) -> None:
        # An HTTP proxy gets the whole address in the request line; a Hub that nobody listens at shows that it was used.
        fetcher = fetcher_with(HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=hub.endpoint)
        fetcher.fetch("org/model")
        assert hub.requests[0].path.startswith("http://hub.invalid/api/models/org/model")

    def test_offline_with_and_without_a_cache(self, hub: HubServer, fetcher_with: Callable[..., Any]) -> None:
        (commit,) = hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
        online = fetcher_with(HF_ENDPOINT=hub.endpoint).fetch("org/model", "main")
        fetcher = fetcher_with(HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE="1")
        hub.requests.clear()
        for revision in (None, "main", commit):
            offline = fetcher.fetch("org/model", revision)
            assert (offline["path"], offline["commit"]) == (online["path"], commit)
            assert offline["notes"] == ["Offline: taken from the cache as it is."]
        absent = fetcher.fetch("org/other")
        assert absent["kind"] == "hub-offline"
        assert "HF_HUB_OFFLINE" in absent["message"]
        assert hub.requests == []

    def test_the_log_shows_neither_token_nor_progress_bars(
        self, hub: HubServer, fetcher_with: Callable[..., Any]
    ) -> None:
        hub.publish("org/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
        hub.readers["hf_fromenvironment"] = set()
        fetcher = fetcher_with(HF_ENDPOINT=hub.endpoint, HF_TOKEN="hf_fromenvironment")
        assert "path" in fetcher.fetch("org/model")
        fetcher.fetch("org/unknown")
        log = fetcher.close()
        assert "hf_fromenvironment" not in log
        assert "%|" not in log
