"""Mistakes in a manifest: each is told with its line, what was expected and the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.manifest import ManifestErrors, load, parse

GOLDEN = Path(__file__).parents[1] / "golden" / "manifest"

MODEL = "version: 1\nmodels:\n  - name: a\n    model: org/a\n"


def errors(text: str, folder: Path) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        parse(text.encode(), folder / "export.yml")
    return [str(error).removeprefix(f"{folder}/") for error in caught.value.errors]


def test_prints_as_editors_link_it(tmp_path: Path) -> None:
    text = f"{MODEL}    # one\n    # two\n    task: sequence-clasification\n"
    assert errors(text, tmp_path) == [
        "export.yml:7:11: task: 'sequence-clasification' is not a task; did you mean 'sequence-classification'?"
    ]


def test_all_at_once(tmp_path: Path) -> None:
    """`tests/golden/manifest/wrong.txt` is everything that is said about `wrong.yml`."""
    (tmp_path / "models" / "bert-base").mkdir(parents=True)
    path = tmp_path / "wrong.yml"
    path.write_bytes((GOLDEN / "wrong.yml").read_bytes())
    with pytest.raises(ManifestErrors) as caught:
        load([path])
    assert str(caught.value).replace(f"{tmp_path}/", "") + "\n" == (GOLDEN / "wrong.txt").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: [{name: a, model: a}]", ["1:1: 'version' is missing: Version of the manifest's format"]),
        ("version: 1", ["1:1: 'models' is missing: The models to export"]),
        ("version: 2\nmodels: [{name: a, model: a}]", ["1:10: version: expected 1, got the number 2"]),
        ("version: '1'\nmodels: [{name: a, model: a}]", ["1:10: version: expected 1, got the text '1'"]),
        ("version: true\nmodels: [{name: a, model: a}]", ["1:10: version: expected 1, got true"]),
        ("version: 1.0\nmodels: [{name: a, model: a}]", ["1:10: version: expected 1, got the number 1.0"]),
        ("version: 1\nmodels: []", ["2:9: models: names no model; expected a list with at least one"]),
        (
            "version: 1\nmodels:",
            ["2:8: models: nothing is written here; give a value, or leave the key out"],
        ),
        ("version: 1\nmodels: {a: b}", ["2:9: models: expected a list, got a mapping"]),
        ("- a\n- b", ["1:1: expected a mapping with 'version', 'defaults' and 'models'"]),
        (
            "version: 1\nmodel: [{name: a, model: a}]",
            ["1:1: 'models' is missing: The models to export", "2:1: unknown key 'model'; did you mean 'models'?"],
        ),
        (
            "version: 1\nmodels:\n  - bert",
            ["3:5: models[0]: expected a mapping (lines of 'key: value'), got the text 'bert'"],
        ),
    ],
)
def test_of_the_document(text: str, expected: list[str], tmp_path: Path) -> None:
    assert errors(text, tmp_path) == [f"export.yml:{error}" for error in expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("taks: default", "5:5: models[0]: unknown key 'taks'; did you mean 'task'?"),
        ("feature: default", "5:5: models[0]: unknown key 'feature'; did you mean 'task'?"),
        ("opset: 17", "5:5: models[0]: unknown key 'opset' here; 'opset' belongs in 'formats.onnx'"),
        (
            "batch_size: 1",
            "5:5: models[0]: unknown key 'batch_size' here; 'batch_size' belongs in "
            "'formats.torchscript' or 'formats.neuron'",
        ),
        (
            "zzz: 1",
            "5:5: models[0]: unknown key 'zzz'; expected "
            "'task', 'formats', 'validate', 'config', 'name', 'model' or 'revision'",
        ),
        ("revision: 1234567", "5:15: revision: expected text, got the number 1234567; put it in quotes: '1234567'"),
        ("revision: 1e10", "5:15: revision: expected text, got the number 1e10; put it in quotes: '1e10'"),
        ("revision: 0000000", "5:15: revision: expected text, got the number 0000000; put it in quotes: '0000000'"),
        ("revision: true", "5:15: revision: expected text, got true; put it in quotes: 'true'"),
        ("revision: a b", "5:15: revision: expected a commit, branch or tag, got 'a b'"),
        ("revision: ../x", "5:15: revision: expected a commit, branch or tag, got '../x'"),
        ("revision: []", "5:15: revision: expected text, got an empty list"),
        ("revision:", "5:14: revision: nothing is written here; give a value, or leave the key out"),
        ("revision: ''", "5:15: revision: expected a commit, branch or tag, got ''"),
        ("task: [default]", "5:11: task: expected text, got a list of 1"),
        ("task: bert", "5:11: task: 'bert' is not a task"),
        (
            "task: masked-lm-with-past",
            "5:11: task: 'masked-lm-with-past': the task 'masked-lm' has no key/value cache; drop '-with-past'",
        ),
        (
            "formats: onnx",
            "5:14: formats: expected a list such as [onnx, torchscript], or a mapping, got the text 'onnx'",
        ),
        (
            "formats: []",
            "5:14: formats: names no format; expected at least one of 'onnx', 'torchscript', 'neuron'",
        ),
        (
            "formats: {}",
            "5:14: formats: names no format; expected at least one of 'onnx', 'torchscript', 'neuron'",
        ),
        ("formats: [onnx, torchscrip]", "5:21: formats: unknown format 'torchscrip'; did you mean 'torchscript'?"),
        ("formats: [1]", "5:15: formats: expected the name of a format, got '1'"),
        ("formats: [onnx, onnx]", "5:21: formats: the format 'onnx' is given twice"),
        (
            "formats:\n      - onnx: {opset: 18}",
            "6:9: formats: expected the name of a format in this list; "
            "to give options, write all formats as a mapping, without dashes",
        ),
        ("formats: {onnx: 18}", "5:21: formats.onnx: expected a mapping (lines of 'key: value'), got the number 18"),
        (
            "formats: {onnx: {opset: '18'}}",
            "5:29: formats.onnx.opset: expected a whole number, got the text '18'; leave the quotes out",
        ),
        (
            "formats: {onnx: {opset: 18.5}}",
            "5:29: formats.onnx.opset: expected a whole number, got the number 18.5",
        ),
        ("formats: {onnx: {opset: true}}", "5:29: formats.onnx.opset: expected a whole number, got true"),
        ("formats: {onnx: {opset: 10}}", "5:29: formats.onnx.opset: expected at least 11, got the number 10"),
        ("formats: {onnx: {opset: 26}}", "5:29: formats.onnx.opset: expected at most 25, got the number 26"),
        (
            "formats: {onnx: {opset: 17, engine: dynamo}}",
            "5:41: formats.onnx.engine: the engine 'dynamo' writes opsets 18 to 25, not 17; 'legacy' does",
        ),
        (
            "formats: {onnx: {engine: legacy, opset: 21}}",
            "5:30: formats.onnx.engine: the engine 'legacy' writes opsets 11 to 20, not 21; 'dynamo' does",
        ),
        (
            "formats: {onnx: {engine: torchdynamo}}",
            "5:30: formats.onnx.engine: expected 'auto', 'dynamo' or 'legacy', "
            "got the text 'torchdynamo'; did you mean 'dynamo'?",
        ),
        (
            "formats: {onnx: {dtype: fp16}}",
            "5:29: formats.onnx.dtype: expected 'float32', 'float16' or 'bfloat16', "
            "got the text 'fp16'; did you mean 'float16'?",
        ),
        (
            "formats: {onnx: {axes: {batch: 0}}}",
            "5:36: formats.onnx.axes.batch: expected the size of this axis (at least 1) or 'dynamic', got 0",
        ),
        (
            "formats: {onnx: {axes: {Batch: 1}}}",
            "5:29: formats.onnx.axes.Batch: expected the name of an axis such as 'batch' or 'sequence', got 'Batch'",
        ),
        (
            "formats: {torchscript: {fixed_sizes: yes}}",
            "5:42: formats.torchscript.fixed_sizes: expected true or false, got the text 'yes'; did you mean 'true'?",
        ),
        (
            "formats: {torchscript: {sequence_length: 0}}",
            "5:46: formats.torchscript.sequence_length: expected at least 1, got the number 0",
        ),
        (
            "formats: {neuron: {compiler_args: --fast}}",
            "5:39: formats.neuron.compiler_args: expected a list, got the text '--fast'",
        ),
        ("validate: {atol: 1e-3}", "5:22: validate.atol: 'atol' needs a 'reason' beside it, which the report shows"),
        ("validate: {rtol: 0}", "5:22: validate.rtol: 'rtol' needs a 'reason' beside it, which the report shows"),
        ("validate: {atol: 1, reason: ' '}", "5:33: validate.reason: expected text, got only blanks"),
        (
            "validate: {reason: why}",
            "5:24: validate.reason: a reason explains a tolerance: expected 'atol' or 'rtol' beside it",
        ),
        ("validate: {atol: .inf, reason: r}", "5:22: validate.atol: expected a finite number, got the number .inf"),
        (
            "validate: {atol: '1e-3', reason: r}",
            "5:22: validate.atol: expected a number, got the text '1e-3'; leave the quotes out",
        ),
        ("validate: {rtol: -1, reason: r}", "5:22: validate.rtol: expected at least 0, got the number -1"),
        (
            "config: MyOnnxConfig",
            "5:13: config: expected a file and a class such as 'export_configs.py:MyOnnxConfig', got 'MyOnnxConfig'",
        ),
        ("name: b", "5:5: the key 'name' is given twice; the first is on line 3"),
        ("1: x", "5:5: the key '1' is not text; put it in quotes"),
        ("[a]: x", "5:5: this key is a list or a mapping; keys are text"),
        ("<<: {task: default}", "5:5: merge keys ('<<') are not read; put shared options under 'defaults'"),
    ],
)
def test_of_a_model(line: str, expected: str, tmp_path: Path) -> None:
    assert errors(f"{MODEL}    {line}\n", tmp_path) == [f"export.yml:{expected}"]


@pytest.mark.parametrize("name", ["a", "A-1", "all-MiniLM-L6-v2", "v1.0", "_x", "x" * 100, "console", "com10"])
def test_names_that_are_file_names(name: str, tmp_path: Path) -> None:
    (entry,) = parse(f"version: 1\nmodels: [{{name: {name}, model: a}}]".encode(), tmp_path / "m.yml").entries
    assert entry.name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("org/name", "did you mean 'org-name'?"),
        ("../up", "did you mean 'up'?"),
        ("my model", "did you mean 'my-model'?"),
        (".hidden", "did you mean 'hidden'?"),
        ("-rf", "did you mean 'rf'?"),
        ("a.", "did you mean 'a'?"),
        ("modèle", "did you mean 'mod-le'?"),
        ("a:b", "did you mean 'a-b'?"),
        ("a\\u202eb", "did you mean 'a-b'?"),
        ("CON", "a device on Windows"),
        ("nul.txt", "a device on Windows"),
        ("lpt1", "a device on Windows"),
        ("export-report.json", "a file that the run writes itself"),
        ("Export-Report.md", "a file that the run writes itself"),
        ("x" * 101, "at most 100 characters"),
        ("", "expected a name"),
    ],
)
def test_names_that_are_not(name: str, reason: str, tmp_path: Path) -> None:
    (error,) = errors(f'version: 1\nmodels: [{{name: "{name}", model: a}}]', tmp_path)
    assert error.startswith("export.yml:2:17: name: ")
    assert reason in error


def test_foreign_text_stays_on_its_line(tmp_path: Path) -> None:
    assert errors(f'{MODEL}    "a\\n::error::b":\n', tmp_path) == [
        "export.yml:5:5: models[0]: unknown key 'a\\n::error::b'; expected "
        "'task', 'formats', 'validate', 'config', 'name', 'model' or 'revision'",
        "export.yml:5:21: 'a\\n::error::b': nothing is written here; give a value, or leave the key out",
    ]


class TestDefaults:
    def test_a_mistake_is_told_once(self, tmp_path: Path) -> None:
        models = "".join(f"  - {{name: m{number}, model: m}}\n" for number in range(50))
        text = f"version: 1\ndefaults: {{task: fil-mask, formats: {{onnx: {{opset: 3}}}}}}\nmodels:\n{models}"
        assert errors(text, tmp_path) == [
            "export.yml:2:18: defaults.task: 'fil-mask' is not a task; did you mean 'fill-mask'?",
            "export.yml:2:52: defaults.formats.onnx.opset: expected at least 11, got the number 3",
        ]

    def test_a_mistake_is_told_without_models_too(self, tmp_path: Path) -> None:
        text = "version: 1\ndefaults: {task: x}\nmodels: []"
        assert errors(text, tmp_path)[0] == "export.yml:2:18: defaults.task: 'x' is not a task"

    def test_what_belongs_to_a_model(self, tmp_path: Path) -> None:
        text = "version: 1\ndefaults: {revision: main}\nmodels: [{name: a, model: a}]"
        assert errors(text, tmp_path) == [
            "export.yml:2:12: defaults: unknown key 'revision' here; 'revision' belongs in 'models'"
        ]

    def test_a_conflict_is_told_at_the_model(self, tmp_path: Path) -> None:
        text = """\
version: 1
defaults: {formats: {onnx: {opset: 12}}}
models:
  - {name: a, model: a, formats: {onnx: {engine: dynamo}}}
  - {name: b, model: b}
"""
        assert errors(text, tmp_path) == [
            "export.yml:4:50: formats.onnx.engine: the engine 'dynamo' writes opsets 18 to 25, not 12; 'legacy' does"
        ]

    def test_a_conflict_within_the_defaults(self, tmp_path: Path) -> None:
        text = """\
version: 1
defaults: {formats: {onnx: {opset: 12, engine: dynamo}}}
models: [{name: a, model: a}, {name: b, model: b}]
"""
        assert errors(text, tmp_path) == [
            "export.yml:2:48: defaults.formats.onnx.engine: "
            "the engine 'dynamo' writes opsets 18 to 25, not 12; 'legacy' does"
        ]

    def test_a_conflict_with_the_models_opset(self, tmp_path: Path) -> None:
        text = """\
version: 1
defaults: {formats: {onnx: {engine: dynamo}}}
models: [{name: a, model: a, formats: {onnx: {opset: 12}}}]
"""
        assert errors(text, tmp_path) == [
            "export.yml:3:54: formats.onnx.opset: the engine 'dynamo' writes opsets 18 to 25, not 12; 'legacy' does"
        ]

    def test_a_tolerance_needs_its_own_reason(self, tmp_path: Path) -> None:
        text = """\
version: 1
defaults: {validate: {atol: 1, reason: of all}}
models: [{name: a, model: a, validate: {atol: 2}}]
"""
        assert errors(text, tmp_path) == [
            "export.yml:3:47: validate.atol: 'atol' needs a 'reason' beside it, which the report shows"
        ]

    def test_a_path_is_told_once_where_it_is_written(self, tmp_path: Path) -> None:
        text = """\
version: 1
defaults: {validate: {samples: gone.txt}}
models: [{name: a, model: a}, {name: b, model: b}]
"""
        assert errors(text, tmp_path) == [
            "export.yml:2:32: defaults.validate.samples: there is no file or folder 'gone.txt'"
        ]


def test_a_model_repeated_by_an_alias(tmp_path: Path) -> None:
    text = "version: 1\nmodels: [&m {name: a, model: a}, *m]"
    assert errors(text, tmp_path) == [f"export.yml:2:20: name: the name 'a' is taken at {tmp_path}/export.yml:2"]


def test_a_thousand_mistakes_print_as_a_hundred(tmp_path: Path) -> None:
    with pytest.raises(ManifestErrors) as caught:
        parse(("version: 1\nmodels:\n" + "  - x\n" * 1000).encode(), tmp_path / "export.yml")
    assert len(caught.value.errors) == 1000
    assert str(caught.value).splitlines()[-1] == "... and 900 more errors"
    assert len(str(caught.value).splitlines()) == 101
