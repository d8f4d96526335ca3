"""Costs, shards, the matrix, and what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.manifest import load
from exporter.pipeline.plan import MAX_SHARDS, changed, cost, matrix, shards, weights_bytes

COSTS = st.dictionaries(st.text(min_size=1), st.integers(min_value=0, max_value=10**12), max_size=300)


@given(COSTS, st.integers(min_value=1, max_value=MAX_SHARDS))
def test_every_entry_is_in_one_shard(costs: dict[str, int], count: int) -> None:
    made = shards(costs, count)
    assert sorted(name for shard in made for name in shard.names) == sorted(costs)
    assert len(made) == min(count, len(costs))
    assert all(shard.names and shard.cost == sum(costs[name] for name in shard.names) for shard in made)


@given(COSTS, st.integers(min_value=1, max_value=20))
def test_no_shard_is_much_dearer_than_it_must_be(costs: dict[str, int], count: int) -> None:
    """The bound of the method: whoever gets the last entry was the cheapest before."""
    made = shards(costs, count)
    if made:
        assert max(shard.cost for shard in made) <= sum(costs.values()) / len(made) + max(costs.values())


@pytest.mark.parametrize("count", [0, MAX_SHARDS + 1])
def test_a_matrix_has_its_limits(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        shards({"a": 1}, count)


def test_entries_and_shards_keep_their_order() -> None:
    made = shards({"a": 1, "b": 9, "c": 1, "d": 1}, 2)
    assert [shard.names for shard in made] == [("a", "c", "d"), ("b",)]


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ({"model.safetensors": 10, "pytorch_model.bin": 99, "tf_model.h5": 99}, 10),
        ({"model-00001-of-00002.safetensors": 10, "model-00002-of-00002.safetensors": 5}, 15),
        ({"pytorch_model.bin": 7, "training_args.bin": 99}, 7),
        ({"tf_model.h5": 3}, 3),
        ({"config.json": 3}, 0),
    ],
)
def test_weights_are_counted_once(tmp_path: Path, files: dict[str, int], size: int) -> None:
    for name, length in files.items():
        (tmp_path / name).write_bytes(bytes(length))
    assert weights_bytes(tmp_path) == size


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[str], Any]:
    def write(models: str) -> Any:
        (tmp_path / "export.yml").write_text(f"version: 1\nmodels:\n{models}")
        return load([tmp_path / "export.yml"]).entries

    for name, size in (("small", 10**6), ("large", 10**9)):
        (tmp_path / name).mkdir(exist_ok=True)
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(size)
    return write


def test_the_matrix_of_a_manifest(manifest: Callable[[str], Any]) -> None:
    entries = manifest(
        "- {name: a, model: ./small}\n- {name: b, model: ./large}\n"
        "- {name: c, model: ./small}\n- {name: hub, model: org/m}\n"
    )
    made = matrix(entries, 2, lambda entry: 10**6)
    assert made == {
        "include": [
            {"shard": 1, "title": "a and 2 more", "only": "a\nc\nhub", "cost": 3 * 2 * 101_000_000},
            {"shard": 2, "title": "b", "only": "b", "cost": 2 * 1_100_000_000},
        ]
    }
    assert matrix(()) == {"include": []}


def test_formats_cost(manifest: Callable[[str], Any]) -> None:
    one, two = manifest("- {name: a, model: ./small, formats: [onnx]}\n- {name: b, model: ./small}\n")
    assert cost(two) == 2 * cost(one)


def test_a_thousand_models_fit_into_an_output() -> None:
    costs = {f"model-with-a-rather-long-name-number-{number}": number for number in range(1000)}
    made = [{"only": "\n".join(shard.names)} for shard in shards(costs, MAX_SHARDS)]
    assert len(made) == MAX_SHARDS
    assert len(json.dumps(made)) < 1_000_000


def test_what_has_changed(manifest: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/config.py").write_text("class MyConfig:\n    pass\n")
    before = manifest(
        "- {name: same, model: ./small}\n- {name: option, model: ./small}\n- {name: weights, model: ./large}\n"
        "- {name: code, model: ./small, config: 'code/config.py:MyConfig'}\n"
    )
    after = manifest(
        "- {name: new, model: ./small}\n"
        "- {name: code, model: ./small, config: 'code/config.py:MyConfig'}\n- {name: weights, model: ./large}\n"
        "- {name: option, model: ./small, formats: [onnx]}\n"
        "- {name: same, model: ./small, formats: [onnx, torchscript]}\n"
    )
    base = {entry.name: entry for entry in before}

    def differing(*touched: str) -> list[str]:
        return [entry.name for entry in changed(after, base, [tmp_path / path for path in touched])]

    assert differing("README.md", "export.yml", "large-files.txt", "code/notes.md") == ["new", "option"]
    assert differing("large/model.safetensors") == ["new", "weights", "option"]
    assert differing("code/imported.py") == ["new", "code", "option"]
