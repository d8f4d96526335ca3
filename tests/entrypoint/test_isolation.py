"""What passes into the clean process, and what stays out of everybody's reach."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.isolation import close_docker_socket, left_credentials, separate
from entrypoint.settings import INPUTS, variable


def test_inputs_and_the_runners_variables_pass():
    given = {variable(name): "x" for name in INPUTS} | {"GITHUB_SHA": "x", "RUNNER_TEMP": "/t", "HTTPS_PROXY": "p"}
    public, secrets = separate({**given, "HF_HOME": "/h", "HF_ENDPOINT": "e"})
    assert secrets == {"INPUT_TOKEN": "x", "INPUT_HF-TOKEN": "x"}
    assert {name for name in given if name not in public} == set(secrets)
    assert public["HF_HOME"] == "/h"


@pytest.mark.parametrize(
    "name",
    [
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "HF_TOKEN",
        "INPUT_SOMETHING",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PYTHONPATH",
        "RUNNER_SECRET",
        "TMPDIR",
    ],
)
def test_all_else_stays_behind(name):
    assert name not in separate({name: "value"})[0]


def test_the_path_is_ours():
    assert "/usr/bin" in separate({"PATH": "utter-nonsense"})[0]["PATH"].split(":")


@given(st.dictionaries(st.text(st.characters(categories=["Lu"]), min_size=1), st.text(min_size=1)))
def test_no_secret_is_public(environment):
    public, secrets = separate({**environment, "INPUT_TOKEN": "a", "HF_TOKEN": "b"})
    assert set(public).isdisjoint(secrets)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "run/docker.sock"))
        yield tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_in_a_container_the_docker_socket_is_closed(root):
    (root / ".dockerenv").touch()
    close_docker_socket(root)
    assert mode(root / "run") == 0o700


def test_a_machine_is_left_alone(root):
    before = mode(root / "run")
    close_docker_socket(root)
    assert mode(root / "run") == before


def test_without_a_socket_there_is_nothing_to_close(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / ".dockerenv").touch()
    close_docker_socket(tmp_path)
    assert mode(tmp_path / "run") == 0o777 & ~_umask()


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


@pytest.mark.parametrize(
    "config",
    [
        '[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic eDpnaHM=\n',
        '[includeIf "gitdir:/github/workspace/.git"]\n\tpath = /github/runner_temp/git-credentials-1f2e.config\n',
        '[remote "origin"]\n\turl = https://x-access-token:ghs_abc@github.com/org/models\n',
    ],
)
def test_a_credential_in_the_checkout_is_told(tmp_path, config):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text(config)
    assert "persist-credentials: false" in left_credentials(tmp_path)


@pytest.mark.parametrize("config", ["", '[remote "origin"]\n\turl = https://github.com/org/models\n', None])
def test_without_one_there_is_nothing_to_say(tmp_path, config):
    (tmp_path / ".git").mkdir()
    if config is not None:
        (tmp_path / ".git/config").write_text(config)
    assert left_credentials(tmp_path) == ""
