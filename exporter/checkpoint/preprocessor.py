"""The preprocessor that a checkpoint comes with, if it comes with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedConfig

__all__ = ["load_preprocessor"]


def load_preprocessor(path: Path, config: PreTrainedConfig) -> tuple[Any, tuple[str, ...]]:
    """The processor, tokenizer, image processor or feature extractor in `path`, and what to note about it."""
    has_tokenizer = any(
        (path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
    )
    has_preprocessor = (path / "preprocessor_config.json").is_file()
    options = {"trust_remote_code": False, "local_files_only": True}
    if (path / "processor_config.json").is_file() or (has_tokenizer and has_preprocessor):
        return AutoProcessor.from_pretrained(path, **options), ()
    if has_tokenizer:
        return AutoTokenizer.from_pretrained(path, **options), ()
    if has_preprocessor:
        try:
            return AutoImageProcessor.from_pretrained(path, **options), ()
        except (OSError, ValueError):
            return AutoFeatureExtractor.from_pretrained(path, **options), ()
    return None, ("The checkpoint has no tokenizer or processor; inputs come from the config.",)
