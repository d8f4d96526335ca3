"""The table of docs/validation.md says what was measured, of the faults and families that there are now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.peers.results import OPTIMUM, OURS, TRANSFORMERS, Results, Verdict, read, write
from benchmarks.table import PAGE, section, table
from tests.validation.conftest import FAMILIES
from tests.validation.faults.graph_faults import FAULTS
from tests.validation.faults.model_faults import MODEL_FAULTS
from tests.validation.faults.planting import FAMILIES_BY_FAULT, NOT_IN_ONNX

RUN_IT = "run `make bench` (or scripts/peers-setup, python -m benchmarks.peers, python -m benchmarks.table)"
ROOT = Path(__file__).parents[2]


def faults(results: Results, kind: str) -> set[str]:
    return {each.fault for each in results.files if each.kind == kind}


def test_the_table_is_made_from_the_results() -> None:
    assert section(PAGE.read_text(encoding="utf-8")) == table(read()), RUN_IT


def test_the_results_cover_the_faults_that_there_are() -> None:
    results = read()
    assert faults(results, "graph") == set(FAULTS), RUN_IT
    assert faults(results, "model") == set(MODEL_FAULTS) - set(NOT_IN_ONNX), RUN_IT
    for fault in FAULTS:
        planted = [each for each in results.files if (each.kind, each.fault) == ("graph", fault)]
        assert 1 <= len(planted) <= FAMILIES_BY_FAULT


def test_the_results_cover_sound_files_of_every_family_with_three_seeds() -> None:
    sound = {(each.family, each.seed) for each in read().files if each.kind == "sound"}
    assert sound == {(family, seed) for family in FAMILIES for seed in range(3)}, RUN_IT


def test_every_fault_was_caught_and_no_sound_file_refused() -> None:
    said = {(each.kind, each.fault, each.family, each.file): each.verdicts[OURS] for each in read().files}
    assert [file for file, verdict in said.items() if bool(file[1]) != verdict.refused] == []


def test_the_peers_are_those_that_are_installed_for_it() -> None:
    results = read()
    for name, environment in ((TRANSFORMERS, "transformers-onnx"), (OPTIMUM, "optimum-onnx")):
        lines = (ROOT / "benchmarks" / f"requirements-{environment}.txt").read_text(encoding="utf-8").splitlines()
        pinned = dict(line.split("==") for line in lines if "==" in line)
        known = {package: version for package, version in pinned.items() if package in results.versions[name]}
        assert "transformers" in known
        assert {package: results.versions[name][package] for package in known} == known, RUN_IT


def test_a_fault_that_is_missed_is_said_so(tmp_path: Path) -> None:
    results = read()
    fault = next(each for each in results.files if each.fault)
    missed = replace(fault, verdicts={**fault.verdicts, OURS: Verdict("passed")})
    other = replace(results, files=tuple(missed if each is fault else each for each in results.files))
    write(other, tmp_path / "peers.json")
    rows = table(read(tmp_path / "peers.json")).splitlines()
    changed = [row for row in rows if row not in table(results).splitlines()]
    assert [row for row in changed if row.startswith(f"| {OURS} ")]
    assert [row for row in changed if row.startswith(f"| {fault.fault}") and "**missed**" in row]
