"""The eager model as the judge's own reference: float32 as users run it, float64 to know how much of it is rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from exporter.architectures import Graph
from exporter.eager import GraphModule
from exporter.results import ExportError
from exporter.runner import Array, few_values
from exporter.validation.bisect import recorded
from exporter.validation.float64 import Float64Only

__all__ = ["LARGEST_FLOAT64_BYTES", "Arrays", "Reference"]

Arrays = Mapping[str, Array]

LARGEST_FLOAT64_BYTES = 1_000_000_000
"""Models with more parameter bytes than this are not copied to float64."""


class Reference:
    """Runs a graph on eager models that nothing else touches.

    Args:
        load: Gives a fresh eager model, float32, in evaluation mode.
    """

    def __init__(self, load: Callable[[], nn.Module]) -> None:
        self._load = load

    @cached_property
    def model(self) -> nn.Module:
        """The model in float32."""
        return self._load().eval().float()

    @cached_property
    def _model64(self) -> nn.Module:
        return self._load().eval().double()

    @cached_property
    def parameter_bytes(self) -> int:
        """Bytes of parameters, each shared one counted once."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())

    @cached_property
    def scalars(self) -> frozenset[float]:
        """Values of the parameters and buffers that hold no more than a few."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        arrays = (each.detach().numpy() for each in tensors if each.is_floating_point() and each.numel())
        return frozenset(value for array in arrays if few_values(array) for value in np.unique(array).tolist())

    def run(self, graph: Graph, inputs: Arrays) -> dict[str, Array]:
        """The outputs in float32.

        Raises:
            ExportError: The model itself refuses these inputs (kind ``eager-refuses``).
        """
        return _run(self.model, graph, inputs, torch.float32)

    def run64(self, graph: Graph, inputs: Arrays) -> dict[str, Array] | None:
        """The outputs in float64; None where the model is too large or has a part that can't compute in float64."""
        if self.parameter_bytes > LARGEST_FLOAT64_BYTES:
            return None
        model = self._model64  # made outside: what a checkpoint keeps in float32 is what it is
        try:
            with Float64Only():
                outputs = _run(model, graph, inputs, torch.float64)
        except ExportError:
            return None
        exact = all(value.dtype != np.float32 for value in outputs.values())
        return outputs if exact else None

    def equivalents(self, graph: Graph, inputs: Arrays) -> tuple[dict[str, Array], ...]:
        """The same in float32, computed in other ways that are as right: rows alone, other attention.

        They stand in for float64 where a model is too large for it or has a part that can't do it.
        """
        found = [*self._rows_alone(graph, inputs), *self._other_attention(graph, inputs)]
        return tuple(found)

    def _rows_alone(self, graph: Graph, inputs: Arrays) -> Iterator[dict[str, Array]]:
        axes = {**graph.inputs, **graph.outputs}
        if any(each.get(0) != "batch" for each in axes.values()):
            return
        rows = len(next(iter(inputs.values())))
        if rows > 1:
            parts = [
                self.run(graph, {name: array[row : row + 1] for name, array in inputs.items()}) for row in range(rows)
            ]
            yield {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}

    def _other_attention(self, graph: Graph, inputs: Arrays) -> Iterator[dict[str, Array]]:
        usual = getattr(getattr(self.model, "config", None), "_attn_implementation", None)
        if usual not in ("sdpa", "eager") or not isinstance(self.model, PreTrainedModel):
            return
        try:
            self.model.set_attn_implementation("eager" if usual == "sdpa" else "sdpa")
            yield self.run(graph, inputs)
        except (ExportError, ValueError):
            return  # this model has only one way
        finally:
            self.model.set_attn_implementation(usual)

    def used_parameters(self, graph: Graph, inputs: Arrays) -> frozenset[str]:
        """Names of the parameters that the graph's computation reads."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        with _Reading() as reading:
            self.run(graph, inputs)
        return frozenset(names[each] for each in reading.seen if each in names)

    def run_with(self, model: nn.Module, graph: Graph, inputs: Arrays, dtype: torch.dtype) -> dict[str, Array]:
        """The outputs of another form of the model, widened to float32.

        Raises:
            ExportError: That form can't compute this (kind ``eager-refuses``).
        """
        outputs = _run(model, graph, inputs, dtype)
        return {name: each.astype(np.float32) if each.dtype.kind == "f" else each for name, each in outputs.items()}

    def replaced(self, values: Arrays) -> Reference:
        """The same model with other numbers; only its float64 is of use.

        Args:
            values: By the name of a parameter or buffer; those that share one may get different values.
        """
        twin = Reference(lambda: _with(self._load().eval().double(), values))
        twin.parameter_bytes = self.parameter_bytes
        return twin

    def modules64(self, graph: Graph, inputs: Arrays) -> list[tuple[str, Array]]:
        """Results of the model's innermost modules in float64, in order; see `exporter.validation.bisect`."""
        model = self._model64
        with Float64Only():
            return recorded(model, lambda: _run(model, graph, inputs, torch.float64))


def _run(model: nn.Module, graph: Graph, inputs: Arrays, dtype: torch.dtype) -> dict[str, Array]:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    cast = {name: each.to(dtype) if each.is_floating_point() else each for name, each in tensors.items()}
    try:
        with torch.no_grad():
            outputs = GraphModule(model, graph).run(cast)
    except ExportError:
        raise
    except Exception as error:  # whatever a model's own code raises for sizes it can't take
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
        raise ExportError("eager-refuses", f"the eager model refuses these inputs: {reason}") from error
    return {name: _array(value) for name, value in zip(graph.outputs, outputs, strict=True)}


def _with(model: nn.Module, values: Arrays) -> nn.Module:
    for name, array in values.items():
        place, _, attribute = name.rpartition(".")
        module, tensor = model.get_submodule(place), torch.from_numpy(np.asarray(array, np.float64))
        if attribute in module._parameters:
            module._parameters[attribute] = nn.Parameter(tensor, requires_grad=False)
        else:
            module._buffers[attribute] = tensor
    return model


class _Reading(TorchFunctionMode):
    """Remembers which parameters are arguments of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for value in (*args, *(kwargs or {}).values()):
            for each in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(each, nn.Parameter):
                    self.seen.add(id(each))
        return func(*args, **(kwargs or {}))


def _array(tensor: torch.Tensor) -> Array:
    # numpy has no bfloat16.
    array: Array = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array
