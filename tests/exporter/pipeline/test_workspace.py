"""The output directory: what is where afterwards, also when a run dies between two renames."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.pipeline.files import remove_tree
from exporter.pipeline.workspace import Workspace, open_workspace
from exporter.results import ExportError, Report, Status

GO_ON = threading.Event()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def workspace(out: Path) -> Iterator[Workspace]:
    with open_workspace(out) as opened:
        yield opened


def make(workspace: Workspace, **files: str) -> Path:
    staged = workspace.stage("x", "onnx")
    for name, text in files.items():
        (staged / name).write_text(text)
    return staged


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_placing_replaces_what_an_earlier_run_made_and_nothing_else(workspace: Workspace, out: Path) -> None:
    workspace.place(make(workspace, model="1", part="1"), "x", "onnx", GO_ON)
    (out / "x/onnx/notes").write_text("mine")
    files = workspace.place(make(workspace, model="22"), "x", "onnx", GO_ON)
    assert [(file.path, file.bytes) for file in files] == [("x/onnx/model", 2)]
    assert names(out / "x") == ["onnx/model", "onnx/notes"]


def test_a_file_of_others_gives_way_to_one_of_the_same_name(workspace: Workspace, out: Path) -> None:
    (out / "x/onnx").mkdir(parents=True)
    (out / "x/onnx/model").write_text("mine")
    workspace.place(make(workspace, model="ours"), "x", "onnx", GO_ON)
    assert (out / "x/onnx/model").read_text() == "ours"


def test_an_artifact_without_a_list_is_known_by_what_it_says_it_is(workspace: Workspace, out: Path) -> None:
    """Uploads leave hidden folders out, and with them the list of what we made."""
    (out / "x/onnx").mkdir(parents=True)
    for name in ("model", "part", "artifact.json"):
        (out / "x/onnx" / name).write_text("earlier")
    workspace.place(make(workspace, model="new"), "x", "onnx", GO_ON)
    assert names(out / "x") == ["onnx/model"]


def test_setting_aside_keeps_the_artifact_and_leaves_files_of_others(workspace: Workspace, out: Path) -> None:
    workspace.place(make(workspace, model="good"), "x", "onnx", GO_ON)
    (out / "x/onnx/notes").write_text("mine")
    workspace.set_aside("x", "onnx")
    workspace.place_failed(make(workspace, model="bad"), "x", "onnx", GO_ON)
    assert names(out / "x") == ["onnx.failed/model", "onnx.previous/model", "onnx/notes"]
    # It failed again: what is kept is still the last good one.
    workspace.set_aside("x", "onnx")
    assert names(out / "x") == ["onnx.previous/model", "onnx/notes"]
    assert (out / "x/onnx.previous/model").read_text() == "good"


def test_nothing_to_set_aside(workspace: Workspace, out: Path) -> None:
    (out / "x/onnx").mkdir(parents=True)
    (out / "x/onnx/mine").write_text("mine")
    workspace.set_aside("x", "onnx")
    workspace.set_aside("y", "onnx")
    assert names(out / "x") == ["onnx/mine"]


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_place_that_is_no_folder_is_not_touched(workspace: Workspace, out: Path, tmp_path: Path, what: str) -> None:
    (out / "x").mkdir()
    if what == "file":
        (out / "x/onnx").write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/artifact.json").write_text("{}")
        (out / "x/onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="a folder belongs there"):
        workspace.place(make(workspace, model="1"), "x", "onnx", GO_ON)
    workspace.set_aside("x", "onnx")
    assert (out / "x/onnx").is_file() or (tmp_path / "elsewhere/artifact.json").exists()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../x", ".export-action"])
def test_a_name_never_leads_elsewhere(workspace: Workspace, name: str) -> None:
    with pytest.raises(ExportError, match="is no name for a folder"):
        workspace.place(make(workspace, model="1"), name, "onnx", GO_ON)


@pytest.mark.parametrize("name", ["x", ".export-action"])
def test_folders_that_are_links_are_refused(out: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    out.mkdir()
    (out / name).symlink_to(tmp_path / "elsewhere")

    def run() -> None:
        with open_workspace(out) as workspace:
            workspace.start_log("x")

    with pytest.raises(ExportError, match=f"out/{name} is a link, and a folder belongs there"):
        run()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_draft_that_is_a_link_is_not_followed(workspace: Workspace, out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (out / ".export-report.json.draft").symlink_to(tmp_path / "elsewhere")
    workspace.write_report(Report(status=Status.PASSED, models=()))
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert (out / "export-report.json").is_file()


@pytest.mark.parametrize("kind", ["link", "pipe", "link to a folder"])
def test_only_files_are_placed(workspace: Workspace, out: Path, kind: str) -> None:
    staged = make(workspace, model="1")
    if kind == "pipe":
        os.mkfifo(staged / "odd")
    else:
        (staged / "odd").symlink_to("/etc/passwd" if kind == "link" else "/etc")
    with pytest.raises(ExportError, match="left odd, which is a link or a special file"):
        workspace.place(staged, "x", "onnx", GO_ON)
    assert not (out / "x/onnx").exists()


def test_placing_stops_when_the_run_is_interrupted(workspace: Workspace, out: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InterruptedError):
        workspace.place(make(workspace, model="1"), "x", "onnx", cancelled)
    assert not (out / "x").exists()


def die_while_placing(out: Path, death: str) -> None:
    """End the process right before or right after the new folder is renamed into its place."""
    rename = Path.rename

    def rename_and_die(self: Path, target: Path) -> Path:
        if "staged" not in self.parts:
            return rename(self, target)
        if death == "after":
            rename(self, target)
        os._exit(9)

    Path.rename = rename_and_die  # type: ignore[method-assign, assignment]
    with open_workspace(out) as workspace:
        workspace.place(make(workspace, model="new", extra="new"), "x", "onnx", GO_ON)


@pytest.mark.parametrize("death", ["before", "after"])
def test_a_run_that_dies_between_two_renames(out: Path, death: str) -> None:
    with open_workspace(out) as workspace:
        workspace.place(make(workspace, model="old", part="old"), "x", "onnx", GO_ON)
    (out / "x/onnx/notes").write_text("mine")
    process = multiprocessing.get_context("fork").Process(target=die_while_placing, args=(out, death))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert (out / "x/onnx").exists() == (death == "after")

    with open_workspace(out) as workspace:
        content = {name: (out / "x/onnx" / name).read_text() for name in names(out / "x/onnx")}
        if death == "before":
            assert content == {"model": "old", "notes": "mine", "part": "old"}
        else:
            assert content == {"extra": "new", "model": "new", "notes": "mine"}
        # What was made by whom is still known.
        workspace.place(make(workspace, model="newer"), "x", "onnx", GO_ON)
        assert names(out / "x") == ["onnx/model", "onnx/notes"]
    assert names(out / ".export-action") == ["inventory.json", "lock"]


def test_a_damaged_list_says_what_to_do(out: Path) -> None:
    with open_workspace(out):
        pass
    (out / ".export-action/inventory.json").write_text("[1]")
    with pytest.raises(ExportError, match=r"inventory.json is damaged.*Remove the folder"), open_workspace(out):
        pass


def test_the_list_is_readable(workspace: Workspace, out: Path) -> None:
    workspace.place(make(workspace, model="1", config="2"), "x", "onnx", GO_ON)
    assert json.loads((out / ".export-action/inventory.json").read_text()) == {"x/onnx": ["config", "model"]}


def test_a_folder_that_may_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="can't be used: Not a directory"), open_workspace(tmp_path / "file/out"):
        pass


def test_the_lock_is_free_again(out: Path) -> None:
    for _ in range(2):
        with open_workspace(out):
            pass


def lock_and_remove(folder: Path) -> None:
    """As somebody whom the kernel does refuse: not root."""
    if os.geteuid() == 0:
        os.setuid(65534)
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_text("")
    (folder / "a/b").chmod(0o000)
    (folder / "a").chmod(0o500)
    remove_tree(folder / "a")


def test_removing_what_took_away_its_own_rights() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        process = multiprocessing.get_context("fork").Process(target=lock_and_remove, args=(Path(folder),))
        process.start()
        process.join(30)
        assert process.exitcode == 0
        assert not list(Path(folder).iterdir())


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "gone")
    remove_tree(tmp_path / "gone")
    assert (tmp_path / "kept/file").exists()


def test_the_owner_of_the_folder_gets_the_artifact(out: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    out.mkdir()
    shutil.chown(out, 65534, 65534)
    with open_workspace(out) as workspace:
        workspace.place(make(workspace, model="1"), "x", "onnx", GO_ON)
    assert (out / "x/onnx").stat().st_uid == (out / "x/onnx/model").stat().st_uid == 65534
