"""Models as ONNX files: engines, files, runtime, and the API that ``transformers.onnx`` documented.

`export` writes the one graph a configuration describes; `validate_model_outputs` holds it against the model.
"""

from typing import Any

from exporter.onnx.branches import declared_names
from exporter.onnx.config import OnnxConfig, OnnxConfigWithPast, OnnxSeq2SeqConfigWithPast
from exporter.onnx.convert import OutputMatchError, export, validate_model_outputs
from exporter.onnx.custom import load_custom_config
from exporter.onnx.double import open_double
from exporter.onnx.export import OnnxOptions, engine_order, export_graph, export_graphs
from exporter.onnx.merge import USE_CACHE_BRANCH, merge_decoders
from exporter.onnx.openers import openers
from exporter.onnx.ready import READY_CLASSES, ready_class
from exporter.onnx.runtime import OnnxRunner, open_model

__all__ = [
    "USE_CACHE_BRANCH",
    "OnnxConfig",
    "OnnxConfigWithPast",
    "OnnxOptions",
    "OnnxRunner",
    "OnnxSeq2SeqConfigWithPast",
    "OutputMatchError",
    "declared_names",
    "engine_order",
    "export",
    "export_graph",
    "export_graphs",
    "load_custom_config",
    "merge_decoders",
    "open_double",
    "open_model",
    "openers",
    "validate_model_outputs",
]


def __getattr__(name: str) -> Any:
    """The ready classes, ``BertOnnxConfig`` and so on, made when they are asked for."""
    if name in READY_CLASSES:
        return ready_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
