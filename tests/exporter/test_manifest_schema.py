"""The published JSON Schema, the examples and the reference say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from exporter.manifest import ManifestErrors, json_schema, load, parse
from exporter.manifest.errors import Problems
from exporter.manifest.nodes import plain
from exporter.manifest.reading import read

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "docs" / "manifest.schema.json"
EXAMPLES = sorted((REPOSITORY / "examples").glob("**/export.yml"))


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def test_the_published_schema_is_this_one() -> None:
    """To publish: `export-action schema > docs/manifest.schema.json`."""
    assert SCHEMA.read_text() == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_examples_hold(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export.yml"
    copy.write_bytes(path.read_bytes())
    for sample in (path.parent / "samples").glob("*"):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "samples" / sample.name).write_bytes(sample.read_bytes())
    if "model: ./model" in path.read_text():
        (tmp_path / "model").mkdir()  # `make demo` puts it there
    assert load([copy]).entries
    # PyYAML's own loader takes `5e-3` for text.
    tree = read(copy.read_bytes(), Problems("export.yml"))
    assert tree is not None
    validator().validate(json.loads(json.dumps(plain(tree))))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_editors_find_the_schema(path: Path) -> None:
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    assert named
    assert (path.parent / named.group(1)).resolve() == SCHEMA


@pytest.mark.parametrize(
    ("model", "holds"),
    [
        ({}, True),
        ({"formats": ["onnx"]}, True),
        ({"formats": {"onnx": None, "torchscript": {"sequence_length": 8}}}, True),
        ({"formats": {"onnx": {"axes": {"batch": 1, "sequence": "dynamic"}}}}, True),
        ({"validate": {"atol": 1e-3, "reason": "r"}}, True),
        ({"validate": {"samples": "texts.txt"}}, True),
        ({"task": "text-generation-with-past"}, True),
        ({"revision": "main"}, True),
        ({"formats": []}, False),
        ({"formats": {}}, False),
        ({"formats": ["onnx", "onnx"]}, False),
        ({"formats": ["onx"]}, False),
        ({"formats": "onnx"}, False),
        ({"formats": None}, False),
        ({"formats": {"onnx": {"opset": 10}}}, False),
        ({"formats": {"onnx": {"opset": "18"}}}, False),
        ({"formats": {"onnx": {"engine": "torch"}}}, False),
        ({"formats": {"onnx": {"axes": {"Batch": 1}}}}, False),
        ({"formats": {"onnx": {"axes": {"batch": 0}}}}, False),
        ({"formats": {"torchscript": {"opset": 18}}}, False),
        ({"validate": {"atol": 1e-3}}, False),
        ({"validate": {"reason": "r"}}, False),
        ({"validate": {"atol": -1, "reason": "r"}}, False),
        ({"task": "no-task"}, False),
        ({"task": None}, False),
        ({"revision": 1234567}, False),
        ({"name": "a b"}, False),
        ({"name": ""}, False),
        ({"config": "MyOnnxConfig"}, False),
        ({"unknown": 1}, False),
    ],
)
def test_schema_and_code_agree(model: dict[str, Any], holds: bool, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("text")
    document = {"version": 1, "models": [{"name": "a", "model": "org/a", **model}]}
    assert validator().is_valid(document) == holds
    if holds:
        parse(json.dumps(document).encode(), tmp_path / "export.yml")
    else:
        with pytest.raises(ManifestErrors):
            parse(json.dumps(document).encode(), tmp_path / "export.yml")


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for mapping in (schema, *schema["$defs"].values()):
        for part in (mapping, *mapping.get("anyOf", ())):
            yield from part.get("properties", {}).items()


def test_every_key_says_what_it_is() -> None:
    for key, value in keys(json_schema()):
        assert value.get("description"), key


def test_the_reference_names_every_key_and_default() -> None:
    reference = (REPOSITORY / "docs" / "manifest.md").read_text()
    rows = {row.group(1): row.group(0) for row in re.finditer(r"^\| `(\w+)` .*$", reference, re.MULTILINE)}
    for key, value in keys(json_schema()):
        assert key in rows, f"docs/manifest.md has no row for {key}"
        if isinstance(value.get("default"), str | int) and not isinstance(value["default"], bool):
            assert f"`{value['default']}`" in rows[key], f"docs/manifest.md: the default of {key}"


def test_the_example_of_the_reference_holds(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "manifest.md").read_text(), re.DOTALL)
    (tmp_path / "checkpoints" / "intent").mkdir(parents=True)
    (tmp_path / "samples.txt").write_text("text")
    assert len(parse(example.encode(), tmp_path / "export.yml").entries) == 3
