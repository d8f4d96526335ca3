"""Versions of what decides a result, for the report; nothing of it is imported."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from exporter import __version__

__all__ = ["versions"]

_PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers", "numpy")


@cache
def versions() -> dict[str, str]:
    """Versions by name, this package and Python first; a package that is not installed is left out."""
    ours = {"export-action": __version__, "python": platform.python_version()}
    return ours | {name: found for name in _PACKAGES if (found := _installed(name))}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
