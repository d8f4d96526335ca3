"""Models of images and text together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import Axes
from exporter.architectures.registry import register
from exporter.architectures.seq2seq import EncoderDecoder

__all__ = ["ImageToText"]


class ImageToText(EncoderDecoder):
    """An image in, text out."""

    tasks = ("vision2seq-lm",)
    tasks_with_past = tasks
    encoder_inputs: ClassVar[Mapping[str, Axes]] = {"pixel_values": {0: "batch"}}
    encoded: ClassVar[Axes] = {0: "batch"}
    masked = False
    takes_decoder_mask = False
    max_encoder_sequence = None


@register
class VisionEncoderDecoder(ImageToText):
    model_types = ("vision-encoder-decoder",)
