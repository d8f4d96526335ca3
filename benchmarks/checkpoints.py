"""Checkpoints of usual size with random weights: what an export of theirs costs is what a real one costs.

The text models get a tokenizer that was trained on the judge's own sentences, and the image model its usual processor,
so that real inputs are among the cases as they are for a checkpoint of the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, ViTImageProcessor

from exporter.validation.samples import TEXTS

__all__ = ["BASE_SIZE", "write"]

BASE_SIZE: Mapping[str, Callable[[], PreTrainedModel]] = {
    "bert-base": lambda: transformers.BertModel(transformers.BertConfig()),
    "distilbert-base": lambda: transformers.DistilBertModel(transformers.DistilBertConfig()),
    "vit-base": lambda: transformers.ViTModel(transformers.ViTConfig()),
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config()),
}
"""Models by name; the configurations' defaults are those of the models that have these names."""


def write(name: str, folder: Path) -> Path:
    """Write a checkpoint of `BASE_SIZE` with its preprocessor to a folder that doesn't exist yet."""
    torch.manual_seed(0)
    model = BASE_SIZE[name]().eval()
    model.save_pretrained(folder)
    _preprocessor(model).save_pretrained(folder)
    return folder


def _preprocessor(model: PreTrainedModel) -> ViTImageProcessor | PreTrainedTokenizerFast:
    if model.main_input_name == "pixel_values":
        return ViTImageProcessor()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet), initial_alphabet=alphabet, special_tokens=["<pad>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
