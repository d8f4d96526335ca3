"""Models as TorchScript files: traced at declared sizes."""

from exporter.torchscript.export import TorchScriptOptions, export_graph, traced_sizes
from exporter.torchscript.runtime import TorchScriptRunner, open_double, open_model

__all__ = ["TorchScriptOptions", "TorchScriptRunner", "export_graph", "open_double", "open_model", "traced_sizes"]
