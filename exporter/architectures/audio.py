"""Models of sound."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange
from exporter.architectures.registry import register
from exporter.architectures.seq2seq import EncoderDecoder

__all__ = ["SpectrogramEncoder", "SpeechToText", "WaveformEncoder"]


_BATCH: Axes = {0: "batch"}


class SpeechToText(EncoderDecoder):
    """Sound in, text out. The encoder hears windows of one length only, so nothing but the batch varies there."""

    tasks = ("default", "speech2seq-lm")
    tasks_with_past = tasks
    encoder_inputs: ClassVar[Mapping[str, Axes]] = {"input_features": _BATCH}
    encoded: ClassVar[Axes] = _BATCH
    masked = False
    takes_decoder_mask = False
    max_encoder_sequence = None


class SpectrogramEncoder(Architecture):
    """An encoder of spectrograms of the one size its configuration says."""

    tasks: ClassVar[tuple[str, ...]] = ("default", "audio-classification")
    input_names: tuple[str, ...] = ("input_features",)

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return dict.fromkeys(self.input_names, _BATCH)

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return dict.fromkeys(OUTPUTS[self.task], _BATCH)


class WaveformEncoder(Architecture):
    """An encoder of sound as it was sampled, of any length; convolutions make frames of it."""

    tasks: ClassVar[tuple[str, ...]] = ("default", "audio-classification", "ctc")
    input_names: tuple[str, ...] = ("input_values",)

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {name: {0: "batch", 1: "samples"} for name in self.input_names}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        frames: Axes = {0: "batch", 1: "frames"}
        return dict.fromkeys(OUTPUTS[self.task], _BATCH if self.task == "audio-classification" else frames)

    def axis(self, name: str) -> AxisRange:
        if name != "samples":
            return super().axis(name)
        kernels, strides = self.config.conv_kernel, self.config.conv_stride
        first_frame = 1 + sum((kernel - 1) * prod(strides[:index]) for index, kernel in enumerate(kernels))
        # Frames are convolved once more for positions: a few of them are what a short sound has.
        return AxisRange(minimum=first_frame + 3 * prod(strides), usual=first_frame + 20 * prod(strides))


@register
class Whisper(SpeechToText):
    model_types = ("whisper",)
