"""An ONNX file, opened for running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from exporter.onnx.contract import Read, read_contract, read_model, stored_weights
from exporter.results import ExportError, TensorInfo
from exporter.runner import Array, Contract

__all__ = ["OnnxRunner", "open_model"]


class OnnxRunner:
    """A session with the file's own names.

    Attributes:
        inputs: What the file takes, in its order.
        outputs: What it gives.
    """

    def __init__(self, path: Path, session: ort.InferenceSession, read: Read = read_model) -> None:
        self._path = path
        self._read = read
        self._session = session
        self.inputs = tuple(_info(node) for node in session.get_inputs())
        self.outputs = tuple(_info(node) for node in session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name; inputs that the file doesn't take are left out.

        Raises:
            ExportError: ONNX Runtime refused the inputs or failed while running.
        """
        feed = {each.name: inputs[each.name] for each in self.inputs if each.name in inputs}
        try:
            values = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime raises a class of its own for each status code
            raise ExportError("run-failed", f"ONNX Runtime: {_first_line(error)}") from error
        return {each.name: np.asarray(value) for each, value in zip(self.outputs, values, strict=True)}

    def contract(self) -> Contract:
        """What the file promises."""
        return read_contract(self._path, self._read)

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Stored weights by the file's own names."""
        return stored_weights(self._path, self._read)


def open_model(path: Path, optimise: bool = True, threads: int = 0, read: Read = read_model) -> OnnxRunner:
    """Open a file in ONNX Runtime on the CPU.

    Args:
        path: The model; external data is looked for beside it.
        optimise: Whether ONNX Runtime may rewrite the graph, as it does for users.
        threads: Threads inside an operator; 0 lets ONNX Runtime choose.
        read: Gives the graph.

    Raises:
        ExportError: The file is no model that ONNX Runtime can load.
    """
    read(path)  # what can be refused before anything is loaded
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is in the exception
    options.intra_op_num_threads = threads
    # Threads that spin while they wait slow down the eager model that runs in turn with the session.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        # It is opened for a few small cases: laying the weights out anew for speed takes longer than it saves.
        options.add_session_config_entry("session.disable_prepacking", "1")
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError("not-loadable", f"ONNX Runtime can't load {path.name}: {_reason(error)}") from error
    return OnnxRunner(path, session, read)


def _info(node: ort.NodeArg) -> TensorInfo:
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    names = {"float": "float32", "double": "float64"}
    shape = tuple(size if isinstance(size, (int, str)) else "?" for size in node.shape)
    return TensorInfo(name=node.name, dtype=names.get(dtype, dtype), shape=shape)


_TOO_NEW = (
    (re.compile(r"Opset (\d+) is under development.* till opset (\d+)", re.DOTALL), "opset"),
    (re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"), "IR version"),
)


def _reason(error: Exception) -> str:
    """Why a file can't be loaded; in our words where ONNX Runtime's are about its own sources."""
    for pattern, what in _TOO_NEW:
        if found := pattern.search(str(error)):
            return f"it has {what} {found[1]}, and this ONNX Runtime ({ort.__version__}) knows up to {found[2]}."
    return _first_line(error)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
