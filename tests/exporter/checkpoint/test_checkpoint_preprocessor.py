"""The preprocessor of a checkpoint: the right one, or none, never one that is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from PIL import Image
from tiny_checkpoints import SIZES, VOCABULARY, Checkpoint, problem, save, write_config

from exporter.checkpoint import load

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 437955512\n"
VIT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 16}


def write_vocabulary(folder: Path, words: tuple[str, ...] = VOCABULARY) -> None:
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    return save(transformers.ViTModel(transformers.ViTConfig(**VIT, patch_size=8)), tmp_path / "vit")


def whisper(folder: Path) -> Path:
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=120, pad_token_id=1, bos_token_id=1, eos_token_id=1,
        decoder_start_token_id=1, max_source_positions=30, max_target_positions=40,
    )  # fmt: skip
    return save(transformers.WhisperForConditionalGeneration(config), folder)


class TestNone:
    """No preprocessor is fine, and noted; one that was made up would not be."""

    def test_no_files(self, checkpoint: Checkpoint) -> None:
        loaded = load(checkpoint())
        assert loaded.preprocessor is None
        assert any("no tokenizer or processor" in note for note in loaded.notes)

    def test_settings_without_a_vocabulary(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
        # What transformers does then, and why it is not asked: a tokenizer that knows five special tokens.
        assert len(transformers.AutoTokenizer.from_pretrained(folder)) == 5
        loaded = load(folder)
        assert loaded.preprocessor is None
        assert any("without a vocabulary" in note for note in loaded.notes)

    def test_a_feature_extractor_alone_stays_alone(self, tmp_path: Path) -> None:
        folder = whisper(tmp_path)
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
        assert type(load(folder).preprocessor) is transformers.WhisperFeatureExtractor


class TestTokenizers:
    """Text."""

    def test_from_a_vocabulary(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        write_vocabulary(folder)
        tokenizer = load(folder).preprocessor
        assert tokenizer("w1 w2")["input_ids"] == [2, 6, 7, 3]

    def test_without_any_vocabulary_because_it_needs_none(self, tmp_path: Path) -> None:
        config = transformers.T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=384)
        folder = save(transformers.T5ForConditionalGeneration(config), tmp_path)
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
        assert load(folder).preprocessor("ab")["input_ids"] == [100, 101, 1]

    def test_larger_than_the_embedding_is_noted(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        write_vocabulary(folder, (*VOCABULARY, "more", "words"))
        assert any("122 tokens" in note and "120" in note for note in load(folder).notes)
        write_vocabulary(folder)
        assert not any("tokens" in note for note in load(folder).notes)

    @pytest.mark.parametrize("content", ["{", "{}", '{"version": "1.0", "model": {"type": "Nothing"}}'])
    def test_that_are_broken(self, checkpoint: Checkpoint, content: str) -> None:
        folder = checkpoint()
        (folder / "tokenizer.json").write_text(content)
        found = problem(load, folder)
        assert found.kind == "bad-preprocessor"
        assert str(folder) in found.message
        assert "delete" in found.hint

    def test_settings_that_are_no_json(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint()
        write_vocabulary(folder)
        (folder / "tokenizer_config.json").write_text("[1]")
        assert problem(load, folder).kind == "bad-preprocessor"

    @pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model", "merges.txt", "preprocessor_config.json"])
    def test_pointers_in_place_of_files(self, checkpoint: Checkpoint, name: str) -> None:
        folder = checkpoint()
        (folder / name).write_bytes(POINTER)
        found = problem(load, folder)
        assert found.kind == "lfs-pointer"
        assert name in found.message

    def test_that_need_a_package_which_is_missing(self, tmp_path: Path) -> None:
        if transformers.utils.is_sacremoses_available():
            pytest.skip("sacremoses is installed")
        config = transformers.XLMConfig(emb_dim=32, n_layers=1, n_heads=2, n_words=120)
        folder = save(transformers.XLMModel(config), tmp_path)
        (folder / "vocab.json").write_text(json.dumps({"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3}))
        (folder / "merges.txt").write_text("")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "XLMTokenizer"}))
        loaded = load(folder)
        assert loaded.preprocessor is None
        assert any("sacremoses" in note for note in loaded.notes)

    def test_with_code_of_their_own(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        folder = checkpoint()
        (folder / "words.txt").write_text("w1")
        (folder / "vocab.json").write_text("{}")
        settings = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["tokenization_mine.Mine", None]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "tokenization_mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
        loaded = load(folder)
        assert loaded.preprocessor is None
        assert any("not run" in note for note in loaded.notes)
        assert not (tmp_path / "ran").exists()


class TestImages:
    """Image processors load without torchvision, also those saved as fast ones or as feature extractors."""

    @pytest.mark.parametrize(
        "settings",
        [
            {"image_processor_type": "ViTImageProcessor"},
            {"image_processor_type": "ViTImageProcessorFast"},
            {"image_processor_type": "ViTImageProcessorPil"},
            {"feature_extractor_type": "ViTFeatureExtractor"},
            {},
        ],
    )
    def test_under_each_name(self, vit: Path, settings: dict[str, Any]) -> None:
        (vit / "preprocessor_config.json").write_text(json.dumps({**settings, "size": {"height": 16, "width": 16}}))
        processor = load(vit).preprocessor
        pixels = processor(Image.new("RGB", (40, 30)), return_tensors="pt")["pixel_values"]
        assert pixels.shape == (1, 3, 16, 16)

    def test_with_a_tokenizer_as_one_processor(self, tmp_path: Path) -> None:
        text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.CLIPConfig(
            text_config={**text, "vocab_size": 120}, vision_config={**text, "image_size": 16, "patch_size": 8}
        )
        folder = save(transformers.CLIPModel(config), tmp_path)
        vocabulary = {word: n for n, word in enumerate(["<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>"])}
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        processor = {"image_processor_type": "CLIPImageProcessor", "crop_size": 16, "size": {"shortest_edge": 16}}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        inputs = load(folder).preprocessor(text=["a b"], images=[Image.new("RGB", (20, 20))])
        assert {"input_ids", "pixel_values"} <= set(inputs)

    def test_of_a_captioning_model_beside_its_tokenizer(self, tmp_path: Path) -> None:
        encoder = transformers.ViTConfig(**VIT, patch_size=8)
        decoder = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=120, n_positions=32)
        config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        folder = save(transformers.VisionEncoderDecoderModel(config), tmp_path)
        write_vocabulary(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
        settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        loaded = load(folder)
        assert loaded.task.name == "vision2seq-lm"
        assert "pixel_values" in loaded.preprocessor(Image.new("RGB", (20, 20)))

    def test_that_do_not_exist(self, vit: Path) -> None:
        (vit / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "NoSuchImageProcessor"}))
        assert problem(load, vit).kind == "bad-preprocessor"


def test_a_processor_saved_by_transformers_five(tmp_path: Path) -> None:
    folder = whisper(tmp_path)
    (folder / "vocab.json").write_text(json.dumps({"<|endoftext|>": 0, "a": 1}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    processor = transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer)
    processor.save_pretrained(folder)
    assert (folder / "processor_config.json").exists()
    assert type(load(folder).preprocessor) is transformers.WhisperProcessor


def test_settings_of_a_model_do_not_change_its_preprocessor(checkpoint: Checkpoint) -> None:
    folder = checkpoint()
    write_vocabulary(folder)
    write_config(folder, tokenizer_class="BertTokenizer")
    assert isinstance(load(folder).preprocessor, transformers.BertTokenizer)
    assert SIZES["vocab_size"] == len(load(folder).preprocessor)
