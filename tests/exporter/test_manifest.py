"""What a manifest that holds means."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.manifest import (
    Entry,
    Formats,
    Manifest,
    ManifestErrors,
    NeuronOptions,
    OnnxOptions,
    TorchScriptOptions,
    UnknownNameError,
    ValidationOptions,
    load,
    parse,
    read_entries,
)


def manifest(folder: Path, text: str) -> Manifest:
    return parse(text.encode(), folder / "export.yml")


def only(folder: Path, text: str) -> Entry:
    (entry,) = manifest(folder, text).entries
    return entry


def write(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    models = "".join(f"  - {{name: {name}, model: org/{name}}}\n" for name in names)
    path.write_text(f"version: 1\nmodels:\n{models}")
    return path


def test_name_and_model_are_enough(tmp_path: Path) -> None:
    entry = only(tmp_path, "version: 1\nmodels:\n  - name: bert\n    model: google-bert/bert-base-uncased\n")

    assert entry.name == "bert"
    assert entry.model == "google-bert/bert-base-uncased"
    assert entry.checkpoint is None
    assert entry.revision is None
    assert entry.task is None
    assert entry.canonical_task is None
    assert entry.formats == Formats(onnx=OnnxOptions(), torchscript=TorchScriptOptions())
    assert entry.formats.names == ("onnx", "torchscript")
    assert entry.validation == ValidationOptions()
    assert entry.custom_config is None
    assert entry.paths == ()
    assert (entry.source.line, entry.source.column) == (3, 5)


def test_defaults_of_formats() -> None:
    assert OnnxOptions().opset == 18
    assert OnnxOptions().engine == "auto"
    assert OnnxOptions().dtype == "float32"
    assert TorchScriptOptions().batch_size == 1
    assert TorchScriptOptions().sequence_length is None
    assert not TorchScriptOptions().fixed_sizes
    assert not TorchScriptOptions().untie_weights
    assert NeuronOptions().target == "inf1"


@pytest.mark.parametrize(
    "formats",
    [
        "[onnx, torchscript]",
        "{onnx: {}, torchscript: {}}",
        "{onnx: , torchscript: }",
        "\n      onnx:\n      torchscript:",
        "\n    - torchscript\n    - onnx",
    ],
)
def test_formats_as_list_or_mapping(tmp_path: Path, formats: str) -> None:
    entry = only(tmp_path, f"version: 1\nmodels:\n  - name: a\n    model: a\n    formats: {formats}\n")
    assert entry.formats == Formats(onnx=OnnxOptions(), torchscript=TorchScriptOptions())


def test_every_option(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "texts.txt").write_text("one\n\ntwo\r\n")
    (tmp_path / "export_configs.py").write_text("class MyOnnxConfig:\n    pass\n")
    entry = only(
        tmp_path,
        """\
version: 1
models:
  - name: all
    model: ./model
    task: text-generation-with-past
    formats:
      onnx: {opset: 17, engine: legacy, dtype: bfloat16, axes: {batch: 1, sequence: dynamic}}
      torchscript: {batch_size: 2, sequence_length: 64, fixed_sizes: true, untie_weights: true}
      neuron: {target: trn1, batch_size: 4, sequence_length: 32, precision: fast, compiler_args: [--verbose, "1"]}
    validate: {atol: 1e-3, rtol: 0, reason: half precision, samples: texts.txt}
    config: export_configs.py:MyOnnxConfig
""",
    )
    assert entry.checkpoint == tmp_path / "model"
    assert entry.task == "text-generation-with-past"
    assert entry.canonical_task == "causal-lm-with-past"
    assert entry.formats.onnx == OnnxOptions(
        opset=17, engine="legacy", dtype="bfloat16", axes={"batch": 1, "sequence": "dynamic"}
    )
    assert entry.formats.torchscript == TorchScriptOptions(
        batch_size=2, sequence_length=64, fixed_sizes=True, untie_weights=True
    )
    assert entry.formats.neuron == NeuronOptions(
        target="trn1", batch_size=4, sequence_length=32, precision="fast", compiler_args=("--verbose", "1")
    )
    assert (entry.validation.atol, entry.validation.rtol, entry.validation.reason) == (1e-3, 0, "half precision")
    assert entry.samples is not None
    assert entry.samples.texts == ("one", "two")
    assert entry.custom_config is not None
    assert entry.custom_config.path == tmp_path / "export_configs.py"
    assert entry.custom_config.class_name == "MyOnnxConfig"
    assert entry.paths == (tmp_path / "model", tmp_path / "texts.txt", tmp_path / "export_configs.py")


def test_entries_are_frozen_and_travel_to_workers(tmp_path: Path) -> None:
    entry = only(tmp_path, "version: 1\nmodels: [{name: a, model: a}]\n")
    assert pickle.loads(pickle.dumps(entry)) == entry
    with pytest.raises(ValidationError):
        entry.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-5", 1e-5), ("1E-5", 1e-5), ("0.001", 0.001), ("1.", 1.0), (".5", 0.5), ("0x10", 16.0), ("3", 3.0)],
)
def test_numbers_as_in_yaml_1_2(tmp_path: Path, written: str, value: float) -> None:
    text = f"version: 1\nmodels:\n  - {{name: a, model: a, validate: {{atol: {written}, reason: no}}}}\n"
    entry = only(tmp_path, text)
    assert entry.validation.atol == value
    assert entry.validation.reason == "no"


def test_aliases_are_read(tmp_path: Path) -> None:
    text = """\
version: 1
models:
  - name: a
    model: a
    formats: &both {onnx: {opset: 19}, torchscript: }
  - name: b
    model: b
    formats: *both
"""
    first, second = manifest(tmp_path, text).entries
    assert first.formats == second.formats


class TestDefaults:
    TEXT = """\
version: 1
defaults:
  task: fill-mask
  formats:
    onnx: {opset: 17, engine: legacy, axes: {batch: 1}}
    torchscript: {batch_size: 2}
  validate: {atol: 1e-3, rtol: 1e-2, reason: of all, samples: texts.txt}
models:
"""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "texts.txt").write_text("text")
        return tmp_path

    def test_are_taken(self, folder: Path) -> None:
        entry = only(folder, self.TEXT + "  - {name: a, model: a}")
        assert entry.task == "fill-mask"
        assert entry.formats.onnx == OnnxOptions(opset=17, engine="legacy", axes={"batch": 1})
        assert entry.formats.torchscript == TorchScriptOptions(batch_size=2)
        assert entry.validation.reason == "of all"

    def test_merge_key_by_key(self, folder: Path) -> None:
        formats = "{onnx: {opset: 18, axes: {sequence: 8}}, torchscript: }"
        entry = only(folder, self.TEXT + f"  - {{name: a, model: a, task: default, formats: {formats}}}")
        assert entry.task == "default"
        assert entry.formats.onnx == OnnxOptions(opset=18, engine="legacy", axes={"batch": 1, "sequence": 8})
        assert entry.formats.torchscript == TorchScriptOptions(batch_size=2)

    @pytest.mark.parametrize("formats", ["[onnx]", "{onnx: }"])
    def test_a_model_says_which_formats_it_gets(self, folder: Path, formats: str) -> None:
        entry = only(folder, self.TEXT + f"  - {{name: a, model: a, formats: {formats}}}")
        assert entry.formats.names == ("onnx",)
        assert entry.formats.onnx is not None
        assert entry.formats.onnx.opset == 17

    def test_a_tolerance_keeps_its_own_reason(self, folder: Path) -> None:
        entry = only(folder, self.TEXT + "  - {name: a, model: a, validate: {atol: 1e-4, reason: its own}}")
        assert entry.validation == ValidationOptions(atol=1e-4, reason="its own", samples="texts.txt")


class TestFingerprint:
    def entry(self, folder: Path, text: str) -> dict[str, object]:
        return only(folder, f"version: 1\nmodels:\n{text}").canonical()

    def test_is_the_same_for_the_same_meaning(self, tmp_path: Path) -> None:
        first = self.entry(tmp_path, "  - {name: a, model: org/a, task: text-classification}")
        second = self.entry(
            tmp_path,
            "\n\n  - name: b\n    task: sequence-classification\n    model: org/a\n"
            "    formats: {torchscript: {batch_size: 1}, onnx: {opset: 18}}\n",
        )
        assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)

    @pytest.mark.parametrize(
        "difference",
        [
            "revision: v1",
            "task: default",
            "formats: [onnx]",
            "formats: {onnx: {opset: 17}, torchscript: }",
            "validate: {atol: 1, reason: r}",
        ],
    )
    def test_tells_what_decides_the_result(self, tmp_path: Path, difference: str) -> None:
        plain = self.entry(tmp_path, "  - {name: a, model: org/a}")
        assert self.entry(tmp_path, f"  - {{name: a, model: org/a, {difference}}}") != plain

    def test_of_another_commit_needs_no_files(self) -> None:
        text = "version: 1\nmodels: [{name: a, model: ./gone, validate: {samples: gone.txt}, config: gone.py:C}]"
        (entry,) = read_entries(text.encode(), Path("export.yml"))
        assert entry.canonical()["model"] == "./gone"

    def test_of_another_commit_that_was_wrong(self) -> None:
        text = b"version: 1\nmodels: [{name: a, model: a}, {name: A, model: a}]"
        with pytest.raises(ManifestErrors, match="taken at"):
            read_entries(text, Path("export.yml"))


class TestSelect:
    @pytest.fixture
    def three(self, tmp_path: Path) -> Manifest:
        return load([write(tmp_path / "export.yml", "bert", "gpt2", "vit")])

    def test_keeps_the_order_of_the_manifest(self, three: Manifest) -> None:
        assert [entry.name for entry in three.select(["vit", "bert"]).entries] == ["bert", "vit"]

    def test_of_nothing_is_everything(self, three: Manifest) -> None:
        assert three.select([]) == three

    def test_says_which_name_was_meant(self, three: Manifest) -> None:
        with pytest.raises(UnknownNameError) as caught:
            three.select(["brt", "vit", "zzz"])
        problem = caught.value.problem
        assert problem.kind == "unknown-name"
        assert problem.message == "no model of the manifest is called 'brt' (did you mean 'bert'?) or 'zzz'."
        assert problem.hint == "It has: bert, gpt2, vit."


class TestSeveral:
    def test_are_one(self, tmp_path: Path) -> None:
        (tmp_path / ".git").mkdir()
        paths = [write(tmp_path / "a" / "export.yml", "one"), write(tmp_path / "b" / "export.yml", "two")]
        found = load(paths)
        assert [entry.name for entry in found.entries] == ["one", "two"]
        assert [entry.source.path for entry in found.entries] == ["a/export.yml", "b/export.yml"]
        assert [entry.folder for entry in found.entries] == [tmp_path / "a", tmp_path / "b"]
        assert {entry.root for entry in found.entries} == {tmp_path}
        assert found.paths == tuple(paths)

    def test_names_are_unique_over_all(self, tmp_path: Path) -> None:
        first, second = write(tmp_path / "a.yml", "bert"), write(tmp_path / "b.yml", "vit", "BERT")
        with pytest.raises(ManifestErrors) as caught:
            load([first, second])
        differs = "which differs from 'bert' only in case,"
        assert str(caught.value) == f"{second}:4:12: name: the name 'BERT', {differs} is taken at {first}:3"

    def test_errors_of_all_are_told_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "a.yml").write_text("version: 1\nmodels: []\n")
        (tmp_path / "b.yml").write_text("version: 1\nmodels: 3\n")
        with pytest.raises(ManifestErrors) as caught:
            load([tmp_path / "a.yml", tmp_path / "b.yml", tmp_path / "c.yml"])
        assert [Path(error.source.path).name for error in caught.value.errors] == ["a.yml", "b.yml", "c.yml"]

    def test_one_file_twice(self, tmp_path: Path) -> None:
        path = write(tmp_path / "export.yml", "bert")
        with pytest.raises(ManifestErrors, match="the same file"):
            load([path, tmp_path / "." / "x" / ".." / "export.yml"])


def test_source_outside_a_checkout_is_as_the_caller_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "sub" / "export.yml", "bert")
    monkeypatch.chdir(tmp_path)
    (entry,) = load([Path("sub/export.yml")]).entries
    assert entry.source.path == "sub/export.yml"
    assert entry.root == tmp_path / "sub"


def test_importing_the_manifest_stays_light() -> None:
    code = "import sys, exporter.manifest; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "transformers", "onnx", "onnxruntime", "numpy", "huggingface_hub"} & set(loaded)
