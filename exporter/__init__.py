"""Convert Hugging Face models to ONNX and TorchScript and prove that the result computes what the original computes.

The library is useful without GitHub; the action lives in the package `entrypoint`, which this package never imports.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
