"""Models of the Hub in the action: disks that are too small, caches that are dropped, secrets that are missing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runner_like import Runner, pull_request, start

from entrypoint import reports
from entrypoint.exits import Exit
from entrypoint.hub_models import HubModels, require_space
from exporter import manifest
from exporter.results import ExportError

if (HUB := str(Path(__file__).parents[1] / "exporter/hub")) not in sys.path:
    sys.path.insert(0, HUB)

from hub_server import Fault, HubServer

FILES = {"config.json": b'{"model_type": "nothing-we-know"}', "model.safetensors": bytes(5000)}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def run(entered: Runner, hub: HubServer) -> Callable[..., tuple[int, str]]:
    """Run the action beside a Hub; gives its exit code and its log."""

    def run(**inputs: str) -> tuple[int, str]:
        environment = entered.environment(**inputs) | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": ""}
        process = start(entered, **environment)
        log, _ = process.communicate(timeout=240)
        return process.returncode, log

    return run


def cached(runner: Runner) -> list[str]:
    return sorted(path.name for path in (runner.folder / "home").rglob("models--*") if path.parent.name == "hub")


@pytest.mark.parametrize("fork", [True, False])
def test_a_missing_secret_fails_no_fork(entered, run, hub, state, fork):
    hub.publish("org/gated", FILES, gated=True)
    entered.manifest("{name: gated, model: org/gated}")
    entered.event, entered.payload = "pull_request", pull_request(fork=fork)
    state.add_pull(7, "a" * 40, head_repository="mona/models" if fork else "org/models")
    exit_code, log = run()
    (model,) = entered.report["models"]
    if fork:
        assert exit_code == 0, log
        assert entered.report["status"] == model["status"] == "unverified"
        assert model["problem"]["kind"] == "needs-secret"
        assert "unverified: needs a secret this event does not have" in log
        assert "needs a secret this event does not have" in state.bodies(7)[0]
        assert entered.outputs["failed"] == "0"
    else:
        assert exit_code == 1, log
        assert model["problem"]["kind"] == "hub-gated"


@pytest.mark.parametrize("keep", ["true", "false"])
def test_downloads_stay_or_go_model_by_model(entered, run, hub, keep):
    for name in ("one", "two"):
        hub.publish(f"org/{name}", FILES)
    entered.manifest("{name: one, model: org/one}", "{name: two, model: org/two}", "{name: again, model: org/one}")
    run(**{"keep-cache": keep})
    assert [model["commit"] != "" for model in entered.report["models"]] == [True, True, True]
    assert cached(entered) == (["models--org--one", "models--org--two"] if keep == "true" else [])
    fetched = [path for path in hub.paths("GET") if "org/one/" in path and path.endswith("/model.safetensors")]
    assert len(fetched) <= 1
    if os.geteuid() == 0:
        assert {path.lstat().st_uid for path in (entered.folder / "home").rglob("*")} == {1001}


def test_what_the_hub_warns_of_is_no_command(entered, run, hub):
    # Libraries log what servers send, in the process that holds the tokens.
    for number, attack in enumerate(("::set-output name=passed::9", "now ##[add-mask]passed", "::add-mask::passed")):
        warning = {"X-HF-Warning": f"{number}; {attack}"}
        hub.faults.append(Fault("/api/models/org/one", 404, warning, times=1))
    entered.manifest("{name: one, model: org/one}")
    _, log = run()
    assert "name=passed" in log
    assert not [line for line in log.splitlines() if line.startswith(("::set-output", "::add-mask")) or "##[" in line]


@pytest.fixture
def small_disk(runner: Runner) -> Iterator[Path]:
    """The output directory on a file system of 4 MiB."""
    folder = runner.workspace / "export"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_run_that_can_not_fit_does_not_start(act, runner, small_disk):
    runner.models(bert={})
    runner.write("models/bert/model.safetensors", "x" * 3_000_000)
    assert act() is Exit.BAD_CALL
    assert "This run takes about 0.3 GB on the disk of" in runner.log
    assert str(small_disk) in runner.log
    assert "0.0 GB are free" in runner.log
    assert "`command: plan`" in runner.log
    assert not (small_disk / "export-report.json").exists()


class Sized(HubModels):
    """Models whose names say how many terabytes they have."""

    def missing_bytes(self, entry):
        return int(float(entry.model.partition("/")[2]) * 1e12)

    def all_bytes(self, entry):
        return 0


@pytest.mark.parametrize(
    ("at_once", "terabytes", "hinted"),
    [(None, 1000 + 2000 + 2000 + 4000, True), (1, 4000, False), (2, 4000 + 2000, False), (9, 9000, False)],
)
def test_what_is_on_the_disk_at_the_same_time_must_fit(tmp_path, at_once, terabytes, hinted):
    names = {"a": "org/1000", "b": "org/2000", "again": "org/2000", "c": "org/4000"}
    lines = [f"  - {{name: {name}, model: {model}}}" for name, model in names.items()]
    # Another revision of a model is another download.
    lines.append("  - {name: older, model: org/2000, revision: v1}")
    (tmp_path / "export.yml").write_text("\n".join(["version: 1", "models:", *lines]) + "\n")
    entries = manifest.load([tmp_path / "export.yml"]).entries
    with pytest.raises(ExportError) as caught:
        require_space(entries, Sized(entries, ""), tmp_path, at_once)
    assert f"({terabytes * 1000}.0 GB of downloads)" in caught.value.problem.message
    assert ("keep-cache: false" in caught.value.problem.hint) == hinted


def test_a_full_disk_is_named_and_the_verdict_told(act, runner, small_disk):
    (small_disk / "export-report.json").write_text(reports.merge([]).report.to_json())
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(8 << 20))
    assert act(command="report") is Exit.BAD_CALL
    assert "No space left on the disk while writing export" in runner.log
    assert "no models" in runner.summary
