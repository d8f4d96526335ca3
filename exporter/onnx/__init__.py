"""Models as ONNX files."""

from exporter.onnx.export import OnnxOptions, engine_order, export_graph, export_graphs
from exporter.onnx.runtime import OnnxRunner, open_model

__all__ = ["OnnxOptions", "OnnxRunner", "engine_order", "export_graph", "export_graphs", "open_model"]
