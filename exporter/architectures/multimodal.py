"""Models of more than text: images with text, texts with a layout, and anything at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange
from exporter.architectures.registry import register
from exporter.architectures.seq2seq import EncoderDecoder
from exporter.architectures.sizes import text_config
from exporter.architectures.text import OffsetEncoder, SegmentEncoder, TextEncoder
from exporter.architectures.vision import ImageEncoder

__all__ = ["ImageTextPair", "ImageToText", "Layout"]


class ImageToText(EncoderDecoder):
    """An image in, text out."""

    tasks = ("vision2seq-lm",)
    tasks_with_past = ("vision2seq-lm",)
    encoder_inputs: ClassVar[Mapping[str, Axes]] = {"pixel_values": {0: "batch"}}
    encoded: ClassVar[Axes] = {0: "batch"}
    masked = False
    takes_decoder_mask = False
    max_encoder_sequence = None


class ImageTextPair(Architecture):
    """Two towers: how well each of some texts fits each of some images; as many of either as one likes."""

    input_names: tuple[str, ...] = ("input_ids", "pixel_values", "attention_mask")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        text: Axes = {0: "text_batch", 1: "sequence"}
        return {name: {0: "image_batch"} if name == "pixel_values" else text for name in self.input_names}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {
            "logits_per_image": {0: "image_batch", 1: "text_batch"},
            "logits_per_text": {0: "text_batch", 1: "image_batch"},
            "text_embeds": {0: "text_batch"},
            "image_embeds": {0: "image_batch"},
        }

    def axis(self, name: str) -> AxisRange:
        longest = text_config(self.config).max_position_embeddings
        return AxisRange(maximum=longest) if name == "sequence" else super().axis(name)


class Layout(TextEncoder):
    """Text with the place of each token on the page: its preprocessor is more than a tokenizer, so inputs are fixed."""

    @property
    def inputs(self) -> Mapping[str, Axes]:
        ids, *others = super().inputs.items()
        return dict([ids, ("bbox", {0: "batch", 1: "sequence"}), *others])

    def fed_by(self, names: Sequence[str]) -> Architecture:
        return self


@register
class VisionEncoderDecoder(ImageToText):
    model_types = ("vision-encoder-decoder",)


@register
class Clip(ImageTextPair):
    model_types = ("clip", "groupvit", "owlvit")
    default_onnx_opset = 14


@register
class LayoutLM(Layout, SegmentEncoder):
    model_types = ("layoutlm",)
    tasks = ("default", "masked-lm", "sequence-classification", "token-classification")


@register
class LayoutLMv3(Layout, OffsetEncoder):
    """The page itself is read too: its patches follow the tokens."""

    model_types = ("layoutlmv3",)
    default_onnx_opset = 12
    tasks = ("default", "question-answering", "sequence-classification", "token-classification")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {**super().inputs, "pixel_values": {0: "batch"}}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        if self.task not in ("default", "question-answering"):
            return super().outputs
        return {name: {0: "batch", 1: "sequence_and_patches"} for name in OUTPUTS[self.task]}


@register
class PerceiverText(TextEncoder):
    model_types = ("perceiver",)
    tasks = ("masked-lm", "sequence-classification")

    @property
    def outputs(self) -> Mapping[str, Axes]:
        # As many logits as there are positions, however short the text is.
        return {name: {0: "batch"} for name in OUTPUTS[self.task]}


@register
class PerceiverImage(ImageEncoder):
    model_types = ("perceiver",)
    tasks = ("image-classification",)
