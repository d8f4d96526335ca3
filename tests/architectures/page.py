"""``docs/architectures.md``: what is described, and how it was judged, made from a run of the matrix.

``make matrix`` runs every pair and writes the page from the report of that run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from exporter import architectures

__all__ = ["PAGE", "Outcome", "Row", "described_rows", "differences", "page", "read_rows", "results_of"]

PAGE = Path(__file__).parents[2] / "docs/architectures.md"

HEAD = """# Architectures

Each row was exported from a tiny model with random weights and judged in full: every axis that may vary at several
sizes, every pattern of padding, in float32 and in float64, each output held against the model itself. A number is how
many comparisons passed; TorchScript promises only the sizes it was traced with, so it has fewer. "-" is a form that
the format doesn't have: keys and values of past tokens are written to ONNX only.

Both spellings of a type and both families of task names work: `gpt_neo` is `gpt-neo`, `text-classification` is
`sequence-classification`. A type that is not in this table is inferred from the model itself, and the result says so;
`export-action features` prints this table without loading a model.

"""

COLUMNS = ("Type", "Feature", "Engine", "ONNX", "TorchScript")

NOT_RUN = "not run"

_NUMBER = re.compile(r" \(\d+\)")


@dataclass(frozen=True)
class Row:
    """One pair of the table; `onnx` and `torchscript` are verdicts."""

    model_type: str
    feature: str
    engine: str
    onnx: str
    torchscript: str


@dataclass(frozen=True)
class Outcome:
    """What a run found out about one pair in one format; `engine` is empty for a format that has one way only."""

    verdict: str = NOT_RUN
    engine: str = "-"


Outcomes = Mapping[tuple[str, str, str], Outcome]
"""By format, type and feature."""


def described_rows(outcomes: Outcomes) -> list[Row]:
    """A row for every described pair."""
    rows = []
    for model_type in architectures.model_types():
        for feature in architectures.features(model_type):
            onnx = outcomes.get(("onnx", model_type, feature), Outcome())
            traced = outcomes.get(("torchscript", model_type, feature), Outcome())
            torchscript = "-" if feature.endswith("-with-past") else traced.verdict
            rows.append(Row(model_type, feature, onnx.engine, onnx.verdict, torchscript))
    return rows


def results_of(report: Path) -> dict[tuple[str, str, str], Outcome]:
    """What the JUnit report of a run of the matrix says."""
    results = {}
    names = {
        f"{name}-{feature}": (name, feature)
        for name in architectures.model_types()
        for feature in architectures.features(name)
    }
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, identity = case.attrib["name"].rstrip("]").partition("[")
        if identity in names and test in ("test_onnx", "test_torchscript"):
            properties = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
            failed = case.find("failure") is not None or case.find("error") is not None
            verdict = "failed" if failed else f"passed ({properties['cases']})"
            model_type, feature = names[identity]
            results[test.removeprefix("test_"), model_type, feature] = Outcome(verdict, properties.get("engine", "-"))
    return results


def page(rows: Iterable[Row]) -> str:
    """The page in Markdown."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS)]
    lines += [(f"`{row.model_type}`", f"`{row.feature}`", row.engine, row.onnx, row.torchscript) for row in rows]
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def read_rows(text: str) -> list[Row]:
    """The rows of a page."""
    table = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [Row(name.strip("`"), feature.strip("`"), *rest) for name, feature, *rest in table]


def differences(told: Iterable[Row], measured: Iterable[Row]) -> list[str]:
    """Pairs about which a page says something else than a run; how many comparisons there were may differ."""
    known = {(row.model_type, row.feature): _verdicts(row) for row in told}
    return [
        f"{row.model_type} {row.feature}: {' '.join(_verdicts(row))}"
        for row in measured
        if known.get((row.model_type, row.feature)) != _verdicts(row)
    ]


def _verdicts(row: Row) -> tuple[str, ...]:
    return tuple(_NUMBER.sub("", each) for each in (row.engine, row.onnx, row.torchscript))


if __name__ == "__main__":
    rows = described_rows(results_of(Path(sys.argv[1])))
    changed = differences(read_rows(PAGE.read_text()) if PAGE.exists() else [], rows)
    PAGE.write_text(page(rows))
    if changed:
        sys.exit(f"{PAGE.name} said otherwise and was written anew:\n" + "\n".join(changed))
