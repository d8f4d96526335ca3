"""The ready classes under their documented names: ``BertOnnxConfig``, ``BartOnnxConfig`` ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from exporter.architectures import Architecture, Axes, AxisRange, Graph, Part, describe
from exporter.onnx.config import OnnxConfigWithPast

__all__ = ["READY_CLASSES", "ReadyOnnxConfig", "ready_class"]


class ReadyOnnxConfig(OnnxConfigWithPast):
    """A described type in the form that is documented: the description does the work."""

    model_type: ClassVar[str] = ""

    def __init__(self, config: Any, task: str = "default", use_past: bool = False) -> None:
        super().__init__(config, task, use_past)
        self._described: Architecture = describe(config, self.task, self.use_past)
        self.default_onnx_opset = self._described.default_onnx_opset
        self.atol_for_validation = self._described.atol_for_validation

    @property
    def inputs(self) -> Mapping[str, Axes]:
        return self._described.inputs

    @property
    def outputs(self) -> Mapping[str, Axes]:
        return self._described.outputs

    @property
    def part(self) -> Part:
        return self._described.part

    @property
    def whole(self) -> Graph:
        return self._described.whole

    @property
    def ignored(self) -> tuple[str, ...]:
        return self._described.ignored

    def axis(self, name: str) -> AxisRange:
        return self._described.axis(name)

    def fed_by(self, names: Sequence[str]) -> Architecture:
        return self._described.fed_by(names)

    @property
    def files(self) -> tuple[Graph, ...]:
        """The files that a manifest would make of it."""
        return self._described.graphs


READY_CLASSES: Mapping[str, str] = {
    f"{name}OnnxConfig": model_type
    for name, model_type in (
        ("Albert", "albert"),
        ("Bart", "bart"),
        ("Beit", "beit"),
        ("Bert", "bert"),
        ("BigBird", "big-bird"),
        ("BigBirdPegasus", "bigbird-pegasus"),
        ("Blenderbot", "blenderbot"),
        ("BlenderbotSmall", "blenderbot-small"),
        ("Bloom", "bloom"),
        ("Camembert", "camembert"),
        ("CLIP", "clip"),
        ("CodeGen", "codegen"),
        ("ConvBert", "convbert"),
        ("ConvNext", "convnext"),
        ("ConvNextV2", "convnextv2"),
        ("Data2VecText", "data2vec-text"),
        ("Data2VecVision", "data2vec-vision"),
        ("Deberta", "deberta"),
        ("DebertaV2", "deberta-v2"),
        ("DeiT", "deit"),
        ("Detr", "detr"),
        ("DistilBert", "distilbert"),
        ("Electra", "electra"),
        ("Flaubert", "flaubert"),
        ("GPT2", "gpt2"),
        ("GPTJ", "gptj"),
        ("GPTNeo", "gpt-neo"),
        ("GroupViT", "groupvit"),
        ("IBert", "ibert"),
        ("ImageGPT", "imagegpt"),
        ("LayoutLM", "layoutlm"),
        ("LayoutLMv3", "layoutlmv3"),
        ("Levit", "levit"),
        ("LongT5", "longt5"),
        ("Longformer", "longformer"),
        ("M2M100", "m2m-100"),
        ("Marian", "marian"),
        ("MBart", "mbart"),
        ("MobileBert", "mobilebert"),
        ("MobileNetV1", "mobilenet-v1"),
        ("MobileNetV2", "mobilenet-v2"),
        ("MobileViT", "mobilevit"),
        ("MT5", "mt5"),
        ("OwlViT", "owlvit"),
        ("Perceiver", "perceiver"),
        ("PoolFormer", "poolformer"),
        ("RemBert", "rembert"),
        ("ResNet", "resnet"),
        ("RoFormer", "roformer"),
        ("Roberta", "roberta"),
        ("Segformer", "segformer"),
        ("SqueezeBert", "squeezebert"),
        ("Swin", "swin"),
        ("T5", "t5"),
        ("ViT", "vit"),
        ("VisionEncoderDecoder", "vision-encoder-decoder"),
        ("Whisper", "whisper"),
        ("XLM", "xlm"),
        ("XLMRoberta", "xlm-roberta"),
        ("XLMRobertaXL", "xlm-roberta-xl"),
        ("Yolos", "yolos"),
    )
}
"""Documented class name to model type."""


@cache
def ready_class(name: str) -> type[ReadyOnnxConfig]:
    """The class of a documented name.

    Raises:
        KeyError: No class has this name.
    """
    return type(name, (ReadyOnnxConfig,), {"model_type": READY_CLASSES[name], "__module__": "exporter.onnx"})
