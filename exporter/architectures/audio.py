"""Models of sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import Axes
from exporter.architectures.registry import register
from exporter.architectures.seq2seq import EncoderDecoder

__all__ = ["SpeechToText"]


class SpeechToText(EncoderDecoder):
    """Sound in, text out. The encoder hears windows of one length only, so nothing but the batch varies there."""

    tasks = ("default", "speech2seq-lm")
    tasks_with_past = tasks
    encoder_inputs: ClassVar[Mapping[str, Axes]] = {"input_features": {0: "batch"}}
    encoded: ClassVar[Axes] = {0: "batch"}
    masked = False
    takes_decoder_mask = False
    max_encoder_sequence = None


@register
class Whisper(SpeechToText):
    model_types = ("whisper",)
