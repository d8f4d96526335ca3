"""Who may read what while a run lasts, asked of the kernel by processes of other users."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrypoint.isolation import WORKER
from entrypoint.lending import lent
from exporter import manifest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

OWNER, OWNERS_GROUP = 1001, 1002
STRANGER = (65_531, 65_531)


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A checkout under a strict umask."""
    above = Path(tempfile.mkdtemp(prefix="runner-"))
    above.chmod(0o755)
    folder = above / "workspace"
    files = {
        "models/bert/model.safetensors": 0o600,
        "models/bert/config.json": 0o660,
        "models/bert/.git/config": 0o600,
        "samples.txt": 0o600,
        "code/mine.py": 0o600,
        "code/other.py": 0o600,
        "code/package/third.py": 0o600,
        "secret": 0o600,
        "models/gpt2/model.safetensors": 0o600,
    }
    for name, mode in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("class Mine: pass" if name == "code/mine.py" else "{}")
        (folder / name).chmod(mode)
    (folder / "models/bert/linked.bin").symlink_to("../../secret")
    os.mkfifo(folder / "models/bert/pipe", 0o600)
    (folder / "export.yml").write_text(
        "version: 1\nmodels:\n"
        "  - {name: bert, model: ./models/bert, config: 'code/mine.py:Mine', validate: {samples: samples.txt}}\n"
        "  - {name: gpt2, model: ./models/gpt2}\n"
    )
    (folder / "export").mkdir()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNERS_GROUP, follow_symlinks=False)
        if path.is_dir():
            path.chmod(0o700)
    yield folder
    shutil.rmtree(above)


@pytest.fixture
def lend(workspace: Path) -> Callable[[], object]:
    (entry, _) = manifest.load([workspace / "export.yml"]).entries
    return lambda: lent([entry], workspace / "export", workspace, WORKER)


def may(user: tuple[int, int], path: Path, flags: int = os.O_RDONLY) -> bool:
    """Whether a process of that user can open `path`."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user[1], user[1], user[1])
            os.setresuid(user[0], user[0], user[0])
            os.open(path, flags | os.O_NONBLOCK)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def worker_may(path: Path, flags: int = os.O_RDONLY) -> bool:
    return may((WORKER.uid, WORKER.gid), path, flags)


def rights(workspace: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in (workspace, *workspace.rglob("*")):
        facts = path.lstat()
        found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_gid)
    return found


NEEDED = [
    "models/bert/model.safetensors",
    "models/bert/config.json",
    "models/bert",
    "samples.txt",
    "code/mine.py",
    "code/other.py",
    "code",
    "code/package/third.py",
    "code/package",
]


@pytest.mark.parametrize("name", NEEDED)
def test_workers_read_what_an_entry_is_made_from(workspace, lend, name):
    assert not worker_may(workspace / name)
    with lend():
        assert worker_may(workspace / name)
    assert not worker_may(workspace / name)


@pytest.mark.parametrize("name", NEEDED)
def test_and_nobody_else_does(workspace, lend, name):
    with lend():
        assert not may(STRANGER, workspace / name)
        assert may((OWNER, OWNERS_GROUP), workspace / name)


@pytest.mark.parametrize("name", NEEDED[:2])
def test_nor_do_they_write(workspace, lend, name):
    with lend():
        assert not worker_may(workspace / name, os.O_RDWR)
        assert not worker_may(workspace / "models/bert/new", os.O_CREAT | os.O_WRONLY)


@pytest.mark.parametrize(
    "name", ["secret", "models/bert/linked.bin", "models/bert/.git/config", "models/bert/pipe", "models/gpt2"]
)
def test_what_is_nobodys_business_stays_closed(workspace, lend, name):
    with lend():
        assert not worker_may(workspace / name)


def test_the_output_directory_can_be_reached(workspace, lend):
    os.chown(workspace / "export", WORKER.uid, WORKER.gid)
    assert not worker_may(workspace / "export/new", os.O_CREAT | os.O_WRONLY)
    with lend():
        assert worker_may(workspace / "export/new", os.O_CREAT | os.O_WRONLY)


def test_afterwards_all_is_as_it_was(workspace, lend):
    before = rights(workspace)
    during = []

    def interrupted() -> None:
        with lend():
            during.append(rights(workspace))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert during != [before]
    assert rights(workspace) == before


def test_what_everybody_may_read_is_not_touched(workspace, lend):
    for path in (workspace, *workspace.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    before = rights(workspace)
    with lend():
        assert rights(workspace) == before


def test_a_file_that_goes_meanwhile_is_no_error(workspace, lend):
    with lend():
        (workspace / "samples.txt").unlink()


def test_folders_above_the_workspace_are_not_touched(workspace, lend):
    workspace.parent.chmod(0o700)
    before = workspace.parent.stat()
    with lend():
        after = workspace.parent.stat()
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)


def test_without_a_user_of_its_own_there_is_nothing_to_lend(workspace):
    before = rights(workspace)
    with lent(manifest.load([workspace / "export.yml"]).entries, workspace / "export", workspace, None):
        assert rights(workspace) == before
