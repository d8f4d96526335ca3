"""action.yml, the settings and the documentation say the same."""

from __future__ import annotations

import pytest
import yaml
from action_table import ACTION, DOCUMENTS, between_markers, table

from entrypoint.settings import COMMANDS, INPUTS, OUTPUTS

DESCRIBED = yaml.safe_load(ACTION.read_text())


def test_inputs_and_defaults_are_those_of_the_settings():
    defaults = {name: facts["default"] for name, facts in DESCRIBED["inputs"].items()}
    assert defaults.pop("token") == "${{ github.token }}"
    assert defaults == {name: default for name, default in INPUTS.items() if name != "token"}


def test_outputs_are_those_that_are_written():
    assert tuple(DESCRIBED["outputs"]) == OUTPUTS


def test_every_command_is_described():
    assert all(f"`{command}`" in DESCRIBED["inputs"]["command"]["description"] for command in COMMANDS)


def test_inputs_go_through_variables_and_not_through_arguments():
    # The runner prints arguments into the log, and quotes them badly.
    assert set(DESCRIBED["runs"]) == {"using", "image"}
    assert DESCRIBED["runs"]["using"] == "docker"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_documentation_has_the_table(path):
    found = between_markers(path.read_text()) if path.exists() else None
    if found is None and path.name == "README.md":
        pytest.skip("the README has no markers")
    assert found == table(), "run: python tests/entrypoint/action_table.py"
