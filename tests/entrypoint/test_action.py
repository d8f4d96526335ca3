"""The whole action in one process: real manifests, a real run with cheap workers, GitHub over HTTP."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from runner_like import pull_request

from entrypoint.exits import Exit
from exporter.results import FormatResult, ModelResult, Report, SavedFile, Status

PASSING = {"minilm": {}}
FAILING = {"minilm": {"validate legacy": "fail", "validate dynamo": "fail", "validate torchscript": "fail"}}


def uploaded(report: Report) -> bytes:
    """What upload-artifact makes of a report."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("export-report.json", report.to_json())
    return archive.getvalue()


def baseline(**statuses: Status) -> Report:
    models = tuple(ModelResult(name=name, model=f"./models/{name}", status=status) for name, status in statuses.items())
    return Report(status=Status.PASSED, models=models, commit="d" * 40)


def comments(state) -> list[str]:
    return state.bodies(7)


class TestPullRequest:
    def test_a_pass_is_told_everywhere(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**PASSING)
        assert act() is Exit.OK
        (body,) = comments(state)
        assert body.startswith("<!-- export-action:report key=CI/export v=1 -->\n### ✅ Model export: 1 model passed")
        assert "Commit `aaaaaaa`" in body
        assert "[run `#12`](https://github.test/org/models/actions/runs/77)" in body
        assert "no baseline to compare sizes with" in body
        assert "Model export: 1 model passed" in runner.summary
        assert runner.outputs == {
            "passed": "1",
            "failed": "0",
            "report": "export/export-report.json",
            "comment-url": "https://github.test/org/models/pull/7#issuecomment-1",
            "artifacts": runner.outputs["artifacts"],
        }
        artifacts = json.loads(runner.outputs["artifacts"])
        assert [(each["model"], each["format"], each["path"]) for each in artifacts] == [
            ("minilm", "onnx", "export/minilm/onnx"),
            ("minilm", "torchscript", "export/minilm/torchscript"),
        ]
        assert all((runner.workspace / each["path"]).is_dir() for each in artifacts)
        assert (runner.workspace / "export/export-report.md").read_text().startswith("# ✅")

    def test_a_failure_has_its_place_in_the_manifest(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**FAILING)
        assert act() is Exit.MODEL_FAILED
        assert "::error file=export.yml,line=4,col=5,title=minilm%3A failed::" in runner.log
        assert "### ❌ Model export: 1 model failed validation" in comments(state)[0]
        assert runner.outputs["failed"] == "1"
        assert runner.outputs["artifacts"] == "[]"

    def test_the_runner_keeps_every_annotation(self, act, on_pull_request):
        # Of each level ten; whatever is the eleventh vanishes.
        runner = on_pull_request()
        runner.models(**{f"bert-{number}": FAILING["minilm"] for number in range(12)})
        runner.commit("all")
        runner.git("config", "http.https://github.com/.extraheader", "AUTHORIZATION: basic eDpnaHNfam9i")
        assert act(token="ghs_readonly", comment="true", fail_on="never") is Exit.GITHUB_REFUSED
        errors = [line for line in runner.log.splitlines() if line.startswith("::error")]
        assert len(errors) <= 10
        assert "No comment was written" in errors[-1]
        assert "and 7 more models" in errors[-2]
        assert runner.log.count("::warning") <= 10

    def test_the_comment_is_written_anew_in_place(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**FAILING)
        act()
        runner.models(**PASSING)
        assert act() is Exit.OK
        (body,) = comments(state)
        assert "1 model passed" in body

    def test_two_keys_live_side_by_side(self, act, on_pull_request, state):
        on_pull_request().models(**PASSING)
        act(comment_key="one")
        act(comment_key="two")
        assert len(comments(state)) == 2

    def test_a_report_for_an_old_head_is_not_written(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**PASSING)
        state.pulls[7].head_sha = "f" * 40
        assert act() is Exit.OK
        assert comments(state) == []
        assert "No comment was written: #7 has moved on" in runner.log
        assert "has moved on" in runner.summary

    def test_sizes_are_compared_with_the_default_branch(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**PASSING)
        state.add_artifact("export-report", uploaded(baseline(minilm=Status.PASSED)), commit="d" * 40)
        assert act() is Exit.OK
        assert "sizes compared with [`main@ddddddd`](https://github.test/org/models/actions/runs/" in comments(state)[0]

    def test_no_comment_on_demand(self, act, on_pull_request, state):
        on_pull_request().models(**PASSING)
        assert act(comment="false") is Exit.OK
        assert comments(state) == []


class TestWithoutRights:
    @pytest.mark.parametrize("comment", ["auto", "true"])
    def test_a_fork_gets_its_verdict_and_one_sentence(self, act, on_pull_request, state, comment):
        runner = on_pull_request(fork=True)
        runner.models(**PASSING)
        assert act(token="ghs_readonly", comment=comment) is Exit.OK
        assert comments(state) == []
        assert runner.outputs["passed"] == "1"
        assert "No comment was written" in runner.summary
        assert "`on: workflow_run`" in runner.log
        assert runner.log.count("::warning") == 1

    def test_dependabot_is_told_the_same(self, act, on_pull_request):
        runner = on_pull_request()
        runner.payload["sender"]["login"] = "dependabot[bot]"
        runner.models(**PASSING)
        assert act(token="ghs_readonly") is Exit.OK
        assert "Dependabot a read-only token" in runner.log

    def test_a_missing_permission_is_a_warning_that_names_it(self, act, on_pull_request):
        runner = on_pull_request()
        runner.models(**PASSING)
        assert act(token="ghs_readonly") is Exit.OK
        assert "pull-requests: write" in runner.log

    def test_or_a_failure_where_the_inputs_insist(self, act, on_pull_request):
        runner = on_pull_request()
        runner.models(**PASSING)
        assert act(token="ghs_readonly", comment="true") is Exit.GITHUB_REFUSED
        assert runner.outputs["passed"] == "1"

    def test_which_never_hides_the_verdict(self, act, on_pull_request):
        runner = on_pull_request()
        runner.models(**FAILING)
        assert act(token="ghs_readonly", comment="true") is Exit.MODEL_FAILED
        assert "failed validation" in runner.summary

    def test_without_a_token_there_is_a_verdict(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**PASSING)
        runner.variables["INPUT_TOKEN"] = ""
        assert act(token="") is Exit.OK
        assert "there is no token for GitHub" in runner.summary
        assert state.calls == []

    def test_a_github_that_is_down_takes_no_verdict_away(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(**PASSING)
        state.fail("GET", "/", 502, times=100)
        state.fail("POST", "/", 502, times=100)
        assert act() is Exit.OK
        assert runner.outputs["passed"] == "1"
        assert "No comment was written" in runner.summary


class TestOtherEvents:
    @pytest.mark.parametrize(
        ("event", "payload"),
        [
            ("push", {"ref": "refs/heads/main"}),
            ("merge_group", {"action": "checks_requested", "merge_group": {"base_ref": "refs/heads/main"}}),
            ("workflow_dispatch", {"inputs": {}, "ref": "refs/heads/main"}),
            ("schedule", {"schedule": "0 5 * * 1"}),
        ],
    )
    def test_end_with_a_summary_and_no_word_about_comments(self, act, runner, state, event, payload):
        runner.models(**PASSING)
        runner.event, runner.payload = event, payload
        assert act() is Exit.OK
        assert "1 model passed" in runner.summary
        assert "comment" not in runner.summary
        assert state.writes() == []

    def test_only_some_models(self, act, runner):
        runner.models(bert={}, vit={}, gpt2={})
        assert act(only="bert\ngpt2") is Exit.OK
        assert [model["name"] for model in runner.report["models"]] == ["bert", "gpt2"]

    def test_a_name_that_no_entry_has(self, act, runner):
        runner.models(bert={})
        assert act(only="brt") is Exit.BAD_CALL
        assert "::error" in runner.log
        assert "did you mean 'bert'?" in runner.log

    @pytest.mark.parametrize(
        ("fail_on", "exit_code"), [("tolerance", Exit.MODEL_FAILED), ("error", Exit.OK), ("never", Exit.OK)]
    )
    def test_fail_on(self, act, runner, fail_on, exit_code):
        runner.models(**FAILING)
        assert act(fail_on=fail_on) is exit_code
        assert runner.report["status"] == "failed"

    def test_manifest_errors_are_on_their_lines(self, act, runner):
        runner.manifest("{name: a, modell: ./x}", "{name: a, model: ./y}")
        assert act() is Exit.BAD_CALL
        errors = [line for line in runner.log.splitlines() if line.startswith("::error file=export.yml,line=")]
        assert len(errors) >= 2
        assert "## ❌ Model export: not done" in runner.summary
        assert "export.yml:4" in runner.summary
        assert not (runner.workspace / "export").exists()

    def test_many_manifest_errors_are_all_said(self, act, runner):
        runner.manifest(*(f"{{name: m{number}, modell: x}}" for number in range(30)))
        assert act() is Exit.BAD_CALL
        assert runner.log.count("::error ") == 10
        assert all(f"models[{number}]" in runner.log for number in range(30))

    def test_a_credential_that_the_checkout_left_is_a_warning(self, act, runner):
        runner.models(**PASSING)
        runner.commit("all")
        runner.git("config", "http.https://github.com/.extraheader", "AUTHORIZATION: basic eDpnaHNfam9i")
        assert act() is Exit.OK
        assert "::warning" in runner.log
        assert "persist-credentials: false" in runner.log

    @pytest.mark.parametrize(
        "link", ["minilm", ".export-action", ".export-report.json.draft", ".export-report.md.draft"]
    )
    def test_a_link_in_a_committed_output_directory_leads_nowhere(self, act, runner, link):
        runner.models(**PASSING)
        elsewhere = runner.folder / "temp/elsewhere"
        elsewhere.mkdir()
        (runner.workspace / "export").mkdir()
        (runner.workspace / "export" / link).symlink_to(elsewhere / "file" if link.endswith("draft") else elsewhere)
        code = act()
        assert code is not Exit.BUG
        assert list(elsewhere.iterdir()) == []
        assert "is a link, and a folder belongs there" in runner.summary or code is Exit.OK

    def test_a_debug_log_has_what_workers_printed_and_no_command_of_theirs(self, act, runner):
        runner.models(**PASSING)
        runner.variables["RUNNER_DEBUG"] = "1"
        assert act() is Exit.OK
        assert "exporting torchscript" in runner.log
        assert "::stop-commands::" in runner.log

    def test_a_bug_is_told_as_one(self, act, runner):
        runner.models(**PASSING)
        runner.event, runner.payload = "pull_request", pull_request()
        del runner.payload["pull_request"]["html_url"]
        assert act() is Exit.BUG
        assert "This is a bug in export-action" in runner.log
        assert "Traceback" in runner.log.partition("::stop-commands::")[2]
        assert "1 model passed" in runner.summary


class TestOnlyChanged:
    @pytest.fixture
    def changed(self, runner, on_pull_request):
        """A repository with three models, and a pull request that is told what it changes."""

        def change(*, weights: str = "", entry: bool = False) -> None:
            runner.models(bert={}, vit={}, gpt2={})
            base = runner.commit("base")
            runner.git("checkout", "--quiet", "-b", "feature")
            if weights:
                runner.write(f"models/{weights}/model.safetensors", "other weights")
            if entry:
                text = (runner.workspace / "export.yml").read_text()
                runner.write(
                    "export.yml", text.replace("model: ./models/vit}", "model: ./models/vit, formats: [onnx]}")
                )
            on_pull_request(head=runner.commit("change"), base=base)

        return change

    def test_what_is_changed_is_exported_and_the_rest_listed(self, act, runner, changed, state):
        changed(weights="bert")
        content = uploaded(baseline(vit=Status.PASSED, gpt2=Status.FAILED))
        state.add_artifact("export-report", content, commit="d" * 40)
        assert act(only_changed="true") is Exit.OK
        assert [model["name"] for model in runner.report["models"]] == ["bert"]
        assert runner.report["unchanged"] == [
            {"name": "vit", "model": "./models/vit", "status": "passed", "since": "main@ddddddd"},
            {"name": "gpt2", "model": "./models/gpt2", "status": "failed", "since": "main@ddddddd"},
        ]
        assert "2 unchanged (1 of them not passing)" in comments(state)[0]

    def test_an_entry_that_says_something_else_is_changed(self, act, runner, changed):
        changed(entry=True)
        assert act(only_changed="true") is Exit.OK
        assert [model["name"] for model in runner.report["models"]] == ["vit"]

    def test_nothing_changed(self, act, runner, changed, state):
        changed()
        assert act(only_changed="true") is Exit.OK
        assert runner.report["models"] == []
        assert {each["status"] for each in runner.report["unchanged"]} == {"unverified"}
        assert "3 models unchanged" in comments(state)[0]

    def test_custom_code_is_part_of_an_entry(self, act, runner, on_pull_request):
        runner.models(bert={}, vit={})
        runner.manifest(
            "{name: bert, model: ./models/bert, config: 'configs/mine.py:MyConfig'}", "{name: vit, model: ./models/vit}"
        )
        runner.write("configs/mine.py", "from other import a\nclass MyConfig: pass")
        runner.write("configs/other.py", "a = 1")
        base = runner.commit("base")
        runner.write("configs/other.py", "a = 2")
        on_pull_request(base=base, head=runner.commit("change"))
        act(only_changed="true")
        assert [model["name"] for model in runner.report["models"]] == ["bert"]

    def test_a_submodule_that_moved_is_what_lies_in_it(self, act, runner, on_pull_request, tmp_path):
        runner.models(bert={}, vit={})
        runner.commit("models")
        (runner.workspace / ".git").rename(tmp_path / "weights.git")
        runner.git("clone", "--quiet", str(tmp_path / "weights.git"), str(tmp_path / "weights"))
        for left in ("models", "export.yml"):
            (runner.workspace / left).rename(tmp_path / left)
        runner.git("init", "--quiet")
        runner.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "weights"), "sub")
        runner.manifest("{name: bert, model: ./sub/models/bert}", "{name: vit, model: ./sub/models/vit}")
        base = runner.commit("base")
        runner.git("-C", "sub", "commit", "--quiet", "--allow-empty", "--message", "moved")
        on_pull_request(base=base, head=runner.commit("change"))
        act(only_changed="true")
        assert [model["name"] for model in runner.report["models"]] == ["bert", "vit"]

    def test_the_merge_of_a_pull_request_is_compared_with_its_base(self, act, runner, on_pull_request):
        runner.models(bert={}, vit={}, gpt2={})
        runner.commit("start")
        runner.git("checkout", "--quiet", "-b", "feature")
        runner.write("models/bert/model.safetensors", "mine")
        head = runner.commit("change")
        runner.git("checkout", "--quiet", "main")
        runner.write("models/vit/model.safetensors", "another's, merged since")
        base = runner.commit("meanwhile")
        runner.git("merge", "--quiet", "--no-edit", "feature")
        on_pull_request(base=base, head=head)
        assert act(only_changed="true") is Exit.OK
        assert [model["name"] for model in runner.report["models"]] == ["bert"]

    def test_files_that_git_does_not_keep_may_be_anything(self, act, runner, changed):
        changed()
        runner.write(".git/info/exclude", "*.bin\n")
        runner.write("models/gpt2/extra.bin", "fetched by an earlier step")
        assert act(only_changed="true") is Exit.OK
        assert [model["name"] for model in runner.report["models"]] == ["gpt2"]

    def test_a_shallow_clone_is_explained(self, act, runner, changed, tmp_path):
        changed(weights="bert")
        whole = runner.workspace.rename(tmp_path / "whole")
        runner.workspace.mkdir()
        runner.git("clone", "--quiet", "--depth", "1", "--branch", "feature", f"file://{whole}", ".")
        assert act(only_changed="true") is Exit.BAD_CALL
        assert "This clone is shallow" in runner.log
        assert "`fetch-depth: 0`" in runner.log

    def test_no_checkout_is_explained(self, act, on_pull_request, runner):
        on_pull_request()
        runner.models(**PASSING)
        assert act(only_changed="true") is Exit.BAD_CALL
        assert "actions/checkout" in runner.log

    def test_other_events_export_everything_and_say_so(self, act, runner):
        runner.models(bert={}, vit={})
        assert act(only_changed="true") is Exit.OK
        assert len(runner.report["models"]) == 2
        assert "`only-changed` is for pull requests" in runner.log


class TestMatrix:
    def legs(self, act, runner, **inputs: str) -> list[Path]:
        """Plan, run every job of the matrix, and keep what each would upload."""
        assert act(command="plan", **inputs) is Exit.OK
        jobs = json.loads(runner.outputs["matrix"])["include"]
        kept = []
        for number, job in enumerate([{}, *jobs]):
            if job:
                act(only=job["only"], comment="false")
            kept.append((runner.workspace / "export").rename(runner.folder / f"temp/export-{number}"))
        return kept

    def test_from_plan_to_one_comment(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(bert={}, vit={"inspect": "refuse"}, gpt2={})
        assert len(self.legs(act, runner, shards="2")) == 3
        assert comments(state) == []
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.MODEL_FAILED
        (body,) = comments(state)
        assert "1 of 3 models could not be exported" in body
        assert [model["name"] for model in runner.report["models"]] == ["bert", "vit", "gpt2"]
        assert json.loads(runner.outputs["artifacts"])[0]["path"].endswith("bert/onnx")

    def test_a_job_that_never_ran_is_not_forgotten(self, act, on_pull_request, state):
        runner = on_pull_request()
        runner.models(bert={}, vit={})
        lost = self.legs(act, runner)[2]
        lost.rename(runner.folder / "lost")
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.MODEL_FAILED
        assert "1 of 2 models cancelled" in comments(state)[0]

    def test_what_the_plan_left_out_is_in_the_comment(self, act, on_pull_request, runner, state):
        runner.models(bert={}, vit={})
        base = runner.commit("base")
        runner.write("models/bert/model.safetensors", "other")
        on_pull_request(base=base, head=runner.commit("change"))
        assert len(self.legs(act, runner, only_changed="true")) == 2
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.OK
        assert "1 model passed, 1 unchanged" in comments(state)[0]

    def test_nothing_to_do_is_an_empty_matrix(self, act, on_pull_request, runner):
        runner.models(bert={})
        base = runner.commit("base")
        on_pull_request(base=base)
        assert act(command="plan", only_changed="true") is Exit.OK
        assert json.loads(runner.outputs["matrix"]) == {"include": []}

    def test_without_reports_it_says_what_to_do(self, act, runner):
        (runner.folder / "temp/reports").mkdir()
        assert act(command="report", reports=str(runner.folder / "temp/reports")) is Exit.BAD_CALL
        assert "actions/download-artifact" in runner.log

    def test_a_damaged_report_is_an_error_of_the_whole(self, act, on_pull_request, state):
        runner = on_pull_request()
        (runner.folder / "temp/a").mkdir()
        (runner.folder / "temp/b").mkdir()
        (runner.folder / "temp/a/export-report.json").write_text(baseline(bert=Status.PASSED).to_json())
        (runner.folder / "temp/b/export-report.json").write_text("{}")
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.MODEL_FAILED
        assert "was left out" in comments(state)[0]

    def test_outputs_that_github_would_not_take_cost_no_verdict(self, act, on_pull_request, state):
        runner = on_pull_request()
        file = SavedFile(path="onnx/model.onnx", bytes=1, sha256="0" * 64)
        onnx = FormatResult(format="onnx", status=Status.PASSED, files=(file,))
        names = [f"{number:04d}" + "x" * 120 for number in range(2000)]
        models = tuple(ModelResult(name=name, model="m", status=Status.PASSED, formats=(onnx,)) for name in names)
        (runner.folder / "temp/export-report.json").write_text(Report(status=Status.PASSED, models=models).to_json())
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.OK
        assert runner.outputs["artifacts"] == ""
        assert runner.outputs["passed"] == "2000"
        assert "::warning title=Model export::The output `artifacts` is empty" in runner.log
        assert "all 2,000 models passed" in runner.summary
        assert "all 2,000 models passed" in comments(state)[0]

    def test_many_damaged_reports_are_one_warning(self, act, on_pull_request):
        runner = on_pull_request()
        for number in range(20):
            (runner.folder / f"temp/{number}").mkdir()
            (runner.folder / f"temp/{number}/export-report.json").write_text("{}")
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.MODEL_FAILED
        assert runner.log.count("::warning") == 1
        assert "10 more reports were left out" in runner.log

    def test_a_comment_is_what_the_command_is_for(self, act, on_pull_request):
        runner = on_pull_request()
        (runner.folder / "temp/export-report.json").write_text(baseline(bert=Status.PASSED).to_json())
        assert act(command="report", reports=str(runner.folder / "temp"), token="ghs_readonly") is Exit.GITHUB_REFUSED


class TestWorkflowRun:
    @pytest.fixture
    def second(self, runner, state):
        """The second workflow, after one for a pull request of a fork; `facts` change what the event says."""

        def happen(**facts) -> None:
            runner.event = "workflow_run"
            run = {
                "id": 70,
                "run_number": 11,
                "event": "pull_request",
                "html_url": "https://github.test/org/models/actions/runs/70",
                "head_branch": "feature",
                "head_sha": "a" * 40,
                "head_repository": {"full_name": "mona/models", "owner": {"login": "mona"}},
                "pull_requests": [],
            }
            runner.payload = {"action": "completed", "workflow_run": {**run, **facts}}
            report = baseline(bert=Status.PASSED)
            report = report.model_copy(update={"notes": ("<script>alert(1)</script> @org/team",)})
            (runner.folder / "temp/export-report.json").write_text(report.to_json())
            (runner.folder / "temp/export-report.md").write_text("# forged")
            state.add_pull(7, "a" * 40, head_repository="mona/models")

        return happen

    def test_the_pull_request_is_found_from_the_run(self, act, runner, second, state):
        second()
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.OK
        (body,) = comments(state)
        assert "Commit `aaaaaaa`" in body
        assert "[run `#11`](https://github.test/org/models/actions/runs/70)" in body

    def test_markdown_is_made_here_and_not_taken(self, act, runner, second, state):
        second()
        act(command="report", reports=str(runner.folder / "temp"))
        assert "forged" not in comments(state)[0]
        assert "`<script>alert(1)</script> @org/team`" in comments(state)[0]

    def test_a_pull_request_that_moved_on_gets_no_comment(self, act, runner, second, state):
        second(head_sha="9" * 40)
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.OK
        assert comments(state) == []
        assert "No comment was written: `#7` has moved on" in runner.summary

    def test_a_run_of_a_push_has_none(self, act, runner, second, state):
        second(event="push")
        assert act(command="report", reports=str(runner.folder / "temp")) is Exit.OK
        assert comments(state) == []


class TestPublish:
    @pytest.fixture
    def tagged(self, runner):
        runner.payload = {"ref": "refs/tags/v1.2.0"}
        runner.models(**PASSING)
        return runner

    def assets(self, state) -> dict[str, bytes]:
        (release,) = state.releases.values()
        assert not release.draft
        return {asset.name: asset.content for asset in release.assets.values()}

    def test_a_tag_becomes_a_release(self, act, tagged, state):
        assert act() is Exit.OK
        found = self.assets(state)
        assert sorted(found) == ["SHA256SUMS", "export-report.json", "minilm-onnx.zip", "minilm-torchscript.zip"]
        with zipfile.ZipFile(io.BytesIO(found["minilm-onnx.zip"])) as zipped:
            assert zipped.namelist() == ["artifact.json", "model.onnx"]
            original = tagged.workspace / "export/minilm/onnx/model.onnx"
            assert zipped.read("model.onnx") == original.read_bytes()
        (release,) = state.releases.values()
        assert (release.tag, release.prerelease, release.target) == ("v1.2.0", False, "e" * 40)
        assert "1 model passed" in release.body
        assert "Published in release v1.2.0: 4 files" in tagged.log

    def test_a_second_time_artifacts_stay(self, act, tagged, state):
        act()
        state.calls.clear()
        assert act() is Exit.OK
        assert len([call for call in state.writes() if "assets" in call.path and call.method == "POST"]) <= 2

    def test_a_candidate_is_a_prerelease(self, act, runner, state):
        runner.payload = {"ref": "refs/tags/v1.2.0-rc.1"}
        runner.models(**PASSING)
        assert act() is Exit.OK
        (release,) = state.releases.values()
        assert release.prerelease

    def test_what_failed_is_not_published(self, act, runner, state):
        runner.payload = {"ref": "refs/tags/v1.2.0"}
        runner.models(**FAILING)
        assert act() is Exit.MODEL_FAILED
        assert state.releases == {}
        assert "Not published: only models that passed are." in runner.log

    @pytest.mark.parametrize(
        ("publish", "exit_code"), [("auto", Exit.OK), ("true", Exit.GITHUB_REFUSED), ("false", Exit.OK)]
    )
    def test_without_permission(self, act, tagged, state, publish, exit_code):
        assert act(token="ghs_commenter", publish=publish) is exit_code
        assert state.releases == {}
        assert ("Not published" in tagged.summary) == (publish != "false")
        assert ("contents: write" in tagged.log) == (publish != "false")

    def test_a_job_of_a_matrix_does_not_publish_its_part(self, act, tagged, state):
        assert act(only="minilm") is Exit.OK
        assert state.releases == {}
        assert "`command: publish`" in tagged.log

    def test_of_what_other_jobs_exported(self, act, runner, state):
        runner.models(**PASSING)
        act()
        (runner.workspace / "export").rename(runner.folder / "temp/export-1")
        reports = str(runner.folder / "temp")
        assert act(command="publish", reports=reports, tag="v3") is Exit.OK
        assert "minilm-onnx.zip" in self.assets(state)

    def test_never_of_files_that_are_not_what_was_judged(self, act, runner, state):
        runner.models(**PASSING)
        act()
        (runner.workspace / "export/minilm/onnx/model.onnx").write_text("swapped")
        assert act(command="publish", tag="v3") is Exit.GITHUB_REFUSED
        assert state.releases == {}
        assert "is not what was judged" in runner.log

    def test_without_a_tag_it_asks_for_one(self, act, runner):
        assert act(command="publish") is Exit.BAD_CALL
        assert "The input `tag`" in runner.log


def test_the_event_of_the_tests_has_the_shape_of_a_real_one():
    examples = Path(__file__).parent / "github/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    if not examples.is_file():
        pytest.skip("needs `npm ci --ignore-scripts` in tests/entrypoint/github")
    (real,) = [found["examples"][0] for found in json.loads(examples.read_text()) if found["name"] == "pull_request"]

    def compare(ours, theirs):
        assert isinstance(theirs, type(ours))
        for name, value in ours.items() if isinstance(ours, dict) else ():
            compare(value, theirs[name])

    compare(pull_request(), real)
