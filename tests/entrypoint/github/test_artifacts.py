"""The baseline: where it comes from, and what is not taken for one."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import pytest

from entrypoint.github import artifacts
from entrypoint.github.artifacts import REPORT_NAME, find_baseline
from exporter.results import ModelResult, Report, Status

NAME = "export-report"


def report(commit="1" * 40):
    return Report(status=Status.PASSED, commit=commit)


def packed(*members, names=(REPORT_NAME,)):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in zip(names, members or [report().to_json()], strict=True):
            archive.writestr(name, member)
    return stream.getvalue()


def test_the_default_branch_gives_the_baseline(client, state):
    state.add_artifact(NAME, packed(), run=10, commit="old" + "0" * 37)
    state.add_artifact(NAME, packed(report("2" * 40).to_json()), run=11, commit="def5678" + "0" * 33)
    state.add_artifact("models", b"not a zip", run=12)
    found = find_baseline(client, NAME)
    assert (found.source, found.label) == ("artifact", "main@def5678")
    assert found.reports == (report("2" * 40),)
    assert found.commit == "def5678" + "0" * 33
    assert found.url == "https://github.test/org/models/actions/runs/11"
    assert found.notes == ()


def reached(commit, **statuses):
    models = tuple(ModelResult(name=name, model=name, status=status) for name, status in statuses.items())
    return Report(status=Status.PASSED, commit=commit, models=models).to_json()


def test_a_run_that_was_interrupted_gives_way_to_one_that_was_not(client, state):
    whole = reached("1" * 40, bert=Status.PASSED, vit=Status.FAILED)
    state.add_artifact(NAME, packed(whole), run=10, commit="1" * 40)
    state.add_artifact(NAME, packed(reached("2" * 40, bert=Status.PASSED, vit=Status.CANCELLED)), run=11)
    found = find_baseline(client, NAME)
    assert found.commit == "1" * 40
    assert found.notes == ("Run 11 was interrupted before it had a verdict for every model.",)


def test_and_serves_where_there_is_no_other(client, state):
    for run in (10, 11):
        state.add_artifact(NAME, packed(reached("2" * 40, bert=Status.CANCELLED)), run=run, commit=f"{run:040d}")
    assert find_baseline(client, NAME).commit == f"{11:040d}"


def test_a_plan_beside_the_reports_of_its_jobs_is_no_interruption(client, state):
    plan = reached("1" * 40, bert=Status.CANCELLED, vit=Status.CANCELLED)
    jobs = [reached("1" * 40, bert=Status.PASSED), reached("1" * 40, vit=Status.PASSED)]
    names = [f"{folder}/{REPORT_NAME}" for folder in "abc"]
    state.add_artifact(NAME, packed(plan, *jobs, names=names), run=10)
    assert find_baseline(client, NAME).notes == ()


def test_another_branch_can_be_asked_for(client, state):
    state.add_artifact(NAME, packed(), branch="release", commit="e" * 40)
    assert find_baseline(client, NAME, "release").label == "release@eeeeeee"


def test_the_run_that_asks_is_not_compared_with_itself(client, state):
    state.add_artifact(NAME, packed(), run=10, commit="1" * 40)
    state.add_artifact(NAME, packed(), run=11, commit="2" * 40)
    assert find_baseline(client, NAME, except_run=11).commit == "1" * 40


@pytest.mark.parametrize(
    "facts",
    [
        {"branch": "feature"},
        {"expired": True},
        {"head_repository": 2},  # a fork whose branch is called main as well
    ],
)
def test_what_is_not_of_the_branch_itself_is_left_out(client, state, facts):
    state.add_artifact(NAME, packed(), run=10)
    state.add_artifact(NAME, packed(), run=11, **facts)
    found = find_baseline(client, NAME)
    assert found.url.endswith("/10")
    assert found.notes == ()


def test_it_is_found_behind_many_of_pull_requests(client, state):
    state.add_artifact(NAME, packed(), run=10)
    for number in range(230):
        state.add_artifact(NAME, b"", branch=f"feature-{number}")
    assert find_baseline(client, NAME).url.endswith("/10")


def test_several_reports_in_one_artifact_are_all_read(client, state):
    names = (f"shard-1/{REPORT_NAME}", f"shard-2/{REPORT_NAME}", "notes.txt")
    state.add_artifact(NAME, packed(report("1" * 40).to_json(), report("2" * 40).to_json(), "hello", names=names))
    assert [found.commit for found in find_baseline(client, NAME).reports] == ["1" * 40, "2" * 40]


def test_a_path_that_leads_out_of_the_archive_writes_nothing(client, state, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    state.add_artifact(NAME, packed(report().to_json(), names=(f"../../{REPORT_NAME}",)))
    assert find_baseline(client, NAME).source == "artifact"
    assert list(tmp_path.rglob(REPORT_NAME)) == []


def liar():
    """A zip whose headers claim ten bytes for a member of many."""
    content = bytearray(packed("0" * 5_000_000))
    real = struct.pack("<I", 5_000_000)
    return bytes(content).replace(real, struct.pack("<I", 10))


def encrypted():
    content = bytearray(packed())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    return bytes(content)


def corrupt():
    content = packed("x" * 1000)
    return content[:45] + b"\xff\xff\xff\xff" + content[49:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no zip file"),
        (b"PK\x03\x04 and then nothing", "no zip file"),
        (packed()[:-10], "no zip file"),
        (corrupt(), "no zip file"),
        (encrypted(), "no zip file"),
        (packed("hello", names=("notes.txt",)), f"holds no {REPORT_NAME}"),
        (packed("not json"), "not an export report"),
        (packed('{"status": "splendid"}'), "not an export report: status"),
        (packed('{"schema_version": 99, "status": "passed"}'), "schema version 99"),
        (packed("0" * 3_000_000), "unpacks to more than"),
        (liar(), "left out"),
    ],
)
def test_what_can_not_be_read_is_named_and_the_next_one_taken(client, state, monkeypatch, content, words):
    monkeypatch.setattr(artifacts, "_LARGEST", 1_000_000)
    state.add_artifact(NAME, packed(), run=10)
    state.add_artifact(NAME, content, run=11)
    found = find_baseline(client, NAME)
    assert found.url.endswith("/10")
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"The artifact {NAME} of run 11 was left out: ")
    assert words in found.notes[0]


def test_a_bomb_costs_no_more_than_the_limit(client, state, monkeypatch):
    monkeypatch.setattr(artifacts, "_LARGEST", 1_000_000)
    bomb = packed(b"0" * 20_000_000)
    assert len(bomb) < 1_000_000
    state.add_artifact(NAME, bomb)
    tracemalloc.start()
    found = find_baseline(client, NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert found.source == "none"
    assert "unpacks to more than the 1,000,000 bytes we read" in found.notes[0]


def test_an_archive_of_countless_files_is_not_searched(client, state, monkeypatch):
    monkeypatch.setattr(artifacts, "_MOST_MEMBERS", 2)
    state.add_artifact(NAME, packed("1", "2", report().to_json(), names=("a", "b", REPORT_NAME)))
    assert "it has 3 files, more than the 2 we look through" in find_baseline(client, NAME).notes[0]


@pytest.mark.parametrize("told", [5_000_000, 10])
def test_a_large_download_is_not_read(client, state, monkeypatch, told):
    monkeypatch.setattr(artifacts, "_LARGEST", 1_000_000)
    state.add_artifact(NAME, b"0" * 5_000_000, size=told)
    found = find_baseline(client, NAME)
    assert found.source == "none"
    assert "1,000,000" in found.notes[0]
    asked = [call for call in state.calls if call.path.endswith("/zip")]
    assert len(asked) == (told == 10)  # a listing that says so saves the download


def test_bytes_that_are_not_those_that_were_uploaded_are_refused(client, state):
    state.add_artifact(NAME, packed(), digest=f"sha256:{'0' * 64}")
    assert "does not have the SHA-256" in find_baseline(client, NAME).notes[0]


def test_an_artifact_that_expires_between_listing_and_download_is_named(client, state):
    artifact = state.add_artifact(NAME, packed(), run=11)
    state.happen("GET", "/zip$", meanwhile=lambda: setattr(artifact, "expired", True))
    found = find_baseline(client, NAME)
    assert found.source == "none"
    assert "410 Artifact has expired" in found.notes[0]


def test_the_latest_release_is_next(client, state):
    old = state.add_release("v1.0.0")
    state.add_asset(old, REPORT_NAME, report("1" * 40).to_json().encode())
    latest = state.add_release("v1.2.0")
    state.add_asset(latest, "model-onnx.zip", b"...")
    state.add_asset(latest, REPORT_NAME, report("2" * 40).to_json().encode())
    state.add_release("v2.0.0-rc.1", prerelease=True)
    state.add_release("v2.0.0", draft=True)
    found = find_baseline(client, NAME)
    assert (found.source, found.label, found.commit) == ("release", "release v1.2.0", "2" * 40)
    assert found.reports == (report("2" * 40),)
    assert found.notes == (f"No run on main left an artifact named {NAME}.",)
    assert found.url == "https://github.test/org/models/releases/tag/v1.2.0"


def test_without_the_right_to_read_artifacts_the_release_serves(connect_as, state):
    release = state.add_release("v1.2.0")
    state.add_asset(release, REPORT_NAME, report().to_json().encode())
    state.add_artifact(NAME, packed())
    found = find_baseline(connect_as("ghs_blind"), NAME)
    assert found.source == "release"
    assert "permissions: actions: read" in found.notes[0]


def test_nothing_to_compare_with_says_why(client, state):
    assert find_baseline(client, NAME).notes == (
        f"No run on main left an artifact named {NAME}.",
        "There is no release to compare with.",
    )
    release = state.add_release("v1.2.0")
    found = find_baseline(client, NAME)
    assert found.notes[1] == f"The latest release, v1.2.0, has no {REPORT_NAME}."
    state.add_asset(release, REPORT_NAME, b"[]")
    found = find_baseline(client, NAME)
    assert (found.source, found.reports, found.label) == ("none", (), "")
    assert found.notes[1].startswith(f"{REPORT_NAME} of release v1.2.0 was left out: not an export report")


def test_a_github_that_is_down_is_no_reason_to_fail(client, state):
    state.fail("GET", "/repos", 503, times=100)
    found = find_baseline(client, NAME)
    assert found.source == "none"
    assert len(found.notes) == 2
    assert all("503" in note for note in found.notes)
