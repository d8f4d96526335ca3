"""One model in, one traced TorchScript file out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from exporter import inputs
from exporter.architectures import Graph
from exporter.eager import GraphModule
from exporter.results import ExportError
from exporter.torchscript.archive import without_debug_records
from exporter.torchscript.inlining import forwards_inlined
from exporter.traceable import traceable

__all__ = ["SIGNATURE_FILE", "TorchScriptOptions", "export_graph", "traced_sizes"]

SIGNATURE_FILE = "signature.json"
"""Name of the file inside ``model.pt`` that holds names, shapes and dtypes (`torch.jit.load`'s ``_extra_files``)."""

DEFAULT_SEQUENCE_LENGTH = 128


@dataclass(frozen=True)
class TorchScriptOptions:
    """How to trace.

    Attributes:
        batch_size: Rows of the traced inputs.
        sequence_length: Tokens of the traced inputs; None is 128, or the model's maximum where that is less.
        fixed_sizes: Refuse other sizes at run time instead of computing what tracing made of them.
        untie_weights: Store weights that two layers share once for each, as ``transformers`` 4 did.
    """

    batch_size: int = 1
    sequence_length: int | None = None
    fixed_sizes: bool = False
    untie_weights: bool = False


def traced_sizes(graph: Graph, options: TorchScriptOptions) -> dict[str, int]:
    """Size of every axis of a graph at which it is traced.

    Args:
        graph: The graph, with the sizes that its axes may take.
        options: Batch and length that were asked for.

    Raises:
        ExportError: A length was asked for that the model can't take.
    """
    sizes = inputs.trace_sizes(graph)
    lengths = {axis: _length(graph, axis, options.sequence_length) for axis in sizes if axis in _TEXT_AXES}
    return sizes | {"batch": options.batch_size} | lengths


_TEXT_AXES = ("sequence", "encoder_sequence", "decoder_sequence")


def _length(graph: Graph, axis: str, asked: int | None) -> int:
    maximum = graph.ranges[axis].maximum if axis in graph.ranges else None
    if asked is not None and maximum is not None and asked > maximum:
        raise ExportError(
            "sequence-length",
            f"sequence_length {asked} is more than the {maximum} tokens this model takes.",
            f"Choose at most {maximum}.",
        )
    if asked is not None:
        return asked
    return DEFAULT_SEQUENCE_LENGTH if maximum is None else min(DEFAULT_SEQUENCE_LENGTH, maximum)


class FixedSizes(nn.Module):
    """A module that refuses every size but the traced one.

    A trace keeps no ``if``: the check has to be an operation whose sizes are constants. ``view`` fails when the number
    of elements differs, ``expand`` when an axis that isn't 1 does; together they let exactly one shape pass.
    """

    def __init__(self, module: GraphModule) -> None:
        super().__init__()
        self.module = module
        self.__dict__["forward"] = module.named_forward(self.run)
        self.train(False)

    def run(self, values: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return self.module.run(
            {name: _only(value, [int(size) for size in value.shape]) for name, value in values.items()}
        )


def _only(value: torch.Tensor, shape: list[int]) -> torch.Tensor:
    return torch.maximum(value.view(shape), value.expand(shape))


def export_graph(module: GraphModule, options: TorchScriptOptions, path: Path, sizes: Mapping[str, int]) -> Path:
    """Trace a graph and write it.

    The file holds ``forward`` with the graph's input names, returns a flat tuple in declared order, and carries names,
    shapes and dtypes inside as `SIGNATURE_FILE`.

    Args:
        module: The graph of an eager model.
        options: Fixed or free sizes, tied or untied weights.
        path: Where the file goes.
        sizes: Size by axis name to trace with.

    Raises:
        ExportError: The model can't be traced.
    """
    model = module.model
    if options.untie_weights and isinstance(model, PreTrainedModel):
        _untie(model)
    sample = tuple(torch.from_numpy(array) for array in inputs.trace_sample(module.graph, model.config, sizes).values())
    traced = FixedSizes(module) if options.fixed_sizes else module
    try:
        with torch.no_grad(), forwards_inlined(), traceable(model) as rewritten, warnings.catch_warnings():
            # A branch on a traced size may warn; validation probes the file at other sizes.
            warnings.simplefilter("ignore")
            script = torch.jit.trace(traced, sample, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
            outputs = script(*sample)
            signature = _signature(module.graph, sample, outputs) | {
                "fixed_sizes": options.fixed_sizes,
                "same_kernels": not rewritten,
            }
            torch.jit.save(script, str(path), _extra_files={SIGNATURE_FILE: json.dumps(signature, indent=2)})
    except ExportError:
        raise
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        message = f"torch.jit.trace can't convert {type(model).__name__}: {type(error).__name__}: {first}"
        raise ExportError("export-failed", message) from error
    without_debug_records(path)
    return path


def _untie(model: PreTrainedModel) -> None:
    """Give every use of a shared parameter its own copy."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.data_ptr() in seen:
                setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad))
            seen.add(parameter.data_ptr())


def _signature(graph: Graph, sample: tuple[torch.Tensor, ...], outputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    def tensors(names: Mapping[str, Any], values: tuple[torch.Tensor, ...]) -> list[dict[str, Any]]:
        return [
            {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
            for name, value in zip(names, values, strict=True)
        ]

    return {"inputs": tensors(graph.inputs, sample), "outputs": tensors(graph.outputs, outputs)}
