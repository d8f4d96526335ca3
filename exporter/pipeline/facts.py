"""What becomes known about a model on its way through a run."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.pipeline.messages import ExportReply, Inspection

__all__ = ["Facts"]


@dataclass
class Facts:
    """Filled step by step; what is empty is not known yet. The names are those of `exporter.results.ModelResult`.

    Attributes:
        engines: ONNX engines in the order to try them.
        weights_bytes: Size of the checkpoint's weights, about what an artifact takes.
    """

    commit: str = ""
    task: str = ""
    model_type: str = ""
    architecture: str = ""
    parameters: int | None = None
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    weights_bytes: int = 0

    def learn(self, answer: Inspection | ExportReply) -> None:
        """Take over what a worker said: later ones have seen more."""
        self.task = answer.task or self.task
        self.model_type = answer.model_type or self.model_type
        self.architecture = answer.architecture or self.architecture
        self.parameters = self.parameters if answer.parameters is None else answer.parameters
        self.engines = self.engines or answer.engines
        self.notes = tuple(dict.fromkeys((*self.notes, *answer.notes)))
