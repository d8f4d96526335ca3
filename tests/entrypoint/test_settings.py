"""Inputs as the runner passes them: empty is unset, `required` is ours to judge, every error names the input."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.settings import INPUTS, InputError, Settings, WorkflowRun, from_runner, variable


def settings(**inputs: str) -> Settings:
    return from_runner({variable(name.replace("_", "-")): value for name, value in inputs.items()})


def problem(**inputs: str) -> str:
    with pytest.raises(InputError) as caught:
        settings(**inputs)
    return caught.value.problem.message


def test_the_runner_keeps_dashes_and_turns_spaces_into_underscores():
    assert variable("fail-on") == "INPUT_FAIL-ON"
    assert variable("two words") == "INPUT_TWO_WORDS"


def test_without_inputs_all_is_as_documented():
    assert from_runner({}) == Settings()


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_empty_is_unset(blank):
    assert settings(**dict.fromkeys(INPUTS, blank)) == Settings()


def test_inputs_arrive():
    found = settings(
        command="report",
        manifest="a/export.yml\n\n b.yml \n",
        output_dir="out/",
        only="bert\nvit\nbert",
        only_changed="True",
        jobs="3",
        fail_on="never",
        keep_cache="FALSE",
        comment="false",
        publish="True",
        tag="refs/tags/v1.2.0",
        shards="12",
        hf_token=" hf_x ",
    )
    assert found == Settings(
        command="report",
        manifests=(Path("a/export.yml"), Path("b.yml")),
        output_directory=Path("out"),
        only=("bert", "vit"),
        only_changed=True,
        jobs=3,
        fail_on="never",
        keep_cache=False,
        comment="false",
        publish="true",
        tag="v1.2.0",
        shards=12,
        hf_token="hf_x",
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("command", "Export", "`run`, `plan`, `report`, `publish`"),
        ("command", "reprot", "did you mean `report`?"),
        ("fail-on", "tolerances", "did you mean `tolerance`?"),
        ("quick", "yes", "neither `true` nor `false`"),
        ("jobs", "0", "whole number from 1"),
        ("jobs", "-1", "whole number from 1"),
        ("jobs", "²", "whole number from 1"),
        ("jobs", "1.5", "whole number from 1"),
        ("shards", "257", "from 1 to 256"),
        ("publish", "maybe", "`auto`, `true`, `false`"),
        ("tag", "v1 2", "write it like `v1.2.0`"),
        ("tag", "-rf", "write it like `v1.2.0`"),
        ("tag", "v1..2", "write it like `v1.2.0`"),
        ("manifest", "../export.yml", "relative to it"),
        ("manifest", "ok.yml\n/etc/passwd", "'/etc/passwd' is outside the workspace"),
        ("output-dir", "a\nb", "one path"),
        ("output-dir", "/home/runner/work/models/models/export", "outside the workspace"),
        ("reports", "a\0b", "unprintable"),
        ("comment-key", "x" * 101, "at most 100 characters"),
    ],
)
def test_an_error_names_the_input_and_what_to_write(name, value, said):
    message = problem(**{name: value})
    assert message.startswith(f"The input `{name}`: ")
    assert said in message


def test_all_errors_at_once():
    assert len(problem(command="x", jobs="x", quick="x").splitlines()) == 3


def test_a_path_may_be_in_the_temporary_folder_of_the_runner(tmp_path):
    workspace, temporary = tmp_path / "workspace", tmp_path / "temp"
    workspace.mkdir()
    environment = {"GITHUB_WORKSPACE": str(workspace), "RUNNER_TEMP": str(temporary)}
    found = from_runner({**environment, "INPUT_REPORTS": f"{temporary}/reports\n{workspace}/more"})
    assert found.reports == (temporary / "reports", Path("more"))


def test_a_link_out_of_the_workspace_is_no_way_out(tmp_path):
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace/out").symlink_to("/etc")
    with pytest.raises(InputError, match="outside the workspace"):
        from_runner({"GITHUB_WORKSPACE": str(tmp_path / "workspace"), "INPUT_OUTPUT-DIR": "out"})


def test_a_token_for_the_whole_job_is_enough():
    assert from_runner({"HF_TOKEN": "hf_job"}).hf_token == "hf_job"
    assert from_runner({"HF_TOKEN": "hf_job", "INPUT_HF-TOKEN": "hf_input"}).hf_token == "hf_input"


def test_tokens_are_never_shown():
    shown = repr(settings(token="ghs_secret", hf_token="hf_secret"))
    assert "secret" not in shown


def test_the_key_tells_jobs_apart():
    assert Settings(run=WorkflowRun(workflow="CI", job="export")).key == "CI/export"
    assert Settings(comment_key="mine", run=WorkflowRun(workflow="CI")).key == "mine"
    assert Settings().key == "export"


@pytest.mark.parametrize(
    ("event", "payload", "ref", "tag"),
    [
        ("push", {}, "refs/tags/v1.0", "v1.0"),
        ("push", {}, "refs/heads/v1.0", ""),
        ("release", {"action": "published", "release": {"tag_name": "v2"}}, "refs/tags/v2", "v2"),
        ("release", {"action": "deleted", "release": {"tag_name": "v2"}}, "refs/tags/v2", ""),
        ("pull_request", {}, "refs/pull/7/merge", ""),
    ],
)
def test_the_tag_of_an_event(event, payload, ref, tag):
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    assert WorkflowRun(event=event, payload=payload, ref=ref, ref_type=kind).tag == tag


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_an_unreadable_event_is_named(tmp_path, content):
    path = tmp_path / "event.json"
    path.write_text(content)
    with pytest.raises(InputError, match="GITHUB_EVENT_PATH"):
        from_runner({"GITHUB_EVENT_PATH": str(path)})


@given(st.dictionaries(st.sampled_from(sorted(INPUTS)), st.text(max_size=40)))
def test_any_text_is_settings_or_an_input_error(inputs):
    with contextlib.suppress(InputError):
        found = settings(**inputs)
        assert not any(path.is_absolute() or ".." in path.parts for path in (*found.manifests, found.output_directory))
