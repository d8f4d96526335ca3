"""Publishing release assets: all, whole, once."""

from __future__ import annotations

import pytest
from github_examples import CONTENTS, NOTES, SUMS, TAG, contents, sha256, the_release
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.github import releases
from entrypoint.github.errors import CannotPublish
from entrypoint.github.releases import CHECKSUMS, AssetFile, ReleaseNotes, asset_name, publish_assets


def test_a_missing_release_is_made_filled_and_published_in_this_order(client, state, files):
    seen = []
    for _ in range(3):
        state.happen("POST", "/assets$", meanwhile=lambda: seen.append(the_release(state).draft))
    published = publish_assets(client, TAG, files, NOTES)
    release = the_release(state)
    assert seen == [True, True, True]
    assert (release.tag, release.name, release.draft, release.prerelease) == (TAG, "Models v1.2.0", False, False)
    assert release.body.startswith("Two models.\n")
    assert contents(release) == CONTENTS
    assert (published.tag, published.draft, published.created) == (TAG, False, True)
    assert published.url == "https://github.test/org/models/releases/tag/v1.2.0"
    assert [(asset.name, asset.action) for asset in published.assets] == [
        ("bert-onnx.zip", "uploaded"),
        ("bert-torchscript.zip", "uploaded"),
        (CHECKSUMS, "uploaded"),
    ]
    first = published.assets[0]
    assert (first.bytes, first.sha256) == (12, sha256("onnx weights"))
    assert first.url == "https://github.test/org/models/releases/download/v1.2.0/bert-onnx.zip"


def test_a_second_run_changes_nothing(client, state, files):
    publish_assets(client, TAG, files, NOTES)
    before = contents(the_release(state))
    state.calls.clear()
    again = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in again.assets] == ["kept", "kept", "kept"]
    assert (again.created, again.draft) == (False, False)
    assert state.writes() == []
    assert contents(the_release(state)) == before


def test_a_release_that_exists_is_added_to_and_keeps_its_words(client, state, files):
    release = state.add_release(TAG, name="By hand", body="With care.")
    state.add_asset(release, "manual.pdf", b"read me")
    published = publish_assets(client, TAG, files, NOTES)
    assert (release.name, release.body, release.draft) == ("By hand", "With care.", False)
    assert published.created is False
    sums = SUMS + f"{sha256('read me')}  manual.pdf\n"
    assert contents(release) == CONTENTS | {"manual.pdf": "read me", CHECKSUMS: sums}


def test_a_different_file_is_replaced_and_the_checksums_with_it(client, state, files):
    publish_assets(client, TAG, files, NOTES)
    files[0].path.write_text("ONNX WEIGHTS")  # the same size
    again = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in again.assets] == ["replaced", "kept", "replaced"]
    there = contents(the_release(state))
    assert there["bert-onnx.zip"] == "ONNX WEIGHTS"
    assert f"{sha256('ONNX WEIGHTS')}  bert-onnx.zip\n" in there[CHECKSUMS]


def test_without_digests_equal_sizes_prove_nothing(client, state, files):
    state.knows_digests = False
    publish_assets(client, TAG, files, NOTES)
    assert contents(the_release(state)) == CONTENTS
    files[0].path.write_text("ONNX WEIGHTS")
    again = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in again.assets] == ["replaced", "replaced", "replaced"]
    assert contents(the_release(state))["bert-onnx.zip"] == "ONNX WEIGHTS"


def test_our_own_unfinished_draft_is_finished(client, state, files):
    state.fail("POST", "/assets$", 403, "Resource not accessible by integration", skip=1)
    with pytest.raises(CannotPublish) as caught:
        publish_assets(client, TAG, files, NOTES)
    assert "The draft of release v1.2.0 has 1 of 2 files; run the job again" in caught.value.problem.message
    assert the_release(state).draft
    published = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in published.assets] == ["kept", "uploaded", "uploaded"]
    assert (published.created, published.draft) == (False, False)
    assert contents(the_release(state)) == CONTENTS


def test_a_draft_that_a_person_prepared_stays_a_draft(client, state, files):
    release = state.add_release(TAG, name="Soon", body="Not before Monday.", draft=True)
    state.add_release("v1.1.0")
    published = publish_assets(client, TAG, files, NOTES)
    assert (published.draft, published.created, release.draft) == (True, False, True)
    assert contents(release) == CONTENTS


def test_remnants_of_a_failed_upload_are_cleared_away(client, state, files):
    release = state.add_release(TAG)
    state.add_asset(release, "bert-onnx.zip", b"", state="starter", digest=None)
    published = publish_assets(client, TAG, files, NOTES)
    assert published.assets[0].action == "uploaded"
    assert contents(release) == CONTENTS
    assert len(release.assets) == 3


def test_a_rerun_on_an_immutable_release_is_fine_when_nothing_changed(client, state, files):
    state.immutable_releases = True
    publish_assets(client, TAG, files, NOTES)
    assert the_release(state).immutable
    again = publish_assets(client, TAG, files, NOTES)
    assert [asset.action for asset in again.assets] == ["kept", "kept", "kept"]


def test_an_immutable_release_is_explained(client, state, files):
    state.immutable_releases = True
    publish_assets(client, TAG, files, NOTES)
    state.calls.clear()
    files[1].path.write_text("changed")
    with pytest.raises(CannotPublish) as caught:
        publish_assets(client, TAG, files, NOTES)
    assert caught.value.problem.kind == "release-immutable"
    assert "bert-torchscript.zip is missing or different (1 of 2 files)" in caught.value.problem.message
    assert "under a new tag" in caught.value.problem.hint
    assert state.writes() == []


def test_a_server_that_does_not_tell_of_immutability_is_understood_too(client, state, files):
    release = state.add_release(TAG)
    state.happen("POST", "/assets$", meanwhile=lambda: setattr(release, "immutable", True))
    with pytest.raises(CannotPublish, match="Cannot upload assets to an immutable release") as caught:
        publish_assets(client, TAG, files, NOTES)
    assert caught.value.problem.kind == "release-immutable"


def test_a_tag_that_an_immutable_release_used_up_is_explained(client, state, files):
    state.spent_tags.add(TAG)
    with pytest.raises(CannotPublish, match="tag_name was used by an immutable release") as caught:
        publish_assets(client, TAG, files, NOTES)
    assert caught.value.problem.kind == "release-immutable"


def test_a_ruleset_is_explained(client, state, files):
    error = {"resource": "Release", "code": "custom", "message": "Repository rule violations found"}
    fault = state.fail("POST", "/releases$", 422, "Validation Failed")
    fault.answer.data["errors"] = [error]
    with pytest.raises(CannotPublish, match="push the tag first") as caught:
        publish_assets(client, TAG, files, NOTES)
    assert caught.value.problem.kind == "release-ruleset"


@pytest.mark.parametrize("token", ["ghs_readonly", "ghp_reader"])
def test_a_read_only_token_is_explained(connect_as, state, files, token):
    with pytest.raises(CannotPublish, match="permissions: contents: write") as caught:
        publish_assets(connect_as(token), TAG, files, NOTES)
    assert caught.value.problem.kind == "release-permission"
    assert "403 Resource not accessible by" in caught.value.problem.message
    assert state.releases == {}


def test_the_404_for_workflow_files_is_explained(client, state, files):
    state.fail("POST", "/releases$", 404, "Not Found")
    with pytest.raises(CannotPublish, match="workflows"):
        publish_assets(client, TAG, files, NOTES)


def test_two_runs_at_once_share_the_older_draft(client, state, files):
    state.happen("POST", "/releases$", meanwhile=lambda: state.add_release(TAG, body=releases._OURS, draft=True))
    publish_assets(client, TAG, files, NOTES)
    assert contents(the_release(state)) == CONTENTS
    assert not the_release(state).draft


def test_a_prerelease_of_a_commit(client, state, files):
    publish_assets(client, "v2.0.0-rc.1", files, ReleaseNotes("RC", prerelease=True, target="e" * 40))
    release = the_release(state)
    assert (release.prerelease, release.draft, release.target) == (True, False, "e" * 40)
    assert release.body == releases._OURS


@pytest.mark.parametrize("tag", ["models/v1", "v1 beta", "ü#1?x=y"])
def test_a_tag_may_have_any_characters(client, state, files, tag):
    publish_assets(client, tag, files, NOTES)
    publish_assets(client, tag, files, NOTES)
    assert the_release(state).tag == tag


def test_hundreds_of_assets_are_seen_on_all_pages(client, state, files):
    release = state.add_release(TAG)
    for number in range(250):
        state.add_asset(release, f"other-{number}.zip", b"x")
    state.add_asset(release, "bert-onnx.zip", b"onnx weights")
    assert publish_assets(client, TAG, files, NOTES).assets[0].action == "kept"


def test_more_than_a_release_can_hold_is_refused(client, state, files):
    release = state.add_release(TAG)
    for number in range(998):
        state.add_asset(release, f"other-{number}.zip", b"x")
    with pytest.raises(CannotPublish, match="would have 1,001 assets; GitHub takes 1,000"):
        publish_assets(client, TAG, files, NOTES)
    assert state.writes() == []


def test_two_gibibytes_are_refused_before_anything_is_sent(client, state, files, tmp_path):
    large = tmp_path / "large.onnx"
    with large.open("wb") as stream:
        stream.truncate(2 << 30)
    with pytest.raises(CannotPublish, match=r"2\.00 GiB; GitHub takes assets below 2 GiB") as caught:
        publish_assets(client, TAG, [*files, AssetFile(large, "large.onnx")], NOTES)
    assert caught.value.problem.kind == "asset-too-large"
    assert state.calls == []


def test_files_that_can_not_be_published_are_named(client, state, files, tmp_path):
    empty = tmp_path / "empty.zip"
    empty.touch()
    for bad, words in [
        (AssetFile(empty, "empty.zip"), "is empty"),
        (AssetFile(tmp_path / "gone.zip", "gone.zip"), "can't be read: No such file"),
        (AssetFile(files[0].path, "bert onnx.zip"), "Name it 'bert.onnx.zip'"),
        (AssetFile(files[0].path, "bert-onnx.zip"), "Two files would be the asset 'bert-onnx.zip'"),
        (AssetFile(files[0].path, CHECKSUMS), f"Two files would be the asset '{CHECKSUMS}'"),
    ]:
        with pytest.raises(CannotPublish, match=words):
            publish_assets(client, TAG, [*files, bad], NOTES)
    assert state.calls == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bert-onnx.zip", "bert-onnx.zip"),
        ("org/Modèle v2-onnx.zip", "org.Modele.v2-onnx.zip"),
        ("a  (b)..c.zip", "a.b.c.zip"),
        ("模型.onnx", "default.onnx"),
        ("模型", "default"),
        (".hidden", "default.hidden"),
        ("ends.", "ends"),
        ("", "default"),
    ],
)
def test_asset_names(text, name):
    assert asset_name(text) == name


@given(st.text())
def test_any_text_gives_a_name_that_stays(text):
    name = asset_name(text)
    assert name
    assert asset_name(name) == name
    assert not name.startswith(".")
    assert not name.endswith(".")
