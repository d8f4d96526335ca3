"""The nearest right word: by spelling, or because another tool calls it so."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.manifest.errors import quoted
from exporter.tasks import nearest

__all__ = ["did_you_mean", "nearest_word", "one_of"]

# Names that people bring along from torch, optimum, transformers.onnx and the Hub.
_CALLED_ELSEWHERE = {
    "backend": "engine",
    "bf16": "bfloat16",
    "branch": "revision",
    "checkpoint": "model",
    "commit": "revision",
    "dynamic": "axes",
    "dynamic_axes": "axes",
    "dynamic_shapes": "axes",
    "exporter": "engine",
    "feature": "task",
    "float": "float32",
    "fp16": "float16",
    "fp32": "float32",
    "half": "float16",
    "jit": "torchscript",
    "path": "model",
    "precision": "dtype",
    "seq_len": "sequence_length",
    "tag": "revision",
    "tolerance": "atol",
    "torch": "torchscript",
    "torchdynamo": "dynamo",
    "yes": "true",
    "no": "false",
    "on": "true",
    "off": "false",
}


def nearest_word(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was most likely meant, whatever its case and its dashes; None when nothing is near."""
    by_folded = {_fold(candidate): candidate for candidate in candidates}
    other = _fold(_CALLED_ELSEWHERE.get(word.lower(), ""))
    if other in by_folded:
        return by_folded[other]
    # Comparing costs the product of the lengths, and no word of ours is that long.
    near = nearest(word, tuple(by_folded)) if len(word) <= 200 else None
    return by_folded[near] if near else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing."""
    near = nearest_word(word, candidates)
    return f"; did you mean {quoted(near)}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """``"'a', 'b' or 'c'"``."""
    *others, last = [quoted(word) for word in words]
    return f"{', '.join(others)} or {last}" if others else last


def _fold(word: str) -> str:
    return word.lower().replace("_", "-")
