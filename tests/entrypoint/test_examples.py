"""The workflows that people copy, from the examples and the documentation, as this version of the action takes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrypoint.settings import INPUTS, OUTPUTS, Settings, from_runner, variable
from exporter.manifest import read_entries

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/workflows").glob("*.yml"))
US = "org/export-action@v1"


def blocks(document: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)


WRITTEN = {path.name: path.read_text() for path in EXAMPLES}
WRITTEN |= {
    f"{document}, {number}": block
    for document in ("README.md", "docs/action.md")
    for number, block in enumerate(blocks(document), start=1)
    if US in block
}


def uses(part: Any) -> list[dict[str, Any]]:
    """What steps give to the action, wherever they are."""
    if isinstance(part, list):
        return [step for each in part for step in uses(each)]
    if not isinstance(part, dict):
        return []
    found = [part.get("with", {})] if part.get("uses") == US else []
    return [*found, *(step for each in part.values() for step in uses(each))]


def given(inputs: dict[str, Any]) -> Settings:
    """The settings of a step. An expression may become nothing, which is an input that is not set."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in inputs.items()}
    return from_runner({variable(name): "" if "${{" in text else text for name, text in texts.items()})


@pytest.mark.parametrize("name", WRITTEN)
def test_every_input_is_one_that_the_action_has(name):
    steps = uses(yaml.safe_load(WRITTEN[name]))
    assert steps
    for inputs in steps:
        assert set(inputs) <= set(INPUTS)
        given(inputs)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_output_is_one_that_the_action_has(name):
    ids = re.findall(r"- id: (\w+)\n\s+uses: " + US, WRITTEN[name])
    for step in ids:
        assert set(re.findall(rf"steps\.{step}\.outputs\.([\w-]+)", WRITTEN[name])) <= set(OUTPUTS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_pull_requests_are_overtaken_and_tags_never(path):
    workflow = yaml.safe_load(path.read_text())
    events = workflow[True]  # what YAML 1.1 makes of `on`
    events = dict.fromkeys([events]) if isinstance(events, str) else events
    cancels = workflow["concurrency"]["cancel-in-progress"]
    if set(events) == {"pull_request"}:
        assert cancels is True
    elif "pull_request" in events:
        assert cancels == "${{ github.event_name == 'pull_request' }}"
    else:
        assert cancels is False
    assert not ("pull_request" in events and (events.get("push") or {}).get("tags"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_rights_are_those_of_a_job(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        writes = {name for name, right in job["permissions"].items() if right == "write"}
        # Whoever may publish does nothing else.
        assert writes <= {"pull-requests"} or writes == {"contents"}


def test_the_baseline_is_uploaded_under_the_name_that_is_looked_for():
    # By workflows that see the default branch, and only with every model in it.
    for name in ("pull-request.yml", "matrix.yml", "schedule.yml", "self-hosted.yml"):
        assert f"          name: {INPUTS['baseline']}\n" in WRITTEN[name]


def test_the_readme_begins_with_ten_lines_that_are_a_workflow():
    workflow, manifest = blocks("README.md")[:2]
    assert US in workflow
    assert len([line for line in workflow.splitlines() if not line.startswith("#")]) <= 10
    assert {"permissions", "jobs", True} == set(yaml.safe_load(workflow))
    assert [entry.name for entry in read_entries(manifest.encode(), ROOT / "export.yml")] == [
        "minilm",
        "our-classifier",
    ]
