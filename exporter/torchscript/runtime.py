"""A TorchScript file, opened for running. Loading runs no Python of the file's, but do it in a worker all the same."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Contract
from exporter.torchscript.export import SIGNATURE_FILE

__all__ = ["TorchScriptRunner", "open_double", "open_model"]


class TorchScriptRunner:
    """A loaded module with named inputs and outputs.

    Attributes:
        inputs: What it was traced with; for a file of someone else's the parameters of its ``forward``.
        outputs: What it gave; empty for a file of someone else's, which gives what running it shows.
        fixed_sizes: Whether it refuses other sizes.
    """

    def __init__(self, path: Path, module: torch.jit.ScriptModule, signature: _Signature) -> None:
        self._path, self._same_kernels = path, signature.same_kernels
        self._module = module
        self._arguments = _arguments(module)
        self.inputs, self.outputs, self.fixed_sizes = signature.inputs, signature.outputs, signature.fixed_sizes

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name; in a file of someone else's by a dict's keys, positional ones as ``output_0`` ...

        Raises:
            ExportError: The module refused the inputs or failed while running.
        """
        tensors = {
            argument: self._taken(each, torch.from_numpy(np.ascontiguousarray(inputs[each.name])))
            for argument, each in zip(self._arguments, self.inputs, strict=True)
            if each.name in inputs
        }
        try:
            with torch.no_grad():
                result = self._module(**tensors)
        except Exception as error:  # TorchScript raises RuntimeError and classes of its own
            raise ExportError("run-failed", f"TorchScript: {_reason(error)}") from error
        found = dict(_flat(result))
        values = dict(zip((each.name for each in self.outputs), found.values(), strict=False)) or found
        if len(values) != len(found):
            raise ExportError("run-failed", f"TorchScript: {len(found)} outputs came, {len(values)} were declared.")
        return {name: _array(value) for name, value in values.items()}

    def _taken(self, declared: TensorInfo, tensor: torch.Tensor) -> torch.Tensor:
        """An input in the type of the weights, where the file doesn't say which it takes."""
        weight = next(self._module.parameters(), None)
        undeclared = tensor.is_floating_point() and not declared.dtype
        return tensor.to(weight.dtype) if undeclared and weight is not None else tensor

    def contract(self) -> Contract:
        """What the file promises: shared weights are stored, and counted, once."""
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for _, tensor in self._tensors()}
        return Contract(
            files=(self._path,),
            opset=None,
            same_kernels=self._same_kernels,
            parameter_bytes=sum(storage.nbytes() for storage in storages.values()),
            unused_inputs=tuple(
                each.name for each, value in zip(self.inputs, _values(self._module), strict=True) if not value.uses()
            ),
        )

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Parameters and buffers by the module's own names; the constants of a frozen module."""
        return ((name, _stored(tensor)) for name, tensor in self._tensors())

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        named = [*self._module.named_parameters(), *self._module.named_buffers()]
        yield from named or _constants(self._module)


@dataclass(frozen=True)
class _Signature:
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...] = ()
    fixed_sizes: bool = False
    same_kernels: bool = True


class Float64Runner(TorchScriptRunner):
    """The same module with its weights widened: what it then rounds is what its code does."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in float64.

        Raises:
            ExportError: As in `TorchScriptRunner.run`; or the code computes in float32 whatever its weights are.
        """
        given = super().run({name: each.astype(_wide(each)) for name, each in inputs.items()})
        if narrow := [name for name, each in given.items() if each.dtype.kind == "f" and each.dtype != np.float64]:
            raise ExportError("run-failed", f"{', '.join(narrow)} is not computed in float64")
        return given

    def contract(self) -> Contract:
        """With the operators that are told to give float32."""
        code: Any = self._module.inlined_graph
        kinds = {
            use.user.kind()
            for node in code.findAllNodes("prim::Constant")
            if node.hasAttribute("value") and node.kindOf("value") == "i" and node.i("value") == _FLOAT32
            for use in node.output().uses()
        }
        return replace(super().contract(), float32_operators=tuple(sorted(kinds)))


_FLOAT32 = 6
"""Number of the type in TorchScript's code."""


def open_double(path: Path) -> TorchScriptRunner:
    """Open a file so that it computes in float64.

    Raises:
        ExportError: See `open_model`; or its weights are constants, which stay as they are (kind ``no-float64``).
    """
    module, signature = _loaded(path)
    if next(iter(module.parameters()), None) is None:
        raise ExportError("no-float64", "the weights are constants of the code")
    return Float64Runner(path, module.double(), signature)


def open_model(path: Path) -> TorchScriptRunner:
    """Open a file on the CPU.

    Raises:
        ExportError: The file is no TorchScript, or uses operators that this PyTorch doesn't have.
    """
    return TorchScriptRunner(path, *_loaded(path))


def _loaded(path: Path) -> tuple[torch.jit.ScriptModule, _Signature]:
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
    return module, _signature(module, extra[SIGNATURE_FILE])


def _signature(module: torch.jit.ScriptModule, written: str | bytes) -> _Signature:
    if not written:
        # Who knows with which version and options it was traced: its kernels may round otherwise.
        inputs = tuple(TensorInfo(name=name, dtype="", shape=()) for name in _arguments(module))
        return _Signature(inputs, same_kernels=False)
    values = json.loads(written)
    inputs, outputs = (tuple(TensorInfo(**each) for each in values[key]) for key in ("inputs", "outputs"))
    return _Signature(inputs, outputs, values["fixed_sizes"], values.get("same_kernels", True))


def _arguments(module: torch.jit.ScriptModule) -> list[str]:
    """The names of what ``forward`` takes, without ``self``."""
    schema: Any = module._c._get_method("forward").schema
    return [argument.name for argument in schema.arguments[1:]]


def _values(module: torch.jit.ScriptModule) -> list[Any]:
    """The same as values of its graph."""
    return list(module.graph.inputs())[1:]


def _constants(module: torch.jit.ScriptModule) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that are part of the code, where they are stored in a way that anybody can read."""
    code: Any = module.graph
    for node in code.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            tensor = node.t("value")
            if tensor.layout is torch.strided:
                yield node.output().debugName(), tensor


def _flat(result: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a result: by the keys of a dict, else numbered through."""
    for index, (key, tensor) in enumerate(_leaves(result, "")):
        yield key or f"output_{index}", tensor


def _leaves(result: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        yield name, result
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(result, (tuple, list)):
        for index, value in enumerate(result):
            yield from _leaves(value, f"{name}.{index}" if name else "")


def _wide(array: Array) -> np.dtype[Any]:
    return np.dtype(np.float64) if array.dtype.kind == "f" else array.dtype


def _stored(tensor: torch.Tensor) -> Array:
    if tensor.dtype is torch.bfloat16:
        return tensor.detach().contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return _array(tensor)


def _array(tensor: torch.Tensor) -> Array:
    # numpy has no bfloat16.
    array: Array = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().numpy()
    return array


def _reason(error: Exception) -> str:
    """The line of a TorchScript error that says what is wrong: the last one after an interpreter's trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = next((line for line in reversed(lines) if line.startswith("RuntimeError:")), lines[0])
    return said.split(". This is an internal", maxsplit=1)[0]  # what follows guesses at the cause
