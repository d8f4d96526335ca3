"""What the files of a checkpoint say, without loading weights."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_checkpoints import SIZES, Checkpoint, edit_weights, pickle_weights, problem, write_config

from exporter.checkpoint_files import inspect, is_lfs_pointer, read_json, shard_names
from exporter.checkpoint_files.headers import safetensors_header
from exporter.results import ExportError

ROOT = Path(__file__).parents[3]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 437955512\n"


def test_inspecting_imports_nothing_heavy(saved: Callable[[str], Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from exporter.checkpoint_files import inspect\n"
        f"print(inspect(Path({str(saved('BertForMaskedLM'))!r})).task.name)\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output == "masked-lm\n[]\n"


def test_tells_task_type_format_and_size(saved: Callable[[str], Path]) -> None:
    folder = saved("BertForSequenceClassification")
    found = inspect(folder)
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    assert (found.task.name, found.with_past, found.model_type) == ("sequence-classification", False, "bert")
    assert found.weights_format == "safetensors"
    assert found.parameters == model.num_parameters()
    assert found.bytes == (folder / "model.safetensors").stat().st_size
    assert found.dtypes == ("F32",)


def test_integers_are_no_parameters(checkpoint: Checkpoint) -> None:
    folder = checkpoint()
    before = inspect(folder).parameters
    edit_weights(folder, lambda tensors: tensors.update({"embeddings.position_ids": torch.arange(64)}))
    assert inspect(folder).parameters == before


@pytest.mark.parametrize(
    ("asked", "task", "with_past"),
    [
        (None, "default", False),
        ("feature-extraction", "default", False),
        ("fill-mask", "masked-lm", False),
        ("causal-lm-with-past", "causal-lm", True),
        ("text-generation-with-past", "causal-lm", True),
    ],
)
def test_the_task_is_the_one_asked_for_else_the_checkpoints(
    saved: Callable[[str], Path], asked: str | None, task: str, with_past: bool
) -> None:
    found = inspect(saved("BertModel"), asked)
    assert (found.task.name, found.with_past) == (task, with_past)


def test_shards_and_pickles_are_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(sharded, max_shard_size="30KB")
    assert len(inspect(sharded).weights) > 1
    assert inspect(sharded).parameters == inspect(checkpoint()).parameters
    pickled = tmp_path / "checkpoint"
    pickle_weights(pickled)
    assert inspect(pickled).weights_format == "pytorch"
    assert inspect(pickled).parameters is None


def test_safetensors_are_preferred(checkpoint: Checkpoint) -> None:
    folder = checkpoint()
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "tf_model.h5").write_bytes(b"")
    assert inspect(folder).weights_format == "safetensors"


def test_weights_under_a_name_of_their_own(checkpoint: Checkpoint) -> None:
    folder = checkpoint(transformers_weights="mine.safetensors")
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    assert [file.name for file in inspect(folder).weights] == ["mine.safetensors"]
    write_config(folder, transformers_weights="../mine.safetensors")
    assert problem(inspect, folder).kind == "bad-index"


def test_a_sentence_transformers_checkpoint_is_noted(checkpoint: Checkpoint) -> None:
    folder = checkpoint()
    (folder / "modules.json").write_text("[]")
    (note,) = inspect(folder).notes
    assert "pooling" in note


class TestLfsPointers:
    """What actions/checkout leaves in place of large files, unless it is told otherwise."""

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    def test_are_named_with_the_way_out(self, checkpoint: Checkpoint, name: str) -> None:
        folder = checkpoint()
        (folder / name).write_bytes(POINTER)
        found = problem(inspect, folder)
        assert found.kind == "lfs-pointer"
        assert name in found.message
        assert "`lfs: true`" in found.hint
        assert "actions/checkout" in found.hint

    def test_one_shard_of_several(self, tmp_path: Path) -> None:
        folder = tmp_path / "sharded"
        transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(folder, max_shard_size="30KB")
        second = sorted(folder.glob("model-*"))[1]
        second.write_bytes(POINTER)
        found = problem(inspect, folder)
        assert found.kind == "lfs-pointer"
        assert second.name in found.message

    def test_nothing_else_is_taken_for_one(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        for content in (b"", POINTER[1:], POINTER + b" " * 2000, b"\x00" * 200):
            file.write_bytes(content)
            assert not is_lfs_pointer(file)
        assert not is_lfs_pointer(tmp_path)
        assert not is_lfs_pointer(tmp_path / "absent")


class TestConfig:
    """Faults of ``config.json``."""

    def test_no_folder_and_no_folder_but_a_file(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        assert problem(inspect, folder / "absent").kind == "no-checkpoint"
        found = problem(inspect, folder / "model.safetensors")
        assert found.kind == "no-checkpoint"
        assert str(folder) in found.hint

    def test_no_config_with_a_hint_at_where_it_may_be(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        checkpoint()
        found = problem(inspect, tmp_path)
        assert found.kind == "no-config"
        assert "checkpoint" in found.hint
        (tmp_path / "model_index.json").write_text("{}")
        assert "diffusers" in problem(inspect, tmp_path).hint
        (tmp_path / "adapter_config.json").write_text("{}")
        assert "merge_and_unload" in problem(inspect, tmp_path).hint
        empty = tmp_path / "empty"
        empty.mkdir()
        assert "save_pretrained" in problem(inspect, empty).hint
        (empty / "llama-q4.gguf").write_bytes(b"GGUF")
        assert "GGUF" in problem(inspect, empty).hint

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b'{\n  "model_type": bert\n}', "config.json:2:17 is not JSON"),
            (b"", "config.json:1:1 is not JSON"),
            (b"[]", "no JSON object"),
            (b"\xff\xfe{", "not UTF-8"),
            (b"[" * 100_000, "nested"),
        ],
    )
    def test_what_is_no_json(self, checkpoint: Checkpoint, content: bytes, words: str) -> None:
        folder = checkpoint()
        (folder / "config.json").write_bytes(content)
        found = problem(inspect, folder)
        assert found.kind == "bad-config"
        assert words in found.message

    def test_generation_settings_that_are_broken(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        (folder / "generation_config.json").write_text("{")
        found = problem(inspect, folder)
        assert found.kind == "bad-config"
        assert "generation_config.json:1:2" in found.message

    def test_a_byte_order_mark_does_no_harm(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        config = (folder / "config.json").read_bytes()
        (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + config)
        assert inspect(folder).model_type == "bert"

    @pytest.mark.parametrize(
        ("changes", "kind", "words"),
        [
            ({"architectures": None}, "no-architectures", "`task:`"),
            ({"architectures": []}, "no-architectures", "`task:`"),
            (
                {"architectures": ["BertModel", "BertForMaskedLM"]},
                "several-architectures",
                "BertModel, BertForMaskedLM",
            ),
            ({"architectures": ["BertForPreTraining"]}, "unknown-task", "BertForPreTraining"),
            ({"architectures": "BertModel"}, "bad-config", "list of class names"),
            ({"architectures": [1]}, "bad-config", "list of class names"),
            ({"model_type": None}, "no-model-type", "model_type"),
            ({"model_type": 3}, "no-model-type", "model_type"),
            ({"quantization_config": {"quant_method": "gptq"}}, "quantised", "gptq"),
        ],
    )
    def test_values(self, checkpoint: Checkpoint, changes: dict[str, Any], kind: str, words: str) -> None:
        found = problem(inspect, checkpoint(**changes))
        assert found.kind == kind
        assert words in f"{found.message} {found.hint}"

    @pytest.mark.parametrize("architectures", [[], ["BertModel", "BertForMaskedLM"], ["BertForPreTraining"]])
    def test_a_task_settles_what_architectures_leave_open(
        self, checkpoint: Checkpoint, architectures: list[str]
    ) -> None:
        assert inspect(checkpoint(architectures=architectures), "masked-lm").task.name == "masked-lm"

    def test_a_task_that_is_none(self, saved: Callable[[str], Path]) -> None:
        assert "masked-lm" in problem(inspect, saved("BertModel"), "maskd-lm").message


class TestWeights:
    """Faults of the weights that show without loading them."""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("flax_model.msgpack", "Flax"),
            ("model-q4.gguf", "GGUF"),
            ("saved_model.pb", "SavedModel"),
            ("saved_model/saved_model.pb", "SavedModel"),
            ("bert_model.ckpt.index", "TensorFlow 1"),
            ("model.fp16.safetensors", "variant"),
            ("onnx/model.onnx", "ONNX"),
        ],
    )
    def test_only_such_as_cannot_be_loaded(self, checkpoint: Checkpoint, name: str, words: str) -> None:
        folder = checkpoint()
        (folder / "model.safetensors").unlink()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0" * 100)
        found = problem(inspect, folder)
        assert found.kind == "unsupported-weights"
        assert words in found.message
        assert name in found.message
        assert "save_pretrained" in found.hint

    def test_none(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        (folder / "model.safetensors").unlink()
        assert problem(inspect, folder).kind == "no-weights"

    def test_an_adapter_beside_the_model(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        (folder / "adapter_config.json").write_text("{}")
        found = problem(inspect, folder)
        assert found.kind == "adapter"
        assert "merge_and_unload" in found.hint

    def test_written_for_another_framework(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        save_file({"a": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "tf"})
        assert problem(inspect, folder).kind == "unsupported-weights"

    @pytest.mark.parametrize(
        ("index", "kind", "words"),
        [
            ({"weight_map": {"a": "gone.safetensors", "b": "model.safetensors"}}, "missing-shards", "gone.safetensors"),
            ({"weight_map": {"a": "../../etc/passwd"}}, "bad-index", "../../etc/passwd"),
            ({"weight_map": {"a": "/etc/passwd"}}, "bad-index", "/etc/passwd"),
            ({"weight_map": {"a": ".."}}, "bad-index", "'..'"),
            ({"weight_map": {}}, "bad-index", "weight_map"),
            ({"weight_map": {"a": 1}}, "bad-index", "weight_map"),
            ([], "bad-index", "weight_map"),
        ],
    )
    def test_an_index_that_does_not_hold(self, checkpoint: Checkpoint, index: Any, kind: str, words: str) -> None:
        folder = checkpoint()
        (folder / "model.safetensors").rename(folder / "elsewhere.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        found = problem(inspect, folder)
        assert found.kind == kind
        assert words in found.message

    def test_a_pickle_cut_short(self, checkpoint: Checkpoint) -> None:
        file = pickle_weights(checkpoint())
        file.write_bytes(file.read_bytes()[:-100])
        assert problem(inspect, file.parent).kind == "truncated-weights"
        file.write_bytes(b"")
        assert problem(inspect, file.parent).kind == "truncated-weights"

    @settings(max_examples=40, deadline=None)
    @given(part=st.floats(min_value=0, max_value=1, exclude_max=True))
    def test_safetensors_cut_anywhere(self, saved: Callable[[str], Path], part: float) -> None:
        content = (saved("BertModel") / "model.safetensors").read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(content[: int(len(content) * part)])
            found = problem(safetensors_header, file)
        assert found.kind in ("truncated-weights", "bad-weights")
        assert str(file) in found.message


class TestAnyBytes:
    """Whatever a file holds: an answer, or a problem that names the file; never another exception."""

    @settings(max_examples=200, deadline=None)
    @given(content=st.binary(max_size=200))
    def test_as_safetensors(self, content: bytes) -> None:
        self.check(safetensors_header, content)

    @settings(max_examples=60, deadline=None)
    @given(
        header=st.recursive(
            st.none() | st.integers() | st.text(),
            lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3),
        )
    )
    def test_as_a_safetensors_header(self, header: object) -> None:
        raw = json.dumps(header).encode()
        self.check(safetensors_header, len(raw).to_bytes(8, "little") + raw)

    @settings(max_examples=200, deadline=None)
    @given(content=st.binary(max_size=50))
    def test_as_json(self, content: bytes) -> None:
        self.check(read_json, content)

    @settings(max_examples=200, deadline=None)
    @given(names=st.dictionaries(st.text(), st.text() | st.integers()))
    def test_as_an_index(self, names: dict[str, Any]) -> None:
        self.check(shard_names, json.dumps({"weight_map": names}).encode())

    def check(self, read: Callable[[Path], object], content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "weights-or-text"
            file.write_bytes(content)
            with suppress_problems_of(file):
                read(file)


@contextmanager
def suppress_problems_of(file: Path) -> Iterator[None]:
    try:
        yield
    except ExportError as error:
        if file.name not in error.problem.message:
            raise
