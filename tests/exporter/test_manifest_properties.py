"""Whatever bytes come in: a manifest, or errors that point into the file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import tasks
from exporter.manifest import Manifest, ManifestErrors, parse, reading

FULL = (Path(__file__).parents[2] / "examples" / "export.yml").read_text()
MINIMAL = "version: 1\nmodels:\n  - name: minilm\n    model: org/model\n"

# A parser that is patched for the whole module is no state that one example leaves to the next.
several = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(reading, "_Loader", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model").mkdir()
        (Path(folder) / "samples").mkdir()
        (Path(folder) / "samples" / "sentences.txt").write_text("text")
        yield Path(folder) / "export.yml"


def check(content: bytes, path: Path) -> Manifest | ManifestErrors:
    """Parse, and hold every error against what is promised of errors."""
    try:
        return parse(content, path)
    except ManifestErrors as caught:
        errors = caught
    assert errors.errors
    lines = content.split(b"\n")
    for error in errors.errors:
        assert 1 <= error.source.line <= len(lines)
        assert 1 <= error.source.column <= len(lines[error.source.line - 1]) + 1
        assert error.message
        assert str(error).isprintable()
        assert "did you mean ''" not in error.message
    assert len(set(errors.errors)) == len(errors.errors)
    return errors


@given(content=st.binary(max_size=200))
@several
def test_any_bytes(content: bytes, path: Path) -> None:
    check(content, path)


@given(content=st.text(max_size=200))
@several
def test_any_text(content: str, path: Path) -> None:
    check(content.encode("utf-8", "surrogatepass"), path)


TOKENS = [
    *("\n", "\n  ", "\n    ", "\n      ", "- ", " ", ": ", "? ", ", ", "[", "]", "{", "}", "|", ">", "#", "'", '"'),
    *(
        "---\n",
        "...\n",
        "&a ",
        "*a ",
        "!t ",
        "!!int ",
        "%YAML 1.2\n",
        "<<",
        "~",
        "null",
        "true",
        "1",
        "1e10",
        "é",
        "\t",
    ),
    *(
        "version: 1\n",
        "models:\n",
        "defaults:\n",
        "- name: a\n",
        "model: ./model\n",
        "name",
        "model",
        "task",
        "formats",
    ),
    *("onnx", "torchscript", "opset", "validate", "atol", "reason", "samples", "config", "x.py:C", "revision", "axes"),
]


@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=40))
@several
def test_yaml_like_text(tokens: list[str], path: Path) -> None:
    check("".join(tokens).encode(), path)


@given(data=st.data(), text=st.sampled_from([FULL, MINIMAL]))
@several
def test_a_valid_manifest_with_a_slip(data: st.DataObject, text: str, path: Path) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 8)))
        text = text[:start] + data.draw(st.sampled_from(["", *TOKENS]) | st.text(max_size=3)) + text[end:]
    check(text.encode("utf-8", "surrogatepass"), path)


KEYS = [
    *("version", "defaults", "models", "name", "model", "revision", "task", "formats", "onnx", "torchscript", "neuron"),
    *("opset", "engine", "dtype", "axes", "batch_size", "sequence_length", "fixed_sizes", "untie_weights", "target"),
    *("precision", "compiler_args", "validate", "atol", "rtol", "reason", "samples", "config", "unknown", "batch"),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 30),
    st.floats(),
    st.sampled_from(["onnx", "auto", "legacy", "default", "./model", "org/name", "a", "", "dynamic", "x.py:C", "../x"]),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


@given(version=SCALARS | st.just(1), defaults=TREES, models=TREES | st.lists(TREES, max_size=4))
@several
def test_any_tree_of_known_keys(version: Any, defaults: Any, models: Any, path: Path) -> None:
    document = {"version": version, "defaults": defaults, "models": models}
    check(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"), path)


def sizes(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


def options(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


AXES = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), sizes(10**6) | st.just("dynamic"))
ONNX = st.one_of(
    options(opset=st.integers(11, 25), engine=st.just("auto"), axes=AXES),
    options(opset=st.integers(18, 25), engine=st.just("dynamo"), dtype=st.sampled_from(["float32", "float16"])),
    options(opset=st.integers(11, 20), engine=st.just("legacy"), dtype=st.just("bfloat16")),
)
TORCHSCRIPT = options(
    batch_size=sizes(4096), sequence_length=sizes(4096), fixed_sizes=st.booleans(), untie_weights=st.booleans()
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
NEURON = options(
    target=st.sampled_from(["inf1", "inf2", "trn1"]),
    precision=st.sampled_from(["accurate", "balanced", "fast"]),
    compiler_args=st.lists(TEXT, max_size=3),
)
FORMATS = st.lists(st.sampled_from(["onnx", "torchscript", "neuron"]), min_size=1, unique=True) | options(
    onnx=ONNX | st.none(), torchscript=TORCHSCRIPT | st.none(), neuron=NEURON | st.none()
).filter(bool)
TOLERANCE = st.fixed_dictionaries({"reason": TEXT, "atol": st.floats(0, 1)}, optional={"rtol": st.floats(0, 1)})
WRITTEN = {
    "task": st.sampled_from([name for name in tasks.names() if not tasks.find(name).past]),
    "formats": FORMATS,
    "validate": TOLERANCE | st.just({}),
}
MODELS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"m_[A-Za-z0-9._-]{0,20}[a-z]", fullmatch=True),
            "model": st.just("./model") | st.from_regex(r"[a-z]{1,9}/[A-Za-z][a-z0-9]{0,9}", fullmatch=True),
        },
        optional=WRITTEN,
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda model: model["name"].casefold(),
)


@given(models=MODELS)
@several
def test_what_is_right_comes_back(models: list[dict[str, Any]], path: Path) -> None:
    """Read a manifest, write what it came to, read that: the same entries."""
    text = json.dumps({"version": 1, "models": models}, ensure_ascii=False, indent=1)
    first = check(text.encode(), path)
    assert isinstance(first, Manifest), first
    assert [entry.name for entry in first.entries] == [model["name"] for model in models]
    for entry, model in zip(first.entries, models, strict=True):
        assert (entry.checkpoint is None) == (model["model"] != "./model")
        assert entry.task == model.get("task")
        assert set(entry.formats.names) == set(model.get("formats", ["onnx", "torchscript"]))
        assert entry.validation.atol == model.get("validate", {}).get("atol")
    again = [{"name": entry.name, **_without_none(entry.canonical())} for entry in first.entries]
    second = check(json.dumps({"version": 1, "models": again}, ensure_ascii=False).encode(), path)
    assert isinstance(second, Manifest), second
    assert [entry.canonical() for entry in second.entries] == [entry.canonical() for entry in first.entries]


@given(defaults=options(**WRITTEN), model=options(**WRITTEN))
@several
def test_defaults_mean_what_the_model_would_say(defaults: dict[str, Any], model: dict[str, Any], path: Path) -> None:
    """A key only in `defaults` is as good as the same key in the model; a scalar in the model wins."""
    named = {"name": "a", "model": "org/a"}
    merged = check(_document({**named, **model}, defaults), path)
    spelt_out = check(_document({**defaults, **named, **model}, {}), path)
    if isinstance(merged, Manifest) and isinstance(spelt_out, Manifest):
        for entry, expected in zip(merged.entries, spelt_out.entries, strict=True):
            assert entry.task == expected.task
            assert entry.formats.names == expected.formats.names
            if "formats" not in model or "formats" not in defaults:
                assert entry.formats == expected.formats


def _document(model: dict[str, Any], defaults: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, "defaults": defaults, "models": [model]}, ensure_ascii=False).encode()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
