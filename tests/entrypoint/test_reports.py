"""Reports of other jobs: found in any tree, read with suspicion, merged so that nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import reports
from entrypoint.reports import Found, find_reports, merge
from exporter.results import ExportError, ModelResult, Report, Source, Status, Unchanged

PASSED, FAILED, CANCELLED = Status.PASSED, Status.FAILED, Status.CANCELLED


def model(name: str, status: Status = PASSED, line: int = 1, path: str = "export.yml") -> ModelResult:
    return ModelResult(name=name, model=name, status=status, source=Source(path=path, line=line))


def report(*models: ModelResult, **facts) -> Report:
    return Report(**{"status": PASSED, "models": models, **facts})


def merged(*found: Report) -> Report:
    return merge([Found(None, each) for each in found]).report


def statuses(whole: Report) -> dict[str, str]:
    return {each.name: each.status.value for each in whole.models}


@pytest.mark.parametrize(
    "tree",
    [
        ["export-report.json"],
        ["one/export-report.json", "two/export-report.json"],
        ["deep/er/still/export-report.json"],
    ],
)
def test_any_tree_of_artifacts(tmp_path, tree):
    for number, path in enumerate(tree):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(report(model(f"m{number}")).to_json())
    found, problems = find_reports([tmp_path])
    assert [each.folder for each in found] == [(tmp_path / path).parent for path in tree]
    assert problems == []


def test_one_report_named_twice_is_one(tmp_path):
    file = tmp_path / "export-report.json"
    file.write_text(report().to_json())
    assert len(find_reports([tmp_path, file])[0]) == 1


def test_links_are_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "tree/linked").mkdir(parents=True)
    (tmp_path / "real/export-report.json").write_text(report().to_json())
    (tmp_path / "tree/linked/export-report.json").symlink_to(tmp_path / "real/export-report.json")
    (tmp_path / "tree/folder").symlink_to(tmp_path / "real")
    with pytest.raises(ExportError, match="There is no export-report"):
        find_reports([tmp_path / "tree"])


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"status": "passed", "schema_version": 99}'])
def test_what_is_no_report_is_said(tmp_path, content):
    (tmp_path / "export-report.json").write_bytes(content)
    found, problems = find_reports([tmp_path])
    assert found == []
    assert len(problems) == 1
    assert "was left out" in problems[0]
    assert merge(found, problems).report.status is Status.ERROR


def test_a_report_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_LARGEST", 10)
    (tmp_path / "export-report.json").write_text(report().to_json())
    assert "larger than 10 bytes" in find_reports([tmp_path])[1][0]


def test_hundreds_of_damaged_reports_are_counted(tmp_path):
    for number in range(30):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "export-report.json").write_text("{}")
    problems = find_reports([tmp_path])[1]
    assert len(problems) == 11
    assert problems[-1].startswith("20 more")


def test_models_are_in_the_order_of_the_manifest():
    whole = merged(report(model("c", line=9)), report(model("a", line=30), model("b", line=4)))
    assert list(statuses(whole)) == ["b", "c", "a"]


def test_the_later_run_of_a_job_counts():
    first = report(model("a", FAILED), started="2026-11-20T10:00:00+00:00")
    second = report(model("a"), started="2026-11-20T11:00:00+00:00")
    assert statuses(merged(first, second)) == statuses(merged(second, first)) == {"a": "passed"}


def test_a_plan_never_hides_what_a_job_found():
    plan = report(model("a", CANCELLED), model("b", CANCELLED), started="2026-11-20T12:00:00+00:00")
    job = report(model("a", FAILED), started="2026-11-20T10:00:00+00:00")
    assert statuses(merged(plan, job)) == {"a": "failed", "b": "cancelled"}


def test_equal_names_of_different_manifests_are_different_models():
    whole = merged(report(model("a", path="x/export.yml")), report(model("a", FAILED, path="y/export.yml")))
    assert len(whole.models) == 2


def test_what_is_unchanged_is_kept_unless_a_job_ran_it():
    left_out = tuple(Unchanged(name=name, model=name, status=PASSED, since="main@1") for name in "ab")
    assert [each.name for each in merged(report(unchanged=left_out), report(model("a"))).unchanged] == ["b"]


def test_time_is_from_the_first_start_to_the_last_end():
    jobs = [
        report(started="2026-11-20T10:00:00+00:00", seconds=60.0),
        report(started="2026-11-20T10:00:30+00:00", seconds=90.0),
        report(started="2026-11-20T09:00:00+00:00"),  # a plan takes no time
    ]
    assert merged(*jobs).seconds == 120.0
    assert merged(report(started="yesterday", seconds=5.0)).seconds == 5.0


def test_different_commits_are_said():
    whole = merged(report(commit="a" * 40), report(commit="b" * 40))
    assert whole.commit == ""
    assert "different commits: aaaaaaa, bbbbbbb" in whole.notes[0]


MODELS = st.builds(
    model,
    st.sampled_from("abcdef"),
    st.sampled_from(list(Status)),
    st.integers(1, 99),
    st.sampled_from(["x.yml", "y.yml"]),
)
REPORTS = st.lists(
    st.builds(
        lambda models, hour: report(*models, started=f"2026-11-20T{hour:02}:00:00+00:00"),
        st.lists(MODELS, max_size=4, unique_by=lambda each: (each.name, each.source.path)),
        st.integers(0, 23),
    ),
    max_size=5,
)


@given(REPORTS)
def test_no_model_is_lost_and_none_is_invented(found):
    whole = merged(*found)
    names = {(each.source.path, each.name) for one in found for each in one.models}
    assert {(each.source.path, each.name) for each in whole.models} == names
    assert len(whole.models) == len(names)


@given(REPORTS)
def test_merging_again_changes_nothing(found):
    once = merged(*found)
    assert merged(once).models == once.models
