"""What is judged, and how: the arguments of `validate`, as frozen data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from exporter.architectures import Architecture, Graph
from exporter.results import Tolerance
from exporter.runner import Runner

__all__ = ["Artifact", "Asked", "Settings", "Subject"]


@dataclass(frozen=True)
class Artifact:
    """One file of a model and the graph it claims to be.

    Attributes:
        graph: What should go in and out.
        path: The file as a person should read it in messages and logs; `open` reads it, wherever it is now.
        open: Opens it as users will run it. Called once.
        traced: Sizes by axis name that the graph was traced with; empty for a file that isn't ours.
        open_plain: Opens it without the runtime's graph optimisation; None where a format has no such thing.
        open_double: Opens it so that it computes in float64, given the numbers that are the checkpoint's own; None
            where a format can't. Finds faults that are smaller than the rounding of float32.
        open_probe: Opens it so with every intermediate result as an output; None where a format can't. Tells where a
            wrong file first goes wrong.
    """

    graph: Graph
    path: Path
    open: Callable[[], Runner]
    traced: Mapping[str, int] = field(default_factory=dict)
    open_plain: Callable[[], Runner] | None = None
    open_double: Callable[[Collection[float]], Runner] | None = None
    open_probe: Callable[[Collection[float]], Runner] | None = None


@dataclass(frozen=True)
class Asked:
    """What our own export was asked for; the file is held to it.

    A file that isn't ours has none: then its own declarations are the contract.

    Attributes:
        opset: Version of the operator set; None for a format that has none.
        dtype: Name of the data type to compute in.
        traced_sizes_only: Whether the format promises only the sizes it was traced with; other sizes are then probed
            and reported, and fail nothing.
        fixed_sizes: Whether other sizes have to be refused.
    """

    opset: int | None = None
    dtype: str = "float32"
    traced_sizes_only: bool = False
    fixed_sizes: bool = False


@dataclass(frozen=True)
class Subject:
    """One model in one format.

    Attributes:
        load: Gives a fresh eager model, float32, in evaluation mode; called again for a float64 copy.
        architecture: Describes the model for the task of the export; the axes' ranges come from here.
        artifacts: The files, in the order of `architecture.graphs`.
        format: ``onnx``, ``torchscript`` ...; the name in the log.
        preprocessor: Tokenizer, image processor or feature extractor; None when the checkpoint has none.
        asked: What the export was asked for; None for a file that isn't ours.
        command: What a person types to ask the same; empty where there is no such thing.
    """

    load: Callable[[], nn.Module]
    architecture: Architecture
    artifacts: tuple[Artifact, ...]
    format: str
    preprocessor: Any | None = None
    asked: Asked | None = None
    command: str = ""


@dataclass(frozen=True)
class Settings:
    """How to judge.

    Attributes:
        atol: Absolute tolerance that a person wants instead of the measured one, with its `reason`.
        rtol: Relative tolerance, likewise.
        reason: Why; shown beside the number.
        source: Where `atol` was written.
        samples: Files of real inputs: ``.txt``, ``.jsonl``, or a folder of images or wav.
        quick: Leave out the expensive cases and say which.
        case: Only this case, by name.
        seed: Seeds every case.
    """

    atol: float | None = None
    rtol: float | None = None
    reason: str = ""
    source: Literal["manifest", "command-line"] = "manifest"
    samples: tuple[Path, ...] = ()
    quick: bool = False
    case: str = ""
    seed: int = 0

    @property
    def explicit(self) -> Tolerance | None:
        """The tolerance that a person set."""
        if self.atol is None and self.rtol is None:
            return None
        return Tolerance(atol=self.atol or 0.0, rtol=self.rtol or 0.0, source=self.source, reason=self.reason)

    def wants(self, name: str) -> bool:
        """Whether a case is asked for by name, or all are."""
        return self.case in ("", name)
