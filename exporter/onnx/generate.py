"""Greedy decoding over exported files: what ``model.generate(do_sample=False, num_beams=1)`` writes, without the model.

>>> search = GreedySearch.from_config(generation_config, max_new_tokens=20)                     # doctest: +SKIP
>>> write_text(open_model("model.onnx"), tokenizer(texts, return_tensors="np"), search)         # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Runner

__all__ = ["EncoderDecoderFiles", "GreedySearch", "write_answer", "write_text"]

PAST, PRESENT = "past_key_values.", "present."


@dataclass(frozen=True)
class GreedySearch:
    """How the next token is chosen, and when a text ends.

    Attributes:
        max_new_tokens: Tokens to write at most.
        end: Ids that end a text.
        pad: Id that follows the end of a text in a batch.
        start: Id that a decoder with an encoder begins with.
        suppressed: Ids that are never written; `suppressed_first` are not written first.
        forced_first: Id that is written first whatever the model says, or None; `forced_last` likewise last.
    """

    max_new_tokens: int
    end: tuple[int, ...] = ()
    pad: int = 0
    start: int | None = None
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    forced_first: int | None = None
    forced_last: int | None = None

    @classmethod
    def from_config(cls, config: Any, max_new_tokens: int) -> GreedySearch:
        """The search that a ``generation_config`` asks for.

        Args:
            config: Read by attribute; what it doesn't say is left out.
            max_new_tokens: Tokens to write at most.
        """
        end = _ids(config, "eos_token_id")
        return cls(
            max_new_tokens,
            end=end,
            pad=next(iter((*_ids(config, "pad_token_id"), *end)), 0),
            start=next(iter((*_ids(config, "decoder_start_token_id"), *_ids(config, "bos_token_id"))), None),
            suppressed=_ids(config, "suppress_tokens"),
            suppressed_first=_ids(config, "begin_suppress_tokens"),
            forced_first=next(iter(_ids(config, "forced_bos_token_id")), None),
            forced_last=next(iter(_ids(config, "forced_eos_token_id")), None),
        )

    def choose(self, logits: Array, written: int) -> Array:
        """The next token of each row.

        Args:
            logits: (batch, vocabulary).
            written: New tokens before this one.
        """
        forced = self.forced_first if written == 0 else None
        if written == self.max_new_tokens - 1 and self.forced_last is not None:
            forced = self.forced_last
        if forced is not None:
            return np.full(len(logits), forced, np.int64)
        allowed = logits.copy()
        allowed[:, list(self.suppressed + (self.suppressed_first if written == 0 else ()))] = -np.inf
        best: Array = allowed.argmax(axis=-1)
        return best.astype(np.int64)


@dataclass(frozen=True)
class EncoderDecoderFiles:
    """The opened files of an encoder-decoder.

    Attributes:
        encoder: ``encoder_model.onnx``.
        first: ``decoder_model.onnx``, or ``decoder_model_merged.onnx`` alone.
        following: ``decoder_with_past_model.onnx``; None with a merged file.
    """

    encoder: Runner
    first: Runner
    following: Runner | None = None

    def decoder(self, begun: bool) -> Runner:
        """The file for the first token, or for those after it."""
        return self.following if begun and self.following is not None else self.first


def write_text(model: Runner, prompt: Mapping[str, Array], search: GreedySearch) -> Array:
    """Continue texts with a decoder-only model that takes its past.

    Args:
        model: ``model.onnx`` of a feature ``...-with-past``.
        prompt: ``input_ids`` and ``attention_mask``, each (batch, tokens), padded on the left.
        search: How to choose.

    Returns:
        Prompt and new tokens: (batch, tokens), int64.

    Raises:
        ExportError: The runtime refused, or the file takes no past.
    """
    ids = prompt["input_ids"].astype(np.int64)
    mask = prompt.get("attention_mask", np.ones_like(ids)).astype(np.int64)
    past = _empty_past(model, len(ids))

    def step(new: Array) -> Array:
        nonlocal mask, past
        mask = mask if new is ids else np.concatenate([mask, np.ones_like(new)], axis=1)
        positions = np.clip(mask.cumsum(axis=1) - 1, 0, None)[:, -new.shape[1] :]
        outputs = model.run({"input_ids": new, "attention_mask": mask, "position_ids": positions, **past})
        past = _past_of(outputs)
        return outputs["logits"]

    return _write(ids, step, search)


def write_answer(
    files: EncoderDecoderFiles, inputs: Mapping[str, Array], search: GreedySearch, begin: Array | None = None
) -> Array:
    """Write what an encoder-decoder makes of a text, a sound or an image.

    Args:
        files: The opened files.
        inputs: What the preprocessor returns.
        search: How to choose.
        begin: What the decoder's text begins with, (batch, tokens); the start token where it is missing.

    Returns:
        Beginning and new tokens: (batch, tokens), int64.

    Raises:
        ExportError: The runtime refused, or nothing says what a text begins with.
    """
    states = files.encoder.run(inputs)["last_hidden_state"]
    if begin is None:
        if search.start is None:
            raise ExportError("no-start-token", "nothing says which token a text begins with.", "Pass `begin`.")
        begin = np.full((len(states), 1), search.start, np.int64)
    fixed = {"encoder_hidden_states": states}
    if "attention_mask" in inputs:
        fixed["encoder_attention_mask"] = inputs["attention_mask"]
    past = _empty_past(files.first, len(states))
    begun = False

    def step(new: Array) -> Array:
        nonlocal past, begun
        outputs = files.decoder(begun).run({"input_ids": new, "use_cache_branch": np.array([begun]), **fixed, **past})
        # The decoder with past doesn't repeat what cross-attention has read.
        past = past | _past_of(outputs)
        begun = True
        return outputs["logits"]

    return _write(begin.astype(np.int64), step, search)


def _write(ids: Array, step: Callable[[Array], Array], search: GreedySearch) -> Array:
    running = np.ones(len(ids), dtype=bool)
    text, new = ids, ids
    for written in range(search.max_new_tokens):
        chosen = np.where(running, search.choose(step(new)[:, -1], written), search.pad)
        new = chosen[:, None]
        text = np.concatenate([text, new], axis=1)
        running &= ~np.isin(chosen, search.end)
        if not running.any():
            break
    return text


def _empty_past(model: Runner, batch: int) -> dict[str, Array]:
    return {each.name: _empty(each, batch) for each in model.inputs if each.name.startswith(PAST)}


def _empty(info: TensorInfo, batch: int) -> Array:
    """Keys or values of no tokens: (batch, heads, 0, head size)."""
    heads, size = info.shape[1], info.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        raise ExportError("no-past", f"{info.name!r} doesn't say how many heads it has: its shape is {info.shape}.")
    return np.zeros((batch, heads, 0, size), dtype=info.dtype)


def _past_of(outputs: Mapping[str, Array]) -> dict[str, Array]:
    return {PAST + name[len(PRESENT) :]: value for name, value in outputs.items() if name.startswith(PRESENT)}


def _ids(config: Any, name: str) -> tuple[int, ...]:
    """Token ids that a configuration gives as one, several or none."""
    value = getattr(config, name, None)
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
