"""The Python API and the command line that the guides of ``transformers.onnx`` show, as the guides show them."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, TimesformerConfig
from transformers import TimesformerModel as Timesformer

import exporter.onnx
from exporter import architectures
from exporter.architectures import Axes
from exporter.onnx import (
    DistilBertOnnxConfig,
    OnnxConfig,
    OnnxConfigWithPast,
    OnnxSeq2SeqConfigWithPast,
    OutputMatchError,
    export,
    validate_model_outputs,
)
from exporter.onnx.features import FeaturesManager
from exporter.onnx.ready import READY_CLASSES
from exporter.results import ExportError

MakeCheckpoint = Callable[[str, str], Path]

TOKENS: Axes = {0: "batch", 1: "sequence"}


class Plain(OnnxConfig):
    @property
    def inputs(self) -> Mapping[str, Axes]:
        return OrderedDict([("input_ids", TOKENS), ("attention_mask", TOKENS)])


class Writer(OnnxConfigWithPast):
    @property
    def inputs(self) -> Mapping[str, Axes]:
        inputs: dict[str, Axes] = OrderedDict({"input_ids": TOKENS})
        if self.use_past:
            self.fill_with_past_key_values_(inputs, direction="inputs")
        inputs["attention_mask"] = {0: "batch", 1: "past_sequence + sequence"} if self.use_past else TOKENS
        return inputs

    @property
    def num_layers(self) -> int:
        return int(self._config.n_layer)


class Translator(OnnxSeq2SeqConfigWithPast):
    default_onnx_opset = 13

    @property
    def inputs(self) -> Mapping[str, Axes]:
        read: Axes = {0: "batch", 1: "encoder_sequence"}
        inputs: dict[str, Axes] = {"input_ids": read, "attention_mask": read}
        inputs["decoder_input_ids"] = {0: "batch", 1: "decoder_sequence"}
        if self.use_past:
            self.fill_with_past_key_values_(inputs, direction="inputs")
        return inputs


class Film(OnnxConfig):
    """Frames of a film, of which no generator here knows: the signature is that of the guides."""

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {"pixel_values": {0: "batch"}}

    def generate_dummy_inputs(  # type: ignore[override]
        self, tokenizer: Any, batch_size: int = -1, seq_length: int = -1, is_pair: bool = False, framework: Any = None
    ) -> Mapping[str, torch.Tensor]:
        assert tokenizer == "the preprocessor"
        return {"pixel_values": torch.ones(batch_size, 2, 3, 16, 16)}


def test_the_guide_runs_as_it_is_written(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint, path = make_checkpoint("distilbert", "default"), tmp_path / "model.onnx"
    config, base_model = AutoConfig.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint)
    onnx_config = DistilBertOnnxConfig(config)
    assert onnx_config.outputs == OrderedDict([("last_hidden_state", TOKENS)])
    assert DistilBertOnnxConfig(config, task="sequence-classification").outputs == {"logits": {0: "batch"}}
    assert onnx_config.default_onnx_opset == 11

    onnx_inputs, onnx_outputs = export(None, base_model, onnx_config, onnx_config.default_onnx_opset, path)

    assert (onnx_inputs, onnx_outputs) == (["input_ids", "attention_mask"], ["last_hidden_state"])
    onnx.checker.check_model(onnx.load(path))
    validate_model_outputs(onnx_config, None, base_model, path, onnx_outputs, onnx_config.atol_for_validation)


def test_another_model_than_the_files_is_told_apart(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(make_checkpoint("distilbert", "default"))
    config = DistilBertOnnxConfig(model.config)
    _, outputs = export(None, model, config, 14, tmp_path / "model.onnx")
    with torch.no_grad():
        model.embeddings.LayerNorm.weight.mul_(1.01)
    with pytest.raises(OutputMatchError, match="values not close enough"):
        validate_model_outputs(config, None, model, tmp_path / "model.onnx", outputs, 1e-4)


def test_features_are_told_by_type() -> None:
    known = FeaturesManager.get_supported_features_for_model_type("distilbert")
    assert list(known) == [
        "default",
        "masked-lm",
        "sequence-classification",
        "multiple-choice",
        "token-classification",
        "question-answering",
    ]
    for spelling in ("gpt-neo", "gpt_neo"):
        assert "causal-lm-with-past" in FeaturesManager.get_supported_features_for_model_type(spelling)
    with pytest.raises(KeyError, match="nonsense is not supported"):
        FeaturesManager.get_supported_features_for_model_type("nonsense")


def test_every_described_type_has_a_class_of_the_documented_name() -> None:
    assert set(READY_CLASSES.values()) <= set(architectures.model_types())
    assert len(READY_CLASSES) == 61
    for name, model_type in READY_CLASSES.items():
        found = getattr(exporter.onnx, name)
        assert (found.__name__, found.model_type) == (name, model_type)
        assert issubclass(found, OnnxConfig)


@pytest.mark.parametrize("use_past", [False, True])
def test_a_decoder_described_by_hand(use_past: bool, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_checkpoint("gpt2", "causal-lm"))
    config = Writer(model.config, task="causal-lm", use_past=use_past)
    inputs, outputs = export(None, model, config, 14, tmp_path / "model.onnx")
    assert ("past_key_values.1.value" in inputs, "present.1.value" in outputs) == (use_past, use_past)
    validate_model_outputs(config, None, model, tmp_path / "model.onnx", outputs, 1e-4)


@pytest.mark.parametrize("use_past", [False, True])
def test_an_encoder_decoder_described_by_hand(use_past: bool, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(make_checkpoint("t5", "seq2seq-lm"))
    config = Translator(model.config, task="seq2seq-lm", use_past=use_past)
    inputs, outputs = export(None, model, config, config.default_onnx_opset, tmp_path / "model.onnx")
    assert ("past_key_values.1.encoder.key" in inputs) == use_past
    validate_model_outputs(config, None, model, tmp_path / "model.onnx", outputs, 1e-4)


def test_values_of_ones_own_are_made_with_the_preprocessor(tmp_path: Path) -> None:
    sizes = {"image_size": 16, "patch_size": 8, "num_frames": 2, "hidden_size": 32, "intermediate_size": 32}
    torch.manual_seed(0)
    model = Timesformer(TimesformerConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)).eval()
    config = Film(model.config)
    _, outputs = export("the preprocessor", model, config, 14, tmp_path / "model.onnx")
    validate_model_outputs(config, "the preprocessor", model, tmp_path / "model.onnx", outputs, 1e-4)


def test_a_sum_of_axes_that_no_input_has_is_named(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    class Sums(Plain):
        @property
        def inputs(self) -> Mapping[str, Axes]:
            return {**super().inputs, "attention_mask": {0: "batch", 1: "past + sequence"}}

    model = AutoModel.from_pretrained(make_checkpoint("distilbert", "default"))
    with pytest.raises(ExportError, match="no input has an axis 'past'"):
        export(None, model, Sums(model.config), 14, tmp_path / "model.onnx")


# The command line


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter.onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_command_writes_a_model_and_the_lines_people_know(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint("distilbert", "sequence-classification")
    feature = "--feature=sequence-classification"
    done = run(f"--model={checkpoint}", feature, "--opset=14", "--atol=1e-4", f"{tmp_path}/onnx/")

    path = tmp_path / "onnx" / "model.onnx"
    assert done.stdout.splitlines() == [
        "Validating ONNX model...",
        "        -[✓] ONNX model output names match reference model ({'logits'})",
        '        - Validating ONNX Model output "logits":',
        "                -[✓] (2, 3) matches (2, 3)",
        "                -[✓] all values close (atol: 0.0001)",
        f"All good, model saved at: {path}",
    ]
    assert done.returncode == 0
    assert onnx.load(path).opset_import[0].version == 14


def test_without_a_feature_the_command_exports_the_base_model(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    done = run("-m", make_checkpoint("distilbert", "masked-lm"), tmp_path)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [each.name for each in session.get_outputs()] == ["last_hidden_state"]
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--feature", "nonsense"), "'nonsense' is not a task"),
        (("--feature", "image-classification"), "no image-classification model of type 'distilbert'"),
        (("--opset", "99"), "opset 99 can't be written"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: tuple[str, ...], message: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    done = run("-m", make_checkpoint("distilbert", "default"), *arguments, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
