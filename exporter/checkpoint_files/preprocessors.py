"""Names of the files that preprocessors are made of, as glob patterns for a checkpoint's own folder."""

from __future__ import annotations

__all__ = ["PREPROCESSOR_FILES", "PREPROCESSOR_SETTINGS", "VOCABULARIES"]

# What the tokenizers of transformers 5 read their vocabulary from (`vocab_files_names` of all of them).
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "vocab-src.json",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "prophetnet.tokenizer",
)

PREPROCESSOR_SETTINGS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)

# The rest belongs to single tokenizers: merges, target vocabularies, normalisation, pronunciation ...
PREPROCESSOR_FILES = (
    *VOCABULARIES,
    *PREPROCESSOR_SETTINGS,
    "merges.txt",
    "bpe.codes",
    "dict.txt",
    "vocab-tgt.json",
    "target_vocab.json",
    "entity_vocab.json",
    "normalizer.json",
    "emoji.json",
    "byte_maps.json",
    "word_shape.json",
    "word_pronunciation.json",
    "chat_template.json",
    "chat_template.jinja",
)
