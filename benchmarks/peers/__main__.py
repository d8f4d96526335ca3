"""Judge the same files with our validator and with other people's.

    scripts/peers-setup
    python -m benchmarks.peers

Ours judges as after an export of its own: it knows what was asked for. A peer gets each file in the layout that it
exports itself, with the model of the same checkpoint that its own version of transformers loads. Writes
``benchmarks/results/peers.json``; ``python -m benchmarks.table`` makes the table of docs/validation.md from it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.peers.files import Judged, judged_files
from benchmarks.peers.results import OPTIMUM, OURS, RESULTS, TRANSFORMERS, FileResult, Results, Verdict, write
from exporter import __version__
from exporter.results import ExportError, Status, Validation
from exporter.validation import Settings, validate_artifact
from tests.validation.conftest import FAMILIES

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "transformers")
LONGEST_REASON = 160

UNFAIR = 1e-5
"""Relative distance of a peer's eager model from ours beyond which a comparison would say nothing."""

_HUB_TASKS = {
    "causal-lm": "text-generation",
    "masked-lm": "fill-mask",
    "seq2seq-lm": "text2text-generation",
    "sequence-classification": "text-classification",
    "speech2seq-lm": "automatic-speech-recognition",
}


@dataclass(frozen=True)
class Peer:
    """Someone else's validator.

    Attributes:
        name: Its name in the results.
        environment: Folder of its environment below ``.venv-peers``.
        script: The script in `inside` that calls it.
        hub_tasks: Whether it knows tasks by the names of the Hub.
    """

    name: str
    environment: str
    script: str
    hub_tasks: bool


PEERS = (
    Peer(TRANSFORMERS, "transformers-onnx", "transformers_onnx.py", hub_tasks=False),
    Peer(OPTIMUM, "optimum-onnx", "optimum_onnx.py", hub_tasks=True),
)


@dataclass(frozen=True)
class Answers:
    """What a validator said of all files, by their names."""

    versions: Mapping[str, str]
    eager: float
    verdicts: Mapping[str, Verdict]


def asked(peer: Peer, files: Sequence[Judged], folder: Path) -> Answers:
    """Run a peer in its own environment.

    Raises:
        SystemExit: The environment is missing, or its transformers makes another model of a checkpoint.
    """
    python = ROOT / ".venv-peers" / peer.environment / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"There is no environment for {peer.name}: run scripts/peers-setup first.")
    questions, answers = folder / f"{peer.environment}-jobs.json", folder / f"{peer.environment}-answers.json"
    questions.write_text(json.dumps([_job(peer, each) for each in files]), encoding="utf-8")
    script = Path(__file__).parent / "inside" / peer.script
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    subprocess.run([python, script, questions, answers], check=True, env=environment)
    told = json.loads(answers.read_text(encoding="utf-8"))
    worst = max(told["eager"], key=lambda folder: told["eager"][folder])
    if told["eager"][worst] > UNFAIR:
        raise SystemExit(f"{peer.name} makes another model of {Path(worst).name}: off by {told['eager'][worst]:.1e}.")
    verdicts = {name: Verdict(**verdict) for name, verdict in told["verdicts"].items()}
    return Answers(told["versions"], float(f"{told['eager'][worst]:.1g}"), verdicts)


def _job(peer: Peer, judged: Judged) -> dict[str, str]:
    task = FAMILIES[judged.family][1]
    plain = task.removesuffix("-with-past")
    if peer.hub_tasks:
        task = task.replace(plain, _HUB_TASKS.get(plain, plain))
    return {
        "id": judged.name,
        "checkpoint": str(judged.checkpoint),
        "task": task,
        "graph": judged.file,
        "file": str(judged.path),
    }


def ours(files: Sequence[Judged]) -> Answers:
    """Run our own validator."""
    verdicts = {}
    for number, judged in enumerate(files, start=1):
        verdicts[judged.name] = _verdict(judged)
        print(f"{number}/{len(files)} {judged.name}: {verdicts[judged.name].verdict}", file=sys.stderr, flush=True)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return Answers({OURS: __version__, **versions}, 0.0, verdicts)


def _verdict(judged: Judged) -> Verdict:
    try:
        validation = validate_artifact(judged.subject, Settings(seed=judged.seed))
    except ExportError as error:
        return Verdict("caught", _short(str(error), judged), 1)
    except Exception as error:
        return Verdict("crashed", _short(f"{type(error).__name__}: {error}", judged), 1)
    if validation.status is Status.PASSED:
        return Verdict("passed")
    return Verdict("caught", _short(_complaint(validation), judged), 1)


def _complaint(validation: Validation) -> str:
    """The first thing that was wrong."""
    for check in validation.checks:
        if check.status is not Status.PASSED:
            return f"{check.name}: {check.message}"
    case = next(case for case in validation.cases if case.status is not Status.PASSED)
    wrong = next((each for each in case.outputs if each.status is not Status.PASSED), None)
    if wrong is None or wrong.rounding is None:
        return f"case {case.case}: {case.message or (wrong.message if wrong else '')}"
    return f"case {case.case}: {wrong.output} is off by {wrong.rounding:.3g}x rounding"


def _short(text: str, judged: Judged) -> str:
    return " ".join(text.split()).replace(f"{judged.path.parent}/", "")[:LONGEST_REASON]


def main() -> None:
    """Export, break, ask everyone, and keep what they say."""
    torch.set_num_threads(1)  # tiny models gain nothing from threads
    with tempfile.TemporaryDirectory() as place:
        files = list(judged_files(Path(place)))
        answers = {peer.name: asked(peer, files, Path(place)) for peer in PEERS}
        answers[OURS] = ours(files)
        results = Results(
            versions={name: each.versions for name, each in answers.items()},
            eager={peer.name: answers[peer.name].eager for peer in PEERS},
            files=tuple(
                FileResult(
                    each.kind,
                    each.fault,
                    each.family,
                    each.seed,
                    each.file,
                    {name: answers[name].verdicts[each.name] for name in (OURS, TRANSFORMERS, OPTIMUM)},
                )
                for each in files
            ),
        )
    write(results)
    print(f"Written: {RESULTS.relative_to(ROOT)}. Now: python -m benchmarks.table")


if __name__ == "__main__":
    main()
