"""Exports of tiny models, made once a session, and ways to judge them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from exporter import inputs, onnx, torchscript  # noqa: E402
from exporter.architectures import Architecture, Graph, describe  # noqa: E402
from exporter.eager import GraphModule  # noqa: E402
from exporter.validation import Artifact, Asked, Subject  # noqa: E402
from tests.architectures.tiny import build  # noqa: E402

OPSET = 17

FAMILIES: Mapping[str, tuple[str, str]] = {
    "bert": ("bert", "question-answering"),
    "distilbert": ("distilbert", "sequence-classification"),
    "roberta": ("roberta", "masked-lm"),
    "gpt2": ("gpt2", "causal-lm"),
    "gpt2-past": ("gpt2", "causal-lm-with-past"),
    "vit": ("vit", "image-classification"),
    "t5": ("t5", "seq2seq-lm-with-past"),
    "whisper": ("whisper", "speech2seq-lm-with-past"),
}
"""Type and task by the name that tests use."""


@dataclass(frozen=True)
class Export:
    """A family's files; `subject` is what the judge takes."""

    family: str
    seed: int
    subject: Subject

    @property
    def architecture(self) -> Architecture:
        return self.subject.architecture

    def with_file(self, path: Path, index: int = 0) -> Subject:
        """The judge's subject with another file in place of one, alone."""
        artifact = onnx_artifact(self.subject.artifacts[index].graph, path)
        return replace(self.subject, artifacts=(replace(artifact, traced=self.subject.artifacts[index].traced),))


def onnx_artifact(graph: Graph, path: Path) -> Artifact:
    return Artifact(graph=graph, path=path, traced=inputs.trace_sizes(graph), **onnx.openers(path))


def torchscript_artifact(graph: Graph, path: Path, sizes: Mapping[str, int]) -> Artifact:
    return Artifact(graph=graph, path=path, open=functools.partial(torchscript.open_model, path), traced=sizes)


def fresh_model(family: str, seed: int = 0) -> Any:
    model_type, task = FAMILIES[family]
    return copy.deepcopy(build(model_type, task, seed))


def onnx_export(family: str, folder: Path, seed: int = 0, model: Any = None, engine: str = "legacy") -> Export:
    """A family as ONNX files; of another model than the family's own where one is given."""
    own = fresh_model(family, seed)
    architecture = describe(own.config, FAMILIES[family][1])
    opset = OPSET if engine == "legacy" else 18
    options = onnx.OnnxOptions(opset=opset, engine=engine)
    paths = onnx.export_graphs(model if model is not None else own, architecture.graphs, options, folder)
    artifacts = tuple(onnx_artifact(graph, path) for graph, path in zip(architecture.graphs, paths, strict=True))
    load = functools.partial(fresh_model, family, seed)
    return Export(family, seed, Subject(load, architecture, artifacts, "onnx", asked=Asked(opset=opset)))


def torchscript_export(family: str, folder: Path, seed: int = 0, model: Any = None, fixed: bool = False) -> Export:
    """A family as a TorchScript file."""
    own = fresh_model(family, seed)
    architecture = describe(own.config, FAMILIES[family][1])
    graph, options = architecture.graphs[0], torchscript.TorchScriptOptions(fixed_sizes=fixed)
    sizes = torchscript.traced_sizes(graph, options)
    module = GraphModule(model if model is not None else own, graph)
    path = torchscript.export_graph(module, options, folder / "model.pt", sizes)
    asked = Asked(traced_sizes_only=True, fixed_sizes=fixed)
    artifact = torchscript_artifact(graph, path, sizes)
    load = functools.partial(fresh_model, family, seed)
    return Export(family, seed, Subject(load, architecture, (artifact,), "torchscript", asked=asked))


Exported = Callable[..., Export]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Healthy exports by family (and format, seed), made once."""

    @functools.cache
    def make(family: str, format_name: str = "onnx", seed: int = 0) -> Export:
        folder = tmp_path_factory.mktemp(f"{family}-{format_name}-{seed}")
        return (onnx_export if format_name == "onnx" else torchscript_export)(family, folder, seed)

    return make


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
