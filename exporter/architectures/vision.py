"""Models of images: pixels in, a label, boxes or a map out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import OUTPUTS, Architecture, Axes, AxisRange
from exporter.architectures.registry import register
from exporter.architectures.sizes import image_size, patch_size

__all__ = ["AnySizeEncoder", "ConvNet", "ImageEncoder", "PatchEncoder", "PixelSequence"]

_BATCH: Axes = {0: "batch"}
_MAP: Axes = {0: "batch", 2: "map_height", 3: "map_width"}


class ImageEncoder(Architecture):
    """An encoder of images of the size its configuration says: only the batch may vary.

    Some of these take other sizes in PyTorch, but branch on them: a graph would keep the branch it was traced with.
    """

    tasks: ClassVar[tuple[str, ...]] = ("default", "image-classification")
    input_names: tuple[str, ...] = ("pixel_values",)

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return dict.fromkeys(self.input_names, _BATCH)

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return dict.fromkeys(OUTPUTS[self.task], _BATCH)


class AnySizeEncoder(ImageEncoder):
    """An encoder of images of any size.

    `hidden` are the axes of its hidden state. `step` is what height and width must be multiples of, in pixels: a
    convolution that pads what is left over decides how much when it is traced.
    """

    hidden: ClassVar[Axes] = _BATCH
    step: ClassVar[int] = 1

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {"pixel_values": {0: "batch", 2: "height", 3: "width"}}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {**super().outputs, **({"last_hidden_state": self.hidden} if self.task == "default" else {})}

    @property
    def smallest(self) -> tuple[int, int]:
        """Height and width in pixels below which nothing is left of an image."""
        return 32, 32

    def axis(self, name: str) -> AxisRange:
        sides = ("height", "width")
        if name not in sides:
            return super().axis(name)
        side = sides.index(name)
        return AxisRange(self.smallest[side], multiple_of=self.step, usual=image_size(self.config)[side])


class ConvNet(AnySizeEncoder):
    """Convolutions all the way: the hidden state is a map."""

    hidden = _MAP


class PatchEncoder(AnySizeEncoder):
    """A transformer over patches that stretches what it knows about positions over images of other sizes."""

    hidden: ClassVar[Axes] = {0: "batch", 1: "patches"}

    @property
    def smallest(self) -> tuple[int, int]:
        return patch_size(self.config)


class PixelSequence(Architecture):
    """An image as a text of colours, read one after the other."""

    tasks = ("default", "image-classification")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {"input_ids": {0: "batch", 1: "sequence"}}

    def axis(self, name: str) -> AxisRange:
        return AxisRange(maximum=self.config.max_position_embeddings) if name == "sequence" else super().axis(name)


@register
class ViT(ImageEncoder):
    model_types = ("deit", "levit", "mobilevit", "swin", "vit")


@register
class ResNet(ConvNet):
    model_types = ("convnext", "convnextv2", "poolformer", "resnet")


@register
class MobileNet(ConvNet):
    model_types = ("mobilenet-v1", "mobilenet-v2")
    step = 32


@register
class SegFormer(ConvNet):
    model_types = ("segformer",)
    default_onnx_opset = 12
    tasks = ("default", "image-classification", "semantic-segmentation")

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {"logits": _MAP} if self.task == "semantic-segmentation" else super().outputs


@register
class Beit(PatchEncoder):
    model_types: ClassVar[tuple[str, ...]] = ("beit",)

    @property
    def inputs(self) -> Mapping[str, Axes]:
        # A table of absolute positions is not stretched.
        return {"pixel_values": _BATCH} if self.config.use_absolute_position_embeddings else super().inputs


@register
class Data2VecVision(Beit):
    model_types = ("data2vec-vision",)
    default_onnx_opset = 14  # its attention can't be switched to the kind that older opsets have


@register
class Yolos(PatchEncoder):
    model_types = ("yolos",)
    default_onnx_opset = 12
    tasks = ("default", "object-detection")


@register
class Detr(AnySizeEncoder):
    """Images of a batch are padded to one size; the mask says what is image."""

    model_types = ("detr",)
    default_onnx_opset = 12
    tasks = ("default", "object-detection", "image-segmentation")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {**super().inputs, "pixel_mask": {0: "batch", 1: "height", 2: "width"}}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {**super().outputs, **({"pred_masks": _MAP} if self.task == "image-segmentation" else {})}


@register
class ImageGPT(PixelSequence):
    model_types = ("imagegpt",)
