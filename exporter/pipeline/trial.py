"""Whether a model runs on what was inferred for it: asked before an engine is, whose errors speak of the trace."""

from __future__ import annotations

import torch

from exporter import inputs
from exporter.architectures.inferred import refused
from exporter.eager import GraphModule, evidence_of
from exporter.pipeline.loading import Loaded
from exporter.results import ExportError

__all__ = ["refuse_unrunnable"]


def refuse_unrunnable(loaded: Loaded) -> None:
    """Run a model once on the inputs that it would be traced with.

    Raises:
        ExportError: It doesn't run; the message names the input, the hint is a configuration to fill in.
    """
    model = loaded.checkpoint.model
    for graph in loaded.architecture.graphs:
        try:
            sample = inputs.trace_sample(graph, model.config)
            tensors = [torch.from_numpy(array) for array in sample.values()]
            with torch.no_grad():
                GraphModule(model, graph)(
                    *[each.to(model.dtype) if each.is_floating_point() else each for each in tensors]
                )
        except ExportError:
            raise
        except Exception as error:  # whatever a model's code raises on inputs that it wasn't made for
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise refused(loaded.architecture, reason, evidence_of(model, loaded.checkpoint.preprocessor)) from error
