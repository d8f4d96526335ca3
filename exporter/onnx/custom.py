"""A custom architecture: a class in a Python file of the user's repository."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from exporter.onnx.config import OnnxConfig
from exporter.results import ExportError

__all__ = ["load_custom_config"]


def load_custom_config(path: Path, class_name: str) -> type[OnnxConfig]:
    """Import a configuration class. This runs the file's code: the caller has to have been allowed to.

    Args:
        path: The Python file.
        class_name: The class in it.

    Raises:
        ExportError: The file can't be imported, or holds no such subclass of `OnnxConfig`.
    """
    spec = importlib.util.spec_from_file_location(f"custom_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ExportError("custom-config", f"{path.name} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ExportError("custom-config", f"{path.name} can't be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, OnnxConfig)):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise ExportError(
            "custom-config",
            f"{path.name} has no class {class_name} that is an OnnxConfig.",
            f"Its classes: {', '.join(classes) or 'none'}. Subclass exporter.onnx.OnnxConfig.",
        )
    return found
