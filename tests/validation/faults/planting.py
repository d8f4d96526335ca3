"""Which fault goes into which families: two of those that have what it breaks, another two for each fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from tests.validation.conftest import FAMILIES, Export, fresh_model, onnx_export
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.model_faults import MODEL_FAULTS
from tests.validation.faults.surgery import Surgery

__all__ = ["EQUIVALENT", "MODEL_FAMILIES", "NOT_IN_ONNX", "Planted", "broken_files", "in_graphs", "in_models"]

EQUIVALENT = {
    ("constant-rounded", "t5"): "no distance between tokens falls into another bucket",
}
"""Faults that change nothing in a family, and why."""

NOT_IN_ONNX = {
    "dropout-left-on": "the engines write the model as it computes in evaluation mode",
}
"""Faults of a model that no ONNX file can have, and why."""

MODEL_FAMILIES = ("bert", "gpt2", "vit", "roberta", "distilbert")
"""Families whose models get faults before they are exported."""

FAMILIES_BY_FAULT = 2


@dataclass(frozen=True)
class Planted:
    """A broken file.

    Attributes:
        fault: Its name.
        family: A key of `FAMILIES`.
        path: The file.
        index: Which of the family's files it stands for.
    """

    fault: str
    family: str
    path: Path
    index: int = 0


def broken_files(fault: str, export: Export, folder: Path) -> Iterator[Planted]:
    """The files of a family with the fault planted, where they have what it breaks and it changes something."""
    if (fault, export.family) in EQUIVALENT:
        return
    for index, artifact in enumerate(export.subject.artifacts):
        model = onnx.load(str(artifact.path))
        if FAULTS[fault](Surgery(model)):
            path = folder / f"{export.family}-{artifact.graph.file}-{fault}.onnx"
            onnx.save(model, str(path))
            yield Planted(fault, export.family, path, index)


def in_graphs(fault: str, exported: Callable[[str], Export], folder: Path) -> Iterator[Planted]:
    """The fault in one file each of two families, the last that has what it breaks."""
    names = list(FAMILIES)
    start = list(FAULTS).index(fault) % len(names)
    planted = 0
    for family in names[start:] + names[:start]:
        for each in list(broken_files(fault, exported(family), folder))[-1:]:
            yield each
            planted += 1
        if planted == FAMILIES_BY_FAULT:
            return


def in_models(fault: str, folder: Path) -> Iterator[Export]:
    """Exports of two families' models with the fault planted, held against the sound models."""
    planted = 0
    for family in MODEL_FAMILIES if fault not in NOT_IN_ONNX else ():
        model = fresh_model(family)
        if MODEL_FAULTS[fault](model):
            place = folder / f"{family}-{fault}"
            place.mkdir()
            yield onnx_export(family, place, model=model)
            planted += 1
        if planted == FAMILIES_BY_FAULT:
            return
