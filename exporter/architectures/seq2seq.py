"""Encoder-decoders: one graph for a whole call, or the encoder and decoder files that writing token by token needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange, Graph, Part
from exporter.architectures.cache import PAST, PRESENT, cross_cache_axes
from exporter.architectures.registry import register
from exporter.architectures.sizes import decoder_config
from exporter.architectures.text import block_sparse_limit

__all__ = ["EncoderDecoder", "TextToText"]

_ENCODER: Axes = {0: "batch", 1: "encoder_sequence"}
_DECODER: Axes = {0: "batch", 1: "decoder_sequence"}
_PAST = "past_decoder_sequence"
_TOTAL = "past_decoder_sequence+decoder_sequence"


class EncoderDecoder(Architecture):
    """A model that reads with one half and writes with the other.

    Without past it is one graph. With past, `inputs` and `outputs` describe the one graph of a whole call, and `graphs`
    the files that runtimes load: the encoder, the decoder for the first token and the decoder for all that follow.
    `merged` is the file that the two decoders become.

    `encoder_inputs` is what the encoder reads and `encoded` the axes of what it gives. `masked` is whether the decoder
    needs the encoder's mask, `takes_decoder_mask` whether a whole call takes a mask of the text written.
    """

    tasks_with_past: ClassVar[tuple[str, ...]] = ("default", "seq2seq-lm")
    encoder_inputs: ClassVar[Mapping[str, Axes]] = {"input_ids": _ENCODER, "attention_mask": _ENCODER}
    encoded: ClassVar[Axes] = _ENCODER
    masked: ClassVar[bool] = True
    takes_decoder_mask: ClassVar[bool] = True

    @property
    def inputs(self) -> Mapping[str, Axes]:
        inputs: dict[str, Axes] = {**self.encoder_inputs, "decoder_input_ids": _DECODER}
        if self.takes_decoder_mask:
            inputs["decoder_attention_mask"] = {0: "batch", 1: _TOTAL} if self.use_past else _DECODER
        return inputs | self._past() if self.use_past else inputs

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {**self._plain_outputs, **(self._present(_TOTAL) if self.use_past else {})}

    @property
    def part(self) -> Part:
        return "encoder_decoder" if self.use_past else "model"

    @property
    def whole(self) -> Graph:
        # With past, what the encoder gave is in the keys and values of cross-attention.
        read = tuple(name for name in self.encoder_inputs if name != "attention_mask") if self.use_past else ()
        return replace(super().whole, ignored=read)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        if not self.use_past:
            return super().graphs
        ids: dict[str, Axes] = {"input_ids": _DECODER}
        mask: dict[str, Axes] = {"encoder_attention_mask": _ENCODER} if self.masked else {}
        states: dict[str, Axes] = {"encoder_hidden_states": _ENCODER}
        written = cross_cache_axes(PRESENT, self.num_layers, _TOTAL)
        return (
            self.graph("encoder_model", "encoder", self.encoder_inputs, {"last_hidden_state": self.encoded}),
            self.graph(
                "decoder_model",
                "decoder_first",
                ids | mask | states,
                {**self._plain_outputs, **self._present("decoder_sequence")},
            ),
            self.graph(
                "decoder_with_past_model", "decoder_next", ids | mask | self._past(), {**self._plain_outputs, **written}
            ),
        )

    @property
    def merged(self) -> Graph | None:
        """Both decoders as one file, ``use_cache_branch`` saying which runs; None without past."""
        if not self.use_past:
            return None
        first = self.graphs[1]
        inputs = {**first.inputs, **self._past(), "use_cache_branch": {}}
        return self.graph("decoder_model_merged", "decoder_merged", inputs, self.outputs)

    @property
    def num_layers(self) -> int:
        """Layers of the decoder."""
        config = decoder_config(self.config)
        for name in ("decoder_layers", "num_decoder_layers"):
            if getattr(config, name, None):
                return int(getattr(config, name))
        return int(config.num_hidden_layers)

    @property
    def max_sequence(self) -> int | None:
        """Tokens of the longest text that the decoder writes, or None where positions have no end."""
        config = decoder_config(self.config)
        sizes: tuple[Any, ...] = tuple(
            getattr(config, name, None) for name in ("max_target_positions", "max_position_embeddings")
        )
        return next((size for size in sizes if size), None)

    @property
    def max_encoder_sequence(self) -> int | None:
        """Tokens of the longest text that the encoder reads."""
        return self.max_sequence

    def axis(self, name: str) -> AxisRange:
        if name in ("past_decoder_sequence", "past_encoder_sequence"):
            return AxisRange(minimum=0)
        if name in ("decoder_sequence", _TOTAL):
            return AxisRange(maximum=self.max_sequence)
        if name == "encoder_sequence":
            return AxisRange(maximum=self.max_encoder_sequence)
        return super().axis(name)

    @property
    def _plain_outputs(self) -> Mapping[str, Axes]:
        return dict.fromkeys(OUTPUTS[self.task], _DECODER)

    def _past(self) -> dict[str, Axes]:
        return cross_cache_axes(PAST, self.num_layers, _PAST, "encoder_sequence")

    def _present(self, tokens: str) -> dict[str, Axes]:
        return cross_cache_axes(PRESENT, self.num_layers, tokens, "encoder_sequence")


class TextToText(EncoderDecoder):
    """Text in, text out."""

    tasks = ("default", "seq2seq-lm")


@register
class Bart(TextToText):
    model_types = ("bart", "blenderbot", "blenderbot-small", "m2m-100", "marian", "mbart")


@register
class T5(TextToText):
    model_types = ("longt5", "mt5", "t5")
    default_onnx_opset = 13


@register
class BigBirdPegasus(TextToText):
    model_types = ("bigbird-pegasus",)

    @property
    def max_encoder_sequence(self) -> int | None:
        return block_sparse_limit(self.config) or self.max_sequence
