"""The documented Python API: `export` one graph, `validate_model_outputs` of it.

This is the one module of a format that calls on the judge: what it offers is both, under names people know.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from exporter import inputs
from exporter.eager import GraphModule
from exporter.onnx.config import OnnxConfig
from exporter.onnx.export import OnnxOptions, engine_order, export_graph
from exporter.onnx.openers import openers
from exporter.results import ExportError, Status
from exporter.validation import Artifact, Asked, Settings, Subject, validate_artifact

__all__ = ["OutputMatchError", "export", "validate_model_outputs"]

logger = logging.getLogger(__name__)


class OutputMatchError(ValueError):
    """A file that doesn't compute what the model computes; the message is the log of its validation."""


def export(
    preprocessor: Any, model: nn.Module, config: OnnxConfig, opset: int, output: Path
) -> tuple[list[str], list[str]]:
    """Export the one graph that a configuration describes.

    Args:
        preprocessor: The checkpoint's tokenizer or processor, which `generate_dummy_inputs` is given; None without.
        model: Eager PyTorch model; put into evaluation mode.
        config: What it takes and gives.
        opset: Opset of the file.
        output: The file to write.

    Returns:
        Names of the file's inputs and of its outputs, in their order.

    Raises:
        ExportError: No engine can convert the model.
    """
    model.eval()
    graph = config.prepared_by(preprocessor).graphs[0]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    failures = []
    for engine in engine_order(config.config.model_type, parameters, OnnxOptions(opset)):
        try:
            export_graph(GraphModule(model, graph), OnnxOptions(opset, engine), Path(output))
        except ExportError as error:
            failures.append(error)
        else:
            return list(graph.inputs), list(graph.outputs)
    raise failures[0]


def validate_model_outputs(
    config: OnnxConfig,
    preprocessor: Any,
    reference_model: nn.Module,
    onnx_model: Path,
    onnx_named_outputs: Sequence[str],
    atol: float | None = None,
) -> None:
    """Hold a file against the model it came from, at many shapes, masks and values; prints the known lines.

    Args:
        config: What the model takes and gives.
        preprocessor: As for `export`.
        reference_model: The eager model.
        onnx_model: The file.
        onnx_named_outputs: Its outputs, as `export` returned them.
        atol: Absolute tolerance; None measures the model's own rounding.

    Raises:
        OutputMatchError: A `ValueError`: the file differs.
    """
    config = config.prepared_by(preprocessor)
    graph = config.graphs[0]
    missing = set(onnx_named_outputs) - set(graph.outputs)
    if missing:
        raise OutputMatchError(f"the configuration describes no output {', '.join(sorted(missing))}")
    path = Path(onnx_model)
    artifact = Artifact(graph=graph, path=path, traced=inputs.trace_sizes(graph), **openers(path))
    subject = Subject(
        load=lambda: copy.deepcopy(reference_model).eval(),
        architecture=config,
        artifacts=(artifact,),
        format="onnx",
        preprocessor=preprocessor,
        asked=Asked(),
    )
    reason = "given to validate_model_outputs"
    verdict = validate_artifact(subject, Settings(atol=atol, reason=reason, source="command-line"))
    for line in verdict.log:
        logger.info(line)
    if verdict.status is not Status.PASSED:
        raise OutputMatchError("\n".join(verdict.log))
