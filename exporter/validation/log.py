"""The lines that users of ``transformers.onnx`` know, written in one place for every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.results import CaseResult, Check, OutputComparison, Status
from exporter.validation.budget import rounded_up

__all__ = ["broken", "lines"]

_LABELS = {"onnx": "ONNX", "torchscript": "TorchScript", "neuron": "Neuron"}
_ONE, _TWO = " " * 8, " " * 16


def lines(format_name: str, checks: Iterable[Check], cases: Iterable[CaseResult], saved_at: str) -> tuple[str, ...]:
    """What is said about one file.

    Args:
        format_name: ``onnx``, ``torchscript`` ...
        checks: Everything that is no comparison of values; only failed ones are told.
        cases: Every case; of each output one is told, the worst failed one or else the first.
        saved_at: The file, for the line that says that all is good.
    """
    label = _LABELS.get(format_name, format_name)
    cases, failed = tuple(cases), [check for check in checks if check.status is Status.FAILED]
    told = [f"Validating {label} model..."]
    told += _names(label, cases, failed)
    for output in dict.fromkeys(each.output for case in cases for each in case.outputs):
        told.append(f'{_ONE}- Validating {label} Model output "{output}":')
        told += _values(output, cases)
    told += [f"{_ONE}-[x] {check.name}: {check.message}" for check in failed if check.name != "output names"]
    told += [f"{_ONE}-[x] {case.case}: {case.message}" for case in cases if _broken(case)]
    bad = [case for case in cases if case.status is not Status.PASSED]
    if bad or failed:
        told.append(f"Not good: {len(bad)} of {len(cases)} cases and {len(failed)} checks failed: {saved_at}")
    else:
        told.append(f"All good, model saved at: {saved_at}")
    return tuple(told)


def broken(checks: Iterable[Check]) -> tuple[str, ...]:
    """What is said about checks of all files together: only failed ones are told."""
    failed = [check for check in checks if check.status is Status.FAILED]
    told = [f"{_ONE}-[x] {check.name}: {check.message}" for check in failed]
    return (*told, f"Not good: {len(failed)} checks of the files together failed") if failed else ()


def _names(label: str, cases: tuple[CaseResult, ...], failed: list[Check]) -> Iterator[str]:
    names = "{" + ", ".join(repr(each.output) for case in cases[:1] for each in case.outputs) + "}"
    wrong = next((check for check in failed if check.name == "output names"), None)
    if wrong is None and cases:
        yield f"{_ONE}-[✓] {label} model output names match reference model ({names})"
    elif wrong is not None:
        yield f"{_ONE}-[x] {label} model output names do not match reference model: {wrong.message}"


def _values(output: str, cases: tuple[CaseResult, ...]) -> Iterator[str]:
    found = [(case, each) for case in cases for each in case.outputs if each.output == output]
    failed = [pair for pair in found if pair[1].status is not Status.PASSED]
    case, told = max(failed, key=lambda pair: _error(pair[1])) if failed else found[0]
    if told.shape != told.reference_shape:
        yield f"{_TWO}-[x] shape {told.shape} doesn't match {told.reference_shape} (case {case.case})"
        return
    yield f"{_TWO}-[✓] {told.shape} matches {told.reference_shape}"
    atol = rounded_up(told.tolerance.atol) if told.tolerance else 0.0
    if not failed:
        yield f"{_TWO}-[✓] all values close (atol: {atol})"
        return
    yield f"{_TWO}-[x] values not close enough (atol: {atol})"
    where = f"{told.expected} expected, {told.actual} given at {told.worst_index}"
    yield f"{_TWO}    case {case.case}: {told.message}; worst: {where}"


def _error(comparison: OutputComparison) -> float:
    error = comparison.max_abs
    return float("inf") if error is None or error != error else error


def _broken(case: CaseResult) -> bool:
    return case.status is not Status.PASSED and not case.outputs
