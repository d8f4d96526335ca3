"""Models of images: pixels in, a label, boxes or a map out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.architectures.base import Architecture, Axes
from exporter.architectures.registry import register

__all__ = ["ViT", "VisionEncoder"]


class VisionEncoder(Architecture):
    """An encoder of images of the size its configuration fixes: only the batch may vary."""

    tasks: ClassVar[tuple[str, ...]] = ("default", "image-classification")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return {"pixel_values": {0: "batch"}}

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return {name: {0: "batch"} for name in super().outputs}


@register
class ViT(VisionEncoder):
    model_types = ("vit",)
