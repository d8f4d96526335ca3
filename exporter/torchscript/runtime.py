"""A TorchScript file, opened for running. Loading runs no Python of the file's, but do it in a worker all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from exporter.inputs import Array
from exporter.results import ExportError, TensorInfo
from exporter.torchscript.export import SIGNATURE_FILE

__all__ = ["TorchScriptRunner", "open_model"]


class TorchScriptRunner:
    """A loaded module with named inputs and outputs.

    Attributes:
        inputs: What it was traced with; for a file of someone else's the parameters of its ``forward``.
        outputs: What it gave; empty for a file of someone else's.
        fixed_sizes: Whether it refuses other sizes.
    """

    def __init__(
        self,
        module: torch.jit.ScriptModule,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
        fixed: bool,
    ) -> None:
        self._module = module
        self.inputs, self.outputs, self.fixed_sizes = inputs, outputs, fixed

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, positional ones of foreign files as ``output_0`` ...

        Raises:
            ExportError: The module refused the inputs or failed while running.
        """
        tensors = [torch.from_numpy(inputs[each.name]) for each in self.inputs if each.name in inputs]
        try:
            with torch.no_grad():
                result = self._module(*tensors)
        except Exception as error:  # TorchScript raises RuntimeError and classes of its own
            raise ExportError("runtime", f"TorchScript: {_reason(error)}") from error
        values = result if isinstance(result, tuple) else (result,)
        names = [each.name for each in self.outputs] or [f"output_{index}" for index in range(len(values))]
        if len(names) != len(values):
            raise ExportError("runtime", f"TorchScript: {len(values)} outputs came, {len(names)} were declared.")
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}


def open_model(path: Path) -> TorchScriptRunner:
    """Open a file on the CPU.

    Raises:
        ExportError: The file is no TorchScript, or uses operators that this PyTorch doesn't have.
    """
    extra = {SIGNATURE_FILE: ""}
    try:
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            str(path), map_location="cpu", _extra_files=extra
        )
    except Exception as error:
        raise ExportError("not-loadable", f"PyTorch can't load {path.name}: {_reason(error)}") from error
    module.eval()
    if extra[SIGNATURE_FILE]:
        signature = json.loads(extra[SIGNATURE_FILE])
        ins = tuple(TensorInfo(**each) for each in signature["inputs"])
        outs = tuple(TensorInfo(**each) for each in signature["outputs"])
        return TorchScriptRunner(module, ins, outs, signature["fixed_sizes"])
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    return TorchScriptRunner(module, tuple(TensorInfo(name=name, dtype="", shape=()) for name in names), (), False)


def _reason(error: Exception) -> str:
    """The line of a TorchScript error that says what is wrong: the last one after an interpreter's trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return next((line for line in reversed(lines) if line.startswith("RuntimeError:")), lines[0])
