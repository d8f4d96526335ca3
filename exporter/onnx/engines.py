"""The two ways from an eager module to an ONNX graph, behind one face.

``legacy`` records one run (``torch.onnx.export(dynamo=False)``): fast, any opset from 11 to 20, three times the nodes.
``dynamo`` captures the program (``dynamo=True``): slower, little memory, opset 18 and later, guards instead of silently
baked branches. `torch.onnx.export` is called directly: ``transformers.exporters.OnnxExporter`` takes longer and loses
the names of axes (`benchmarks/engines.py` measures them side by side).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from exporter.eager import GraphModule
from exporter.manifest import OPSETS
from exporter.results import ExportError

__all__ = ["ENGINES", "Engine", "engine"]

Write = Callable[[GraphModule, Sequence[torch.Tensor], int, Path], None]


@dataclass(frozen=True)
class Engine:
    """One exporter.

    Attributes:
        name: How the manifest and the report call it.
        opsets: Lowest and highest opset that it really writes.
        write: ``write(module, sample, opset, path)`` writes the graph of `module`, traced with `sample`.
    """

    name: str
    opsets: tuple[int, int]
    write: Write

    def supports(self, opset: int) -> bool:
        return self.opsets[0] <= opset <= self.opsets[1]


def engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        ExportError: There is no such engine.
    """
    try:
        return ENGINES[name]
    except KeyError:
        raise ExportError("unknown-engine", f"{name!r} is no engine.", f"Engines: {', '.join(ENGINES)}.") from None


def _write_legacy(module: GraphModule, sample: Sequence[torch.Tensor], opset: int, path: Path) -> None:
    graph = module.graph
    with warnings.catch_warnings():
        # Deprecated upstream, and a branch on a traced size may warn; validation judges the result at other sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(sample),
            str(path),
            dynamo=False,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in {**graph.inputs, **graph.outputs}.items() if axes},
            opset_version=opset,
            # Folding would store a second, transposed copy of a table that is also an output layer.
            do_constant_folding=not _has_tied_weights(module),
        )


def _write_dynamo(module: GraphModule, sample: Sequence[torch.Tensor], opset: int, path: Path) -> None:
    graph = module.graph
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(sample),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(dict(axes) or None for axes in graph.inputs.values()),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=_parameter_bytes(module) > _INLINE_BYTES)


_INLINE_BYTES = 1_000_000_000
"""Above this an engine writes weights beside the graph; `finish` decides what the final file looks like."""


def _has_tied_weights(module: nn.Module) -> bool:
    seen: set[int] = set()
    for parameter in (p for _, p in module.named_parameters(remove_duplicate=False)):
        if parameter.data_ptr() in seen:
            return True
        seen.add(parameter.data_ptr())
    return False


def _parameter_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Only errors from a logger, for a while."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


ENGINES: Mapping[str, Engine] = {
    each.name: each
    for each in (Engine("legacy", OPSETS["legacy"], _write_legacy), Engine("dynamo", OPSETS["dynamo"], _write_dynamo))
}
