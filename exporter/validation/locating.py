"""Which module of the model a wrong file first departs from, told from the first failed case that is small."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from exporter.results import CaseResult, Status
from exporter.validation.bisect import first_diverging
from exporter.validation.interface import Interface
from exporter.validation.reference import Reference
from exporter.validation.runs import Run
from exporter.validation.subject import Artifact

__all__ = ["module_at_fault"]


def module_at_fault(
    artifact: Artifact, interface: Interface, reference: Reference, cases: Iterable[CaseResult], runs: Iterable[Run]
) -> str:
    """Name of the module; empty where nothing failed, or it can't be told.

    Args:
        artifact: The file.
        interface: The same, opened as usual.
        reference: Eager models.
        cases: Verdicts.
        runs: Small cases.

    Raises:
        ExportError: The file can't be opened or run with all that it computes as outputs.
    """
    failed = next((case for case in cases if case.status is Status.FAILED and _error(case) is not None), None)
    run = next((run for run in runs if failed and run.case.name == failed.case.split("@")[0]), None)
    if failed is None or run is None or run.exact is None or artifact.open_probe is None:
        return ""
    feed = {interface.inputs[name]: array for name, array in run.arrays.items()}
    wide = {name: each.astype(np.float64) if each.dtype.kind == "f" else each for name, each in feed.items()}
    values = artifact.open_probe(reference.scalars).run(wide)
    return first_diverging(reference.modules64(interface.graph, run.arrays), values, _error(failed) or 1.0)


def _error(case: CaseResult) -> float | None:
    """Largest error of a case, relative to the value that it concerns; None where there are no values."""
    errors = [
        each.max_abs / abs(each.expected)
        for each in case.outputs
        if each.status is Status.FAILED and each.max_abs is not None and each.expected
    ]
    return max(errors, default=None)
