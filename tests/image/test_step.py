"""A step in a job: what the image does with the runner's mounts, environment and signals.

With buildah instead of Docker the step is PID 1 and has Docker's capabilities too, but shares the host's network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

# What setup-python, a careless job or an attacker of the job's own leave in the environment.
HOSTILE = {
    "PATH": "utter-nonsense",
    "PYTHONPATH": "/github/workspace/shadow",
    "PYTHONHOME": "/nonexistent",
    "PYTHONSTARTUP": "/github/workspace/shadow/json.py",
    "LD_LIBRARY_PATH": "/opt/hostedtoolcache/Python/3.12.3/x64/lib",
    "LANG": "C",
}

# Runs in the process that loads a model, as the user that model code gets. What it finds is in its error.
SPY = """
import glob, os, socket
found = []
def attempt(name, reach):
    try:
        what = reach()
    except OSError:
        return
    if what:
        found.append(f"{name}: {what}")
SECRETS = ("ghs_job", "hf_secret", "runtime-token-of-the-job")
def secrets(path):
    return [word for word in SECRETS if word.encode() in open(path, "rb").read()]
def connect():
    client = socket.socket(socket.AF_UNIX)
    client.connect("/var/run/docker.sock")
    return "connected"
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    attempt(path, lambda: secrets(path))
for path in glob.glob("/proc/[0-9]*/mem"):
    attempt(path, lambda: open(path, "rb") and "" if path.split("/")[2] == str(os.getpid()) else open(path, "rb"))
attempt("own environment", lambda: [name for name, value in os.environ.items() if value in SECRETS])
attempt("docker.sock", connect)
attempt("output file", lambda: glob.glob("/github/file_commands/*") and open("/github/file_commands/output", "a"))
attempt("workspace", lambda: open("/github/workspace/planted", "w"))
attempt("image", lambda: open("/opt/venv/planted", "w"))
attempt("root", lambda: os.setuid(0) or "root")
class Spy:
    pass
first = os.path.exists("/proc/1/environ")
raise RuntimeError(f"I am user {os.getuid()}, saw the first process: {first}, and reached {found}")
"""


def copy_model(source: Path, step) -> None:
    model = shutil.copytree(source, step.workspace / "model")
    # As a strict umask leaves it, and some libraries' saving always: for one user only, who is not that of model code.
    for path in (model, *model.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.mark.timeout(300)
def test_a_pull_request_gets_its_verdict_everywhere(pull_request, make_checkpoint, fake):
    step = pull_request
    copy_model(make_checkpoint("bert", "default"), step)
    shadow = step.workspace / "shadow"
    shadow.mkdir()
    for name in ("json.py", "torch.py", "sitecustomize.py"):
        (shadow / name).write_text("raise SystemExit('the environment of the job reached us')\n")
    step.environment |= HOSTILE
    step.manifest("{name: tiny, model: ./model}")

    assert step.run(hf_token="hf_secret", quick="true") == 0, step.log

    (body,) = fake.state.bodies(step.payload["number"])
    assert "1 model passed" in body
    assert "`tiny`" in body
    assert step.payload["pull_request"]["head"]["sha"][:7] in body
    assert "1 model passed" in step.written("summary")
    outputs = step.outputs
    assert (outputs["passed"], outputs["failed"]) == ("1", "0")
    assert outputs["report"] == "export/export-report.json"
    assert outputs["comment-url"].endswith(f"/{step.payload['number']}#issuecomment-1")
    assert {artifact["format"] for artifact in json.loads(outputs["artifacts"])} == {"onnx", "torchscript"}
    report = json.loads((step.workspace / outputs["report"]).read_text())
    assert report["status"] == "passed"
    assert (step.workspace / "export/tiny/onnx/model.onnx").is_file()
    assert step.owners == {(step.workspace.stat().st_uid, step.workspace.stat().st_gid)}
    assert {path.stat().st_mode & 0o777 for path in (step.workspace / "model").iterdir()} == {0o600}
    assert not list(step.workspace.rglob("__pycache__"))
    for secret in ("ghs_job", "hf_secret", "runtime-token"):
        assert secret not in step.log


@pytest.mark.timeout(300)
def test_model_code_reaches_nothing(step, make_checkpoint):
    copy_model(make_checkpoint("bert", "default"), step)
    (step.workspace / "spy.py").write_text(SPY)
    step.manifest("{name: tiny, model: ./model, formats: [onnx], config: 'spy.py:Spy'}")
    assert step.run(hf_token="hf_secret", allow_custom_code="true") == 1, step.log
    report = (step.workspace / "export/export-report.json").read_text()
    assert "I am user 65530, saw the first process: True, and reached []" in report, report
    assert not (step.workspace / "planted").exists()


def test_the_spy_would_have_found_it(step):
    assert step.run("-I", "-c", SPY, entrypoint="/opt/venv/bin/python", hf_token="hf_secret") == 1
    for found in ("/proc/1/environ: ['ghs_job', 'hf_secret', 'runtime-token", "docker.sock: connected", "output file"):
        assert found in step.log


def test_a_mistake_is_said_on_its_line(step):
    step.manifest("{name: tiny, modle: ./model}")
    assert step.run() == 2
    assert "::error file=export.yml,line=3," in step.log
    assert "Traceback" not in step.log


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_cancelled_step_ends_in_time(step, make_checkpoint, number, code):
    copy_model(make_checkpoint("bert", "default"), step)
    step.manifest("{name: tiny, model: ./model}")
    ended, seconds = step.cancel(number, after="tiny: inspect")
    assert ended == code, step.log
    # The runner kills 7.5 s after SIGINT and 2.5 s after SIGTERM (ProcessInvoker.cs).
    assert seconds < 5
    assert json.loads((step.workspace / "export/export-report.json").read_text())["status"] == "cancelled"
    if os.geteuid() == 0:
        assert step.owners == {(step.workspace.stat().st_uid, step.workspace.stat().st_gid)}
