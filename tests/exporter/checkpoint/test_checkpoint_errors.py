"""Checkpoints that must not be exported: each says what is wrong, where and what to do, and nothing of it is run."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_checkpoints import SIZES, Checkpoint, Payload, pickle_weights, problem, remove_weight, save, write_config

from exporter.checkpoint import load
from exporter.checkpoint_files import inspect

GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 120, "n_positions": 64}


class TestMissingWeights:
    """What transformers would fill with random values."""

    @pytest.mark.parametrize(
        ("task", "head"),
        [
            ("masked-lm", "cls.predictions"),
            ("sequence-classification", "classifier.weight"),
            ("token-classification", "classifier.weight"),
            ("question-answering", "qa_outputs.weight"),
            ("multiple-choice", "classifier.weight"),
        ],
    )
    def test_a_head_that_the_checkpoint_does_not_hold(self, saved: Callable[[str], Path], task: str, head: str) -> None:
        found = problem(load, saved("BertModel"), task=task)
        assert found.kind == "missing-head"
        assert head in found.message
        assert str(saved("BertModel")) in found.message
        assert "default" in found.hint  # what it was saved for

    def test_another_head_than_the_one_asked_for(self, saved: Callable[[str], Path]) -> None:
        found = problem(load, saved("BertForMaskedLM"), task="sequence-classification")
        assert found.kind == "missing-head"
        assert "bert.pooler" in found.message
        assert "masked-lm" in found.hint

    def test_one_tensor_of_a_head(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint("BertForSequenceClassification")
        remove_weight(folder, "classifier.bias")
        found = problem(load, folder)
        assert found.kind == "missing-head"
        assert "classifier.bias" in found.message

    def test_an_output_layer_that_is_not_tied(self, tmp_path: Path) -> None:
        config = transformers.GPT2Config(**GPT2, tie_word_embeddings=False)
        folder = save(transformers.GPT2Model(config), tmp_path)
        assert "lm_head.weight" in problem(load, folder, task="causal-lm").message

    def test_tensors_of_the_model_itself(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        remove_weight(folder, "encoder.layer.1.output.LayerNorm.weight")
        found = problem(load, folder)
        assert found.kind == "missing-weights"
        assert "encoder.layer.*.output.LayerNorm.weight" in found.message

    def test_layers_that_only_the_config_has(self, checkpoint: Checkpoint) -> None:
        found = problem(load, checkpoint(num_hidden_layers=3))
        assert found.kind == "missing-weights"
        assert "encoder.layer" in found.message

    def test_statistics_of_batch_normalisation(self, tmp_path: Path) -> None:
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
        folder = save(transformers.ResNetModel(transformers.ResNetConfig(**sizes)), tmp_path)
        remove_weight(folder, "embedder.embedder.normalization.running_mean")
        found = problem(load, folder)
        assert found.kind == "missing-weights"
        assert "running_mean" in found.message

    def test_a_pooler_under_a_head(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint("BertForSequenceClassification")
        remove_weight(folder, "bert.pooler.dense.weight")
        assert "bert.pooler.dense.weight" in problem(load, folder).message

    def test_a_mask_token_that_the_task_uses(self, tmp_path: Path) -> None:
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=16, encoder_stride=16)
        folder = save(transformers.ViTForMaskedImageModeling(config), tmp_path)
        remove_weight(folder, "vit.embeddings.mask_token")
        assert "mask_token" in problem(load, folder).message


class TestWeightsThatDoNotFit:
    """A config and weights that don't belong together."""

    @pytest.mark.parametrize("names", [{"0": "a", "1": "b", "2": "c"}, {str(n): str(n) for n in range(9)}])
    def test_a_head_of_another_size_than_the_labels(self, checkpoint: Checkpoint, names: dict[str, str]) -> None:
        folder = checkpoint("BertForSequenceClassification", id2label=names, label2id=None)
        found = problem(load, folder)
        assert found.kind == "head-size"
        assert f"declares {len(names)}" in found.message
        assert "classifier.weight is (2, 32) in the checkpoint" in found.message
        assert "id2label" in found.hint

    def test_a_head_of_another_size_than_labels_that_are_not_declared(self, tmp_path: Path) -> None:
        model = transformers.BertForTokenClassification(transformers.BertConfig(**SIZES, num_labels=5))
        write_config(save(model, tmp_path), id2label=None, label2id=None)
        found = problem(load, tmp_path)
        assert found.kind == "head-size"
        assert "trained with 5 labels" in found.message
        assert "declares none, which means 2" in found.message

    @pytest.mark.parametrize("change", [{"vocab_size": 121}, {"hidden_size": 64}, {"max_position_embeddings": 63}])
    def test_shapes(self, checkpoint: Checkpoint, change: dict[str, int]) -> None:
        found = problem(load, checkpoint(**change))
        assert found.kind == "shape-mismatch"
        assert "in the checkpoint" in found.message

    def test_weights_of_another_type(self, tmp_path: Path) -> None:
        config = transformers.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=120)
        save(transformers.DistilBertForMaskedLM(config), tmp_path)
        bert = transformers.BertConfig(**SIZES, architectures=["BertForMaskedLM"])
        bert.save_pretrained(tmp_path)
        found = problem(load, tmp_path)
        assert found.kind == "other-architecture"
        assert "not those of a bert model" in found.message
        assert "`distilbert.`" in found.message

    def test_a_config_that_contradicts_itself(self, checkpoint: Checkpoint) -> None:
        found = problem(load, checkpoint(model_type="roberta"))  # same names and shapes, other positions
        assert found.kind == "other-architecture"
        assert "'roberta'" in found.message
        assert "BertModel" in found.message


class TestConfig:
    """Configs that no model can be built from."""

    def test_a_type_that_is_unknown(self, checkpoint: Checkpoint) -> None:
        found = problem(load, checkpoint(model_type="brt"))
        assert found.kind == "unknown-model-type"
        assert transformers.__version__ in found.message
        assert "did you mean 'bert'?" in found.message

    @pytest.mark.parametrize("change", [{"hidden_size": "x"}, {"vocab_size": [1]}, {"layer_norm_eps": "small"}])
    def test_values_of_the_wrong_kind(self, checkpoint: Checkpoint, change: dict[str, Any]) -> None:
        found = problem(load, checkpoint(**change))
        assert found.kind == "bad-config"
        assert str(next(iter(change))) in found.message

    @pytest.mark.parametrize("change", [{"num_attention_heads": 5}, {"hidden_act": "glu-ish"}])
    def test_values_that_no_model_works_with(self, checkpoint: Checkpoint, change: dict[str, Any]) -> None:
        found = problem(load, checkpoint(**change))
        assert found.kind == "cannot-load"
        assert "config.json" in found.hint

    def test_a_package_that_is_missing(self, tmp_path: Path) -> None:
        if transformers.utils.is_timm_available():
            pytest.skip("timm is installed")
        backbone = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=["stage4"]
        )
        sizes = {"d_model": 32, "num_queries": 5, "encoder_layers": 1, "decoder_layers": 1}
        save(
            transformers.DetrModel(transformers.DetrConfig(use_timm_backbone=False, backbone_config=backbone, **sizes)),
            tmp_path,
        )
        write_config(tmp_path, use_timm_backbone=True, backbone="resnet50", backbone_config=None)
        found = problem(load, tmp_path)
        assert found.kind == "missing-package"
        assert "timm" in found.message


class TestDamagedFiles:
    """Files that end early or hold something else."""

    def test_safetensors_that_lie_about_their_content(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        at = content.index(b'"dtype":"F32"')
        content[at : at + 13] = b'"dtype":"X32"'
        file.write_bytes(content)
        assert problem(load, folder).kind in ("bad-weights", "cannot-load")

    @pytest.mark.parametrize("part", [0.001, 0.3, 0.6, 0.9])
    def test_an_old_pickle_cut_short(self, checkpoint: Checkpoint, part: float) -> None:
        file = pickle_weights(checkpoint(), _use_new_zipfile_serialization=False)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * part)])
        found = problem(load, file.parent)
        assert found.kind == "bad-weights"
        assert str(file) in found.message

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ([1, 2], "a list"),
            (torch.zeros(2), "a Tensor"),
            ({}, "nothing"),
            ({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, "state_dict, epoch"),
        ],
    )
    def test_pickles_of_something_else(self, checkpoint: Checkpoint, content: Any, words: str) -> None:
        file = pickle_weights(checkpoint())
        torch.save(content, file)
        found = problem(load, file.parent)
        assert found.kind == "bad-weights"
        assert words in found.message
        assert "save_pretrained" in found.hint

    def test_what_is_no_pickle(self, checkpoint: Checkpoint) -> None:
        file = pickle_weights(checkpoint())
        file.write_bytes(b"hello, this is no pickle")
        assert problem(load, file.parent).kind == "bad-weights"

    def test_what_is_no_tensor_in_a_pickle_is_left_out(self, checkpoint: Checkpoint) -> None:
        file = pickle_weights(checkpoint())
        torch.save({**torch.load(file), "epoch": 3}, file)
        assert any("epoch" in note for note in load(file.parent).notes)


class TestPickledCode:
    """A pickle that would run code is refused, with what it would have run; nothing of it runs."""

    @pytest.mark.parametrize("archive", [True, False])
    def test_is_refused(self, checkpoint: Checkpoint, tmp_path: Path, archive: bool) -> None:
        file = pickle_weights(checkpoint())
        content = {**torch.load(file), "extra": Payload(tmp_path / "ran")}
        torch.save(content, file, _use_new_zipfile_serialization=archive)
        found = problem(load, file.parent)
        assert found.kind == "unsafe-pickle"
        assert f"{os.mkdir.__module__}.mkdir" in found.message
        assert "docs/checkpoints.md" in found.hint
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    def test_is_refused_in_a_bare_pickle(self, checkpoint: Checkpoint, tmp_path: Path, protocol: int) -> None:
        file = pickle_weights(checkpoint())
        file.write_bytes(pickle.dumps({"a": Payload(tmp_path / "ran")}, protocol=protocol))
        found = problem(load, file.parent)
        assert found.kind == "unsafe-pickle"
        assert "mkdir" in found.message
        assert not (tmp_path / "ran").exists()

    def test_harmless_objects_are_refused_too(self, checkpoint: Checkpoint) -> None:
        file = pickle_weights(checkpoint())
        torch.save({**torch.load(file), "args": argparse.Namespace(lr=1)}, file)
        assert "argparse.Namespace" in problem(load, file.parent).message

    def test_is_never_reached_beside_safetensors(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        folder = checkpoint()
        torch.save({"a": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin")
        load(folder)
        assert not (tmp_path / "ran").exists()

    def test_the_way_out_in_the_documentation_works(self, checkpoint: Checkpoint) -> None:
        file = pickle_weights(checkpoint())
        torch.save({**torch.load(file), "args": argparse.Namespace(lr=1)}, file)
        page = (Path(__file__).parents[3] / "docs" / "checkpoints.md").read_text()
        code = page.split("```python\n")[1].split("```")[0]
        assert "weights_only=False" in code
        before = Path.cwd()
        os.chdir(file.parent)
        try:
            exec(code, {})
        finally:
            os.chdir(before)
        assert inspect(file.parent).weights_format == "safetensors"
        load(file.parent)
