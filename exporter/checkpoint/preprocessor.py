"""The preprocessor that a checkpoint comes with, if it comes with one.

transformers makes a tokenizer out of nothing when a folder has no vocabulary: a handful of special tokens that turn
every text into unknowns. So the files decide here what is loaded, and a folder without a vocabulary has no tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    FeatureExtractionMixin,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from exporter.checkpoint_files import (
    PREPROCESSOR_FILES,
    PREPROCESSOR_SETTINGS,
    VOCABULARIES,
    read_json,
    refuse_lfs_pointers,
)
from exporter.results import ExportError

__all__ = ["load_preprocessor", "vocabulary_note"]

_NONE = "The checkpoint has no tokenizer or processor; inputs come from the config."


def load_preprocessor(path: Path, model: PreTrainedModel, run_code: bool) -> tuple[Any, tuple[str, ...]]:
    """The processor, tokenizer, image processor or feature extractor in `path`, and what to note about it.

    Args:
        path: Folder of the checkpoint.
        model: The model it prepares inputs for.
        run_code: Whether Python code in the folder may run.

    Raises:
        ExportError: Files of a preprocessor are there but can't be used.
    """
    present = [file for name in PREPROCESSOR_FILES for file in path.glob(name)]
    refuse_lfs_pointers(present)
    has_tokenizer, note = _has_tokenizer(path, present)
    features = _feature_settings(path)
    if not has_tokenizer and features is None:
        return None, note or (_NONE,)
    try:
        return _load(path, model, has_tokenizer, features, run_code), note
    except ImportError as error:
        return None, (
            f"The preprocessor needs a package that is not installed, so inputs come from the config: "
            f"{_first_line(error)}",
        )
    except Exception as error:  # the files are foreign, and the classes that read them raise whatever they like
        if _names_own_code(path) and not run_code:
            return None, (
                "The preprocessor needs code of the checkpoint's own, which was not run; inputs come from the config.",
            )
        raise ExportError(
            "bad-preprocessor",
            f"The preprocessor in {path} can't be loaded: {type(error).__name__}: {_first_line(error)}",
            "Repair its files, or delete them: inputs then come from the config.",
        ) from error


def vocabulary_note(preprocessor: Any, model: PreTrainedModel) -> tuple[str, ...]:
    """What to note where the tokenizer makes ids that the model has no embedding for."""
    tokenizer = getattr(preprocessor, "tokenizer", preprocessor)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return ()
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return ()
    rows = getattr(embedding, "num_embeddings", None)
    if rows is None or len(tokenizer) <= rows:
        return ()
    return (
        f"The tokenizer knows {len(tokenizer)} tokens, the model has embeddings for {rows}: "
        f"texts with the tokens above id {rows - 1} can't be run.",
    )


def _has_tokenizer(path: Path, present: list[Path]) -> tuple[bool, tuple[str, ...]]:
    if any(file.match(name) for file in present for name in VOCABULARIES):
        return True, ()
    settings = path / "tokenizer_config.json"
    if not settings.is_file():
        return False, ()
    name = _mapping(settings).get("tokenizer_class")
    cls = getattr(transformers, name, None) if isinstance(name, str) else None
    if cls is not None and not getattr(cls, "vocab_files_names", True):
        return True, ()  # works on bytes or characters and has no vocabulary
    return False, (
        "tokenizer_config.json comes without a vocabulary, so there is no tokenizer; inputs come from the config.",
    )


def _feature_settings(path: Path) -> dict[str, Any] | None:
    """Settings of the image processor or feature extractor, None where there is none."""
    settings = path / "preprocessor_config.json"
    if settings.is_file():
        return _mapping(settings)
    processor = path / "processor_config.json"
    if processor.is_file():
        parts = _mapping(processor)
        part = parts.get("image_processor") or parts.get("feature_extractor")
        return part if isinstance(part, dict) else None
    return None


def _load(
    path: Path, model: PreTrainedModel, has_tokenizer: bool, features: dict[str, Any] | None, run_code: bool
) -> Any:
    options = {"trust_remote_code": run_code, "local_files_only": True}
    if features is None:
        return AutoTokenizer.from_pretrained(path, **options)
    if has_tokenizer:
        processor = AutoProcessor.from_pretrained(path, **options)
        # Without a processor class, AutoProcessor gives the tokenizer alone, also of a model that takes images.
        if not isinstance(processor, PreTrainedTokenizerBase) or model.main_input_name == "input_ids":
            return processor
    if _is_feature_extractor(features):
        return AutoFeatureExtractor.from_pretrained(path, **options)
    # The PIL backend works everywhere; the other needs torchvision.
    return AutoImageProcessor.from_pretrained(path, backend="pil", **options)


def _is_feature_extractor(features: dict[str, Any]) -> bool:
    if "image_processor_type" in features:
        return False
    named = getattr(transformers, str(features.get("feature_extractor_type")), None)
    if isinstance(named, type):  # older image processors are called feature extractors, too
        return issubclass(named, FeatureExtractionMixin)
    return "sampling_rate" in features


def _names_own_code(path: Path) -> bool:
    return any((path / name).is_file() and "auto_map" in _mapping(path / name) for name in PREPROCESSOR_SETTINGS)


def _mapping(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise ExportError("bad-preprocessor", f"{file} holds no JSON object.", "Repair the file, or delete it.")
    return content


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
