"""One copy of a table that is looked up and multiplied with: the second, transposed one is computed when loading.

An exporter folds ``transpose(table)`` into a second weight, as large as the first. A file that stores both says that
they are two, and costs the difference.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["share_transposed"]

_LEAST_BYTES = 1024
"""Smaller weights may be alike by accident, and cost nothing."""


def share_transposed(graph: onnx.GraphProto) -> None:
    """Replace each matrix that is another one transposed by that computation, in place."""
    seen: dict[tuple[int, bytes], str] = {}
    shared: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        if len(tensor.dims) != 2 or 1 in tensor.dims or len(tensor.raw_data) < _LEAST_BYTES:
            continue
        matrix = numpy_helper.to_array(tensor)
        other = seen.get((tensor.data_type, _digest(matrix.T)))
        if other is None:
            seen[tensor.data_type, _digest(matrix)] = tensor.name
            continue
        shared.append(helper.make_node("Transpose", [other], [tensor.name], f"{tensor.name}/shared", perm=[1, 0]))
        graph.initializer.remove(tensor)
    nodes = [*shared, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _digest(matrix: np.typing.NDArray[np.generic]) -> bytes:
    shape = ",".join(map(str, matrix.shape)).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(matrix).tobytes()).digest()
