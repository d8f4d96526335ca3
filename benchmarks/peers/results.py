"""What the validators said, as it is kept: ``benchmarks/results/peers.json``, a line for each file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["OPTIMUM", "OURS", "RESULTS", "TRANSFORMERS", "FileResult", "Results", "Verdict", "read", "write"]

RESULTS = Path(__file__).parents[1] / "results" / "peers.json"

OURS, TRANSFORMERS, OPTIMUM = "export-action", "transformers.onnx", "optimum-onnx"


@dataclass(frozen=True)
class Verdict:
    """What one validator said of one file.

    Attributes:
        verdict: ``passed``, ``caught``, ``not applicable``, or ``crashed``: it ended in an error of another kind,
            which stops a release too.
        reason: Its words, shortened.
        exit: What its command line would exit with.
    """

    verdict: str
    reason: str = ""
    exit: int = 0

    @property
    def refused(self) -> bool:
        """Whether the file did not get through."""
        return self.verdict in ("caught", "crashed")

    @property
    def applies(self) -> bool:
        """Whether the validator could judge the file at all."""
        return self.verdict != "not applicable"


@dataclass(frozen=True)
class FileResult:
    """One file.

    Attributes:
        kind: ``graph`` or ``model``, where a fault was planted; ``sound``.
        fault: Its name; empty for a sound file.
        family: The family of models.
        seed: Seed of the weights.
        file: Name of the graph.
        verdicts: By validator.
    """

    kind: str
    fault: str
    family: str
    seed: int
    file: str
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True)
class Results:
    """A whole run.

    Attributes:
        versions: Versions of packages, by validator.
        eager: How far a peer's eager models are from ours, by validator: the worst of all checkpoints, relative.
        files: Every file.
    """

    versions: Mapping[str, Mapping[str, str]]
    eager: Mapping[str, float]
    files: tuple[FileResult, ...]


def read(path: Path = RESULTS) -> Results:
    """Read what was kept."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    files = tuple(
        FileResult(**{**each, "verdicts": {name: Verdict(**said) for name, said in each["verdicts"].items()}})
        for each in stored["files"]
    )
    return Results(stored["versions"], stored["eager"], files)


def write(results: Results, path: Path = RESULTS) -> None:
    """Keep results: sorted, a line for each file, so that a change shows as a line."""
    ordered = sorted(results.files, key=lambda each: (each.kind, each.fault, each.family, each.seed, each.file))
    lines = ",\n".join("    " + json.dumps(asdict(each), ensure_ascii=False) for each in ordered)
    head = json.dumps({"versions": results.versions, "eager": results.eager}, indent=2, sort_keys=True)
    path.parent.mkdir(exist_ok=True)
    path.write_text(head.removesuffix("\n}") + ',\n  "files": [\n' + lines + "\n  ]\n}\n", encoding="utf-8")
