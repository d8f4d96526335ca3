"""The face that every format shows to the judge: a file that was opened, can be run, and says what it is.

Formats return these types from ``open(...)``; validation knows formats through nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from exporter.results import Check, TensorInfo

__all__ = ["Array", "Contract", "Quantised", "Runner", "few_values"]

Array = npt.NDArray[Any]

_FEW = 3
_SAMPLE = 4096


def few_values(tensor: Array) -> bool:
    """Whether a tensor is a mask or a constant: no two or three numbers say which weight it is."""
    flat = tensor.reshape(-1)
    return len(np.unique(flat[:: max(1, flat.size // _SAMPLE)])) <= _FEW and len(np.unique(flat)) <= _FEW


@dataclass(frozen=True)
class Quantised:
    """A matrix that a file stores as integers.

    Attributes:
        name: The file's own name for it.
        values: What the integers stand for, float64.
        step: Distance between neighbouring integers in the same unit; one number, or one by channel, so that it can be
            laid over `values`.
        gathered: Whether rows are looked up in it.
        multiplied: Whether something is multiplied with it.
    """

    name: str
    values: Array
    step: Array
    gathered: bool
    multiplied: bool


@dataclass(frozen=True)
class Contract:
    """What a file promises, read from the file and not from running it.

    Attributes:
        files: Every file that the artifact needs, the main one first; external data included.
        opset: Version of the default operator set; None for a format that has none.
        parameter_bytes: Bytes of weights as stored, each stored copy counted.
        unused_inputs: Declared inputs that nothing in the graph reads.
        same_kernels: Whether the runtime runs eager's own kernels, so that results should agree to the bit.
        float32_operators: Of a file that was opened to compute in float64: the operators that round all the same.
        float32_scalars: Likewise: the scalars that were rounded when they were stored, from a number nobody knows.
        quantised: Likewise: the matrices that were stored as integers.
        checks: Structural checks that only the format can make (``onnx.checker``, external data complete and below
            the folder, shapes that can be inferred ...), each with a reason when it failed.
    """

    files: tuple[Path, ...]
    opset: int | None
    parameter_bytes: int
    unused_inputs: tuple[str, ...] = ()
    same_kernels: bool = False
    float32_operators: tuple[str, ...] = ()
    float32_scalars: tuple[str, ...] = ()
    quantised: tuple[Quantised, ...] = ()
    checks: tuple[Check, ...] = ()


class Runner(Protocol):
    """An opened file.

    ``open(path)`` of a format raises `ExportError` with the reason for everything that can't be opened: not this
    format, an opset newer than the runtime, operators nobody knows, external data missing or outside the folder.
    """

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Declared inputs in order; an axis is a size where it is static, a name where it may vary."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Declared outputs in order."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute every output, by name.

        Raises:
            ExportError: The runtime refused (kind ``run-failed``); the message is the runtime's reason in one line.
        """
        ...

    def contract(self) -> Contract:
        """What the file promises."""
        ...

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Stored weights by the file's own names, one at a time; constants inside the graph included."""
        ...
