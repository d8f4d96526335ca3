"""One model in, the ONNX files of its architecture out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from exporter import inputs
from exporter.architectures import Graph
from exporter.eager import GraphModule
from exporter.onnx.engine_order import preference
from exporter.onnx.engines import ENGINES, Engine, engine
from exporter.onnx.finish import finish
from exporter.results import ExportError
from exporter.traceable import traceable

__all__ = ["OnnxOptions", "engine_order", "export_graph", "export_graphs"]

ATTENTION_OPSET = 14
"""From this opset on scaled-dot-product attention can be written; below it the model computes attention by steps."""


@dataclass(frozen=True)
class OnnxOptions:
    """How to export: `engine` is a name or ``auto``."""

    opset: int = 18
    engine: str = "auto"


def engine_order(model_type: str, parameters: int, options: OnnxOptions) -> tuple[str, ...]:
    """The engines to try, best first.

    Args:
        model_type: Type of the model.
        parameters: Number of parameters.
        options: Opset and engine that were asked for.

    Raises:
        ExportError: No engine that was asked for writes this opset.
    """
    if options.engine != "auto":
        chosen = engine(options.engine)
        _check_opset(chosen, options.opset)
        return (chosen.name,)
    order = [each for each in preference(model_type, parameters) if ENGINES[each].supports(options.opset)]
    if not order:
        low, high = min(e.opsets[0] for e in ENGINES.values()), max(e.opsets[1] for e in ENGINES.values())
        raise ExportError("opset", f"opset {options.opset} can't be written.", f"Choose one from {low} to {high}.")
    return tuple(order)


def _check_opset(chosen: Engine, opset: int) -> None:
    if not chosen.supports(opset):
        low, high = chosen.opsets
        raise ExportError(
            "opset",
            f"the engine {chosen.name} writes opsets {low} to {high}, not {opset}.",
            "Change `opset` or `engine`.",
        )


def export_graphs(
    model: nn.Module,
    graphs: Sequence[Graph],
    options: OnnxOptions,
    directory: Path,
    samples: dict[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write every graph of a model as ``<directory>/<graph.file>.onnx``.

    Args:
        model: Eager model in evaluation mode; its attention may be switched for old opsets.
        graphs: What to write.
        options: Opset and the engine to use (a name, not ``auto``).
        directory: Existing folder.
        samples: Inputs to trace a graph with, by its file; made from the configuration where missing.

    Returns:
        The model files, in the order of `graphs`.
    """
    return tuple(
        export_graph(
            GraphModule(model, graph), options, directory / f"{graph.file}.onnx", (samples or {}).get(graph.file)
        )
        for graph in graphs
    )


def export_graph(
    module: GraphModule, options: OnnxOptions, path: Path, sample: dict[str, inputs.Array] | None = None
) -> Path:
    """Write one graph.

    Raises:
        ExportError: The engine doesn't write this opset, or can't convert the model.
    """
    chosen = engine(options.engine)
    _check_opset(chosen, options.opset)
    model, graph = module.model, module.graph
    if options.opset < ATTENTION_OPSET and isinstance(model, PreTrainedModel):
        model.set_attn_implementation("eager")
    values = sample or inputs.trace_sample(graph, model.config)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    tensors = [_tensor(values[name], dtype) for name in graph.inputs]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".engine-") as folder, torch.no_grad(), traceable(model):
        written = Path(folder) / path.name
        try:
            chosen.write(module, tensors, options.opset, written)
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(
                "export-failed", f"the engine {chosen.name} can't convert {type(model).__name__}: {_first_line(error)}"
            ) from error
        finish(written, path, graph, options.opset, values)
    return path


def _tensor(array: inputs.Array, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
