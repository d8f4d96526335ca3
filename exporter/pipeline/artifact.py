"""``artifact.json``: what an artifact's folder says about itself, written beside the model file.

The name differs from ``export.json``, which the exporter of ``transformers`` writes.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from exporter import __version__
from exporter.results import ExportError

__all__ = ["ARTIFACT_FILE", "ArtifactFile", "GraphFile", "read_artifact", "write_artifact"]

ARTIFACT_FILE = "artifact.json"


class GraphFile(BaseModel):
    """Which file computes a graph.

    Attributes:
        graph: Name of the architecture's graph.
        path: The file, in the artifact's folder.
        branch: Whether the graph is one branch of a file that holds several.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    graph: str
    path: str
    branch: bool = False


class ArtifactFile(BaseModel):
    """Enough to judge the artifact again.

    Attributes:
        files: Which file computes which graph.
        traced: For each graph the size of every axis it was traced with.
        opset: ONNX opset; None for other formats.
        fixed_sizes: Whether the file refuses other sizes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: str
    task: str
    model_type: str
    files: tuple[GraphFile, ...]
    traced: dict[str, dict[str, int]] = {}
    engine: str = ""
    opset: int | None = None
    dtype: str = "float32"
    fixed_sizes: bool = False
    exporter: str = __version__


def write_artifact(directory: Path, artifact: ArtifactFile) -> None:
    """Write the file into the artifact's folder."""
    (directory / ARTIFACT_FILE).write_text(artifact.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_artifact(directory: Path) -> ArtifactFile:
    """Read the file of an artifact's folder.

    Raises:
        ExportError: There is none, it is none of ours, or it names a file outside its folder.
    """
    path = directory / ARTIFACT_FILE
    try:
        artifact = ArtifactFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ExportError(
            "no-artifact", f"{directory} holds neither {ARTIFACT_FILE} nor a model file.", "Name a file, or its folder."
        ) from None
    except ValidationError:
        raise ExportError("no-artifact", f"{path} is no {ARTIFACT_FILE} of ours.") from None
    if any(Path(file.path).name != file.path for file in artifact.files):
        raise ExportError("no-artifact", f"{path} names files outside its folder.")
    return artifact
