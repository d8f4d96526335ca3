"""Loading whole checkpoints: the right class, float32, nothing lost, nothing made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import SIZES, Checkpoint, edit_weights, pickle_weights, problem, save, write_config
from torch import nn

from exporter.checkpoint import load, refuse_random_outputs

TF_FIXTURES = Path(__file__).parents[2] / "fixtures" / "tf"

T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 120}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 120, "n_positions": 64}


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def drop(tensors: dict[str, Any], part: str) -> None:
    """Remove the tensors whose name holds `part`; there is at least one."""
    names = [name for name in tensors if part in name]
    assert names
    for name in names:
        del tensors[name]


def test_gives_the_model_in_evaluation_mode_with_its_weights(tmp_path: Path) -> None:
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    loaded = load(save(model, tmp_path))
    assert type(loaded.model) is transformers.BertForMaskedLM
    assert loaded.task.name == "masked-lm"
    assert not loaded.model.training
    assert same_weights(loaded.model, model)
    assert loaded.config is loaded.model.config
    assert loaded.random_outputs == ()


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64])
def test_is_float32_whatever_is_stored(tmp_path: Path, stored: torch.dtype) -> None:
    loaded = load(save(transformers.BertModel(transformers.BertConfig(**SIZES)).to(stored), tmp_path))
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.float32}
    assert loaded.config.dtype == torch.float32
    assert any(str(stored).removeprefix("torch.") in note and "float32" in note for note in loaded.notes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_is_another_type_when_asked(saved: Callable[[str], Path], dtype: str) -> None:
    loaded = load(saved("BertModel"), dtype=dtype)
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {getattr(torch, dtype)}


def test_a_type_that_is_none(saved: Callable[[str], Path]) -> None:
    assert problem(load, saved("BertModel"), dtype="int8").kind == "unknown-dtype"


def test_shards_and_pickles_load_alike(tmp_path: Path) -> None:
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    model.save_pretrained(tmp_path / "shards", max_shard_size="30KB")
    pickle_weights(save(model, tmp_path / "pickle"))
    pickle_weights(save(model, tmp_path / "legacy"), _use_new_zipfile_serialization=False)
    for kind in ("shards", "pickle", "legacy"):
        loaded = load(tmp_path / kind)
        assert same_weights(loaded.model, model)
        assert [note for note in loaded.notes if "no tokenizer" not in note] == []


def test_a_sharded_pickle(tmp_path: Path) -> None:
    model = transformers.BertModel(transformers.BertConfig(**SIZES))
    model.config.architectures = ["BertModel"]
    model.config.save_pretrained(tmp_path)
    tensors = list(model.state_dict().items())
    parts = {"pytorch_model-1.bin": dict(tensors[:9]), "pytorch_model-2.bin": dict(tensors[9:])}
    weight_map = {name: file for file, part in parts.items() for name in part}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file, part in parts.items():
        torch.save(part, tmp_path / file)
    assert same_weights(load(tmp_path).model, model)


@pytest.mark.parametrize("pickled", [False, True])
def test_tied_weights_stay_tied(tmp_path: Path, pickled: bool) -> None:
    save(transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)), tmp_path)
    if pickled:
        pickle_weights(tmp_path)
    model = load(tmp_path).model
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize("pickled", [False, True])
def test_generation_settings_are_kept(tmp_path: Path, pickled: bool) -> None:
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2))
    save(model, tmp_path)
    # A quirk that save_pretrained refuses to write, and that checkpoints on the Hub have: sampling without do_sample.
    (tmp_path / "generation_config.json").write_text(json.dumps({"temperature": 0.7, "max_length": 33}))
    if pickled:
        pickle_weights(tmp_path)
    settings = load(tmp_path).model.generation_config
    assert (settings.temperature, settings.max_length) == (0.7, 33)


@pytest.mark.parametrize("pickled", [False, True])
def test_generation_settings_in_an_old_config_are_kept(tmp_path: Path, pickled: bool) -> None:
    save(transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)), tmp_path)
    (tmp_path / "generation_config.json").unlink()
    write_config(tmp_path, num_beams=3)
    if pickled:
        pickle_weights(tmp_path)
    assert load(tmp_path).model.generation_config.num_beams == 3


def test_shows_no_progress_bar_and_leaves_the_setting_alone(
    saved: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = saved("BertModel")
    transformers.utils.logging.enable_progress_bar()
    try:
        load(folder)
        assert transformers.utils.logging.is_progress_bar_enabled()
    finally:
        transformers.utils.logging.disable_progress_bar()
    assert "%|" not in capfd.readouterr().err


class TestClasses:
    """Which class loads a checkpoint."""

    def test_a_task_other_than_the_checkpoints_own(self, saved: Callable[[str], Path]) -> None:
        assert type(load(saved("BertForMaskedLM"), task="default").model) is transformers.BertModel
        loaded = load(saved("BertForMaskedLM"), task="causal-lm")
        assert type(loaded.model) is transformers.BertLMHeadModel

    def test_the_class_that_the_checkpoint_names_wins_in_its_task(self, tmp_path: Path) -> None:
        folder = save(transformers.T5EncoderModel(transformers.T5Config(**T5)), tmp_path)
        assert type(load(folder).model) is transformers.T5EncoderModel

    @pytest.mark.parametrize("task", ["masked-lm", "causal-lm"])
    @pytest.mark.parametrize("name", ["XLM", "Flaubert"])
    def test_one_class_for_both_ways_of_language_modelling(self, tmp_path: Path, name: str, task: str) -> None:
        config = getattr(transformers, f"{name}Config")(emb_dim=32, n_layers=2, n_heads=4, n_words=120)
        cls = getattr(transformers, f"{name}WithLMHeadModel")
        assert type(load(save(cls(config), tmp_path), task=task).model) is cls

    def test_detr_segmentation(self, tmp_path: Path) -> None:
        backbone = transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 8, 16, 16],
            depths=[1, 1, 1, 1],
            out_features=[f"stage{n}" for n in range(1, 5)],
        )
        config = transformers.DetrConfig(
            use_timm_backbone=False, backbone=None, backbone_config=backbone, d_model=64, num_queries=5,
            encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
        )  # fmt: skip
        folder = save(transformers.DetrForSegmentation(config), tmp_path)
        loaded = load(folder)
        assert loaded.task.name == "image-segmentation"
        assert type(loaded.model) is transformers.DetrForSegmentation

    def test_a_task_that_the_type_does_not_have(self, saved: Callable[[str], Path]) -> None:
        found = problem(load, saved("BertModel"), task="image-classification")
        assert found.kind == "unsupported-task"
        assert "'bert'" in found.message
        assert "sequence-classification" in found.hint

    def test_the_attention_implementation(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint(attn_implementation="kernels-community/flash-attn")
        loaded = load(folder)
        assert loaded.config._attn_implementation == "sdpa"
        assert any("kernels-community/flash-attn" in note for note in loaded.notes)
        assert load(folder, attn_implementation="eager").config._attn_implementation == "eager"


class TestWeightsThatMayBeAbsent:
    """No false alarm: what follows from the config, is tied, or is used in training only needn't be in a checkpoint."""

    def test_position_ids_of_older_checkpoints_are_ignored(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        edit_weights(folder, lambda tensors: tensors.update({"embeddings.position_ids": torch.arange(64)}))
        assert not any("position_ids" in note for note in load(folder).notes)

    def test_a_head_without_weights_of_its_own(self, tmp_path: Path) -> None:
        folder = save(transformers.GPT2Model(transformers.GPT2Config(**GPT2)), tmp_path)
        model = load(folder, task="causal-lm").model
        assert model.lm_head.weight is model.transformer.wte.weight

    def test_a_pooler_that_no_output_needs(self, saved: Callable[[str], Path]) -> None:
        loaded = load(saved("BertForMaskedLM"), task="default")
        assert loaded.random_outputs == ("pooler_output",)
        assert any("pooler" in note for note in loaded.notes)
        refuse_random_outputs(loaded, ("last_hidden_state",))
        found = problem(refuse_random_outputs, loaded, ("last_hidden_state", "pooler_output"))
        assert found.kind == "random-output"
        assert "pooler_output" in found.message

    def test_counters_of_batch_normalisation(self, tmp_path: Path) -> None:
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
        folder = save(transformers.ResNetModel(transformers.ResNetConfig(**sizes)), tmp_path)
        edit_weights(folder, lambda tensors: drop(tensors, "num_batches_tracked"))
        load(folder)

    def test_positions_by_formula(self, tmp_path: Path) -> None:
        sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 120, "pad_token_id": 1}
        heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_start_token_id": 1}
        model = transformers.MarianMTModel(transformers.MarianConfig(**sizes, **heads))
        loaded = load(save(model, tmp_path), task="default")
        positions = loaded.model.encoder.embed_positions.weight
        assert torch.equal(positions, model.model.encoder.embed_positions.weight)

    def test_what_training_alone_uses(self, tmp_path: Path) -> None:
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        convolutions = {
            "conv_dim": [16, 16],
            "conv_stride": [5, 2],
            "conv_kernel": [10, 3],
            "num_feat_extract_layers": 2,
        }
        config = transformers.Wav2Vec2Config(**sizes, **convolutions, num_conv_pos_embedding_groups=2)
        folder = save(transformers.Wav2Vec2Model(config), tmp_path)
        edit_weights(folder, lambda tensors: drop(tensors, "masked_spec_embed"))
        assert any("masked_spec_embed" in note and "training" in note for note in load(folder).notes)

    def test_what_the_model_has_no_place_for_is_noted(self, saved: Callable[[str], Path]) -> None:
        assert any("cls.predictions" in note for note in load(saved("BertForMaskedLM"), task="default").notes)

    def test_layers_beyond_the_config_are_noted(self, checkpoint: Checkpoint) -> None:
        notes = load(checkpoint(num_hidden_layers=1)).notes
        assert any("fewer layers" in note and "encoder.layer" in note for note in notes)


class TestTensorFlow:
    """Only ``tf_model.h5``: handed over."""

    @pytest.mark.parametrize("name", ["bert-sequenceclassification", "gpt2-causallm"])
    def test_gives_tensorflows_results(self, name: str) -> None:
        loaded = load(TF_FIXTURES / name)
        with np.load(TF_FIXTURES / name / "expected.npz") as expected:
            inputs = {key[3:]: torch.from_numpy(expected[key]) for key in expected if key.startswith("in.")}
            with torch.no_grad():
                outputs = loaded.model(**inputs)
            np.testing.assert_allclose(outputs.logits.numpy(), expected["out.logits"], atol=1e-4)
        assert "Weights come from a TensorFlow checkpoint." in loaded.notes

    def test_generation_settings_are_kept(self) -> None:
        stored = json.loads((TF_FIXTURES / "gpt2-causallm" / "generation_config.json").read_text())
        assert load(TF_FIXTURES / "gpt2-causallm").model.generation_config.eos_token_id == stored["eos_token_id"]
