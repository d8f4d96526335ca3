"""A TorchScript file, opened for running. Loading runs no Python of the file's, but do it in a worker all the same."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Contract
from exporter.torchscript.export import SIGNATURE_FILE

__all__ = ["TorchScriptRunner", "open_model"]


class TorchScriptRunner:
    """A loaded module with named inputs and outputs.

    Attributes:
        inputs: What it was traced with; for a file of someone else's the parameters of its ``forward``.
        outputs: What it gave; empty for a file of someone else's.
        fixed_sizes: Whether it refuses other sizes.
    """

    def __init__(self, path: Path, module: torch.jit.ScriptModule, signature: _Signature) -> None:
        self._path, self._same_kernels = path, signature.same_kernels
        self._module = module
        self.inputs, self.outputs, self.fixed_sizes = signature.inputs, signature.outputs, signature.fixed_sizes

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
            raise ExportError("run-failed", f"TorchScript: {_reason(error)}") from error
        values = result if isinstance(result, tuple) else (result,)
        names = [each.name for each in self.outputs] or [f"output_{index}" for index in range(len(values))]
        if len(names) != len(values):
            raise ExportError("run-failed", f"TorchScript: {len(values)} outputs came, {len(names)} were declared.")
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def contract(self) -> Contract:
        """What the file promises: shared weights are stored, and counted, once."""
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for _, tensor in self._tensors()}
        return Contract(
            files=(self._path,),
            opset=None,
            same_kernels=self._same_kernels,
            parameter_bytes=sum(storage.nbytes() for storage in storages.values()),
            unused_inputs=tuple(value.debugName() for value in _arguments(self._module) if not value.uses()),
        )

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Parameters and buffers by the module's own names."""
        return ((name, tensor.detach().numpy()) for name, tensor in self._tensors())

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self._module.named_parameters()
        yield from self._module.named_buffers()


@dataclass(frozen=True)
class _Signature:
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...] = ()
    fixed_sizes: bool = False
    same_kernels: bool = True


def open_model(path: Path) -> TorchScriptRunner:
    """Open a file on the CPU.

    Raises:
        ExportError: The file is no TorchScript, or uses operators that this PyTorch doesn't have.
    """
    extra = {SIGNATURE_FILE: ""}
    try:
        with warnings.catch_warnings():
            # Deprecated upstream and still there; this format is what was asked for.
            warnings.simplefilter("ignore")
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path), map_location="cpu", _extra_files=extra
            )
    except Exception as error:
        raise ExportError("not-loadable", f"PyTorch can't load {path.name}: {_reason(error)}") from error
    module.eval()
    return TorchScriptRunner(path, module, _signature(module, extra[SIGNATURE_FILE]))


def _signature(module: torch.jit.ScriptModule, written: str | bytes) -> _Signature:
    if not written:
        schema: Any = module._c._get_method("forward").schema
        names = [argument.name for argument in schema.arguments[1:]]
        return _Signature(tuple(TensorInfo(name=name, dtype="", shape=()) for name in names))
    values = json.loads(written)
    inputs, outputs = (tuple(TensorInfo(**each) for each in values[key]) for key in ("inputs", "outputs"))
    return _Signature(inputs, outputs, values["fixed_sizes"], values.get("same_kernels", True))


def _arguments(module: torch.jit.ScriptModule) -> list[Any]:
    """The inputs of ``forward`` as values of its graph, without ``self``."""
    return list(module.graph.inputs())[1:]


def _reason(error: Exception) -> str:
    """The line of a TorchScript error that says what is wrong: the last one after an interpreter's trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return next((line for line in reversed(lines) if line.startswith("RuntimeError:")), lines[0])
