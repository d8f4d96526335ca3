"""Whether a file keeps to what was asked of it, or to what it declares: everything but the values."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.results import Check, Status
from exporter.runner import Contract, Runner
from exporter.validation.interface import Interface
from exporter.validation.subject import Asked

__all__ = ["contract_checks", "contract_notes", "stored_wide"]


def contract_checks(interface: Interface, contract: Contract, asked: Asked | None) -> tuple[Check, ...]:
    """The format's own checks, then ours: operator set, unused inputs, static axes; none of someone else's file."""
    return (*contract.checks, *_promises(interface, contract, asked)) if asked else ()


def contract_notes(interface: Interface, contract: Contract, asked: Asked | None) -> tuple[str, ...]:
    """What is unusual in someone else's file, where it is no fault."""
    if asked:
        return ()
    # The runtime has loaded the file, whatever the format's own rules are.
    notes = [
        f"{check.name} objects, and the runtime takes it all the same: {check.message}"
        for check in contract.checks
        if check.status is not Status.PASSED
    ]
    if contract.unused_inputs:
        notes.append(f"nothing reads the input {', '.join(contract.unused_inputs)}")
    if interface.static:
        sizes = ", ".join(f"{axis}={size}" for axis, size in interface.static.items())
        notes.append(f"the file takes only {sizes}")
    return tuple(notes)


def stored_wide(runner: Runner) -> bool:
    """Whether the larger part of the weights is stored in float64."""
    sizes = {8: 0, 4: 0}
    for _, array in runner.weights():
        if array.dtype.kind == "f" and array.itemsize in sizes:
            sizes[array.itemsize] += array.size
    return sizes[8] > sizes[4]


def _promises(interface: Interface, contract: Contract, asked: Asked) -> Iterator[Check]:
    if asked.opset is not None:
        yield _check("opset", contract.opset == asked.opset, f"the file has {contract.opset}, asked was {asked.opset}")
    unused = ", ".join(name for name in contract.unused_inputs if name not in interface.graph.ignored)
    yield _check("no unused input", not unused, f"nothing reads {unused}")
    if not asked.traced_sizes_only:
        static = ", ".join(f"{axis} is {size}" for axis, size in interface.static.items())
        yield _check("dynamic axes", not static, f"an axis that should vary is fixed: {static}")


def _check(name: str, kept: bool, reason: str) -> Check:
    return Check(name=name, status=Status.PASSED if kept else Status.FAILED, message="" if kept else reason)
