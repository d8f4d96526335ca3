"""Knowledge about models: names, axes and sizes, without torch or transformers, so that it answers at once."""

from exporter.architectures import audio, decoder, multimodal, seq2seq, text, vision
from exporter.architectures.base import Architecture, Axes, AxisRange, Graph, Part
from exporter.architectures.fixed import fix_axes
from exporter.architectures.registry import describe, features, find, model_types, register

__all__ = [
    "Architecture",
    "Axes",
    "AxisRange",
    "Graph",
    "Part",
    "audio",
    "decoder",
    "describe",
    "features",
    "find",
    "fix_axes",
    "model_types",
    "multimodal",
    "register",
    "seq2seq",
    "text",
    "vision",
]
