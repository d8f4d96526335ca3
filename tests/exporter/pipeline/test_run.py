"""The main job from outside: entries in, folders, a report and events out. Real workers with steps that do as told."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from exporter.manifest import load
from exporter.pipeline import Event, ModelFinished, RunOptions, StepFinished, StepStarted, run
from exporter.pipeline.fetch import Fetched
from exporter.results import ExportError, ModelResult, Report, Status, read_report

MakeEntries = Callable[..., Any]


def ignore(event: Event) -> None:
    """A listener that does nothing."""


def only(report: Report) -> ModelResult:
    (model,) = report.models
    return model


def test_a_model_in_both_formats(make_entries: MakeEntries, run_options: RunOptions) -> None:
    events: list[Event] = []
    report = run(make_entries(minilm={}), run_options, events.append)

    out = run_options.output_directory
    model = only(report)
    assert report.status is model.status is Status.PASSED
    assert (model.name, model.model, model.task, model.model_type) == ("minilm", "./models/minilm", "default", "bert")
    assert (model.architecture, model.parameters, model.notes) == ("registered", 7, ("no tokenizer",))
    assert model.source is not None
    assert (Path(model.source.path).name, model.source.line) == ("export.yml", 4)

    onnx, torchscript = model.formats
    assert (onnx.format, onnx.engine, onnx.opset, onnx.cached) == ("onnx", "legacy", 18, False)
    assert [(attempt.engine, attempt.status) for attempt in onnx.attempts] == [("legacy", Status.PASSED)]
    assert torchscript.attempts == ()
    assert onnx.validation is not None
    assert onnx.inputs[0].shape == ("batch", "sequence")
    for file in (*onnx.files, *torchscript.files):
        content = (out / file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [file.path for file in torchscript.files] == [
        "minilm/torchscript/artifact.json",
        "minilm/torchscript/model.pt",
    ]
    assert read_report((out / "export-report.json").read_bytes()) == report
    assert {"torch", "transformers", "python", "export-action"} <= set(report.versions)

    started = [f"{event.step} {event.detail}".strip() for event in events if isinstance(event, StepStarted)]
    assert started == [
        "inspect",
        "export onnx legacy",
        "validate onnx legacy",
        "export torchscript",
        "validate torchscript",
    ]
    assert [event.status for event in events if isinstance(event, StepFinished)] == [Status.PASSED] * 5
    assert events[-1] == ModelFinished(model)
    headings = [line for line in (out / "minilm/log.txt").read_text().splitlines() if line.startswith("==")]
    assert headings == [
        "== inspect ==",
        "== export onnx (legacy) ==",
        "== validate onnx (legacy) ==",
        "== export torchscript ==",
        "== validate torchscript ==",
    ]
    assert sorted(path.name for path in (out / ".export-action").iterdir()) == ["inventory.json", "lock"]


def test_options_of_the_manifest_reach_the_workers(tmp_path: Path, run_options: RunOptions) -> None:
    (tmp_path / "models/x").mkdir(parents=True)
    (tmp_path / "samples.txt").write_text("one\ntwo\n")
    (tmp_path / "export.yml").write_text(
        "version: 1\nmodels:\n- name: x\n  model: ./models/x\n"
        "  formats: {onnx: {opset: 14, engine: legacy}, torchscript: {batch_size: 3}}\n"
        "  validate: {atol: 0.5, reason: coarse, samples: samples.txt}\n"
    )
    entries = load([tmp_path / "export.yml"]).entries
    onnx, torchscript = only(run(entries, replace(run_options, quick=True), ignore)).formats
    written = (run_options.output_directory / "x/onnx/model.onnx").read_text()
    assert json.loads(written.partition(" ")[2])["opset"] == onnx.opset == 14
    assert '"batch_size": 3' in (run_options.output_directory / "x/torchscript/model.pt").read_text()
    assert torchscript.validation is not None
    options = json.loads(torchscript.validation.notes[0])
    assert options == {"atol": 0.5, "reason": "coarse", "samples": str(tmp_path / "samples.txt"), "quick": True}


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_are_in_the_order_of_the_manifest(
    make_entries: MakeEntries, run_options: RunOptions, jobs: int
) -> None:
    entries = make_entries("[onnx]", slow={"inspect": "slow"}, broken={"inspect": "crash"}, fine={})
    events: list[Event] = []
    report = run(entries, replace(run_options, jobs=jobs), events.append)
    assert [(model.name, model.status) for model in report.models] == [
        ("slow", Status.PASSED),
        ("broken", Status.ERROR),
        ("fine", Status.PASSED),
    ]
    assert report.status is Status.ERROR
    assert sorted(event.result.name for event in events if isinstance(event, ModelFinished)) == [
        "broken",
        "fine",
        "slow",
    ]
    assert (events[-1].result.name == "slow") == (jobs == 3)


def test_nothing_to_do(run_options: RunOptions) -> None:
    report = run((), run_options, ignore)
    assert (report.models, report.status) == ((), Status.PASSED)


# Engines


@pytest.mark.parametrize(
    ("behaviour", "first"),
    [
        ({"export legacy": "raise"}, Status.ERROR),
        ({"export legacy": "crash"}, Status.ERROR),
        ({"export legacy": "crash", "inspect": "no-engines"}, Status.ERROR),
        ({"validate legacy": "fail"}, Status.FAILED),
        ({"validate legacy": "raise"}, Status.ERROR),
    ],
)
def test_auto_tries_the_other_engine(
    make_entries: MakeEntries, run_options: RunOptions, behaviour: dict[str, str], first: Status
) -> None:
    (onnx,) = only(run(make_entries("[onnx]", x=behaviour), run_options, ignore)).formats
    assert (onnx.status, onnx.engine, onnx.problem) == (Status.PASSED, "dynamo", None)
    assert [(attempt.engine, attempt.status) for attempt in onnx.attempts] == [
        ("legacy", first),
        ("dynamo", Status.PASSED),
    ]
    assert onnx.attempts[0].message
    assert (run_options.output_directory / "x/onnx/model.onnx").read_text().startswith("dynamo")
    assert sorted(path.name for path in (run_options.output_directory / "x").iterdir()) == ["log.txt", "onnx"]


def test_the_best_of_two_failures_is_kept(make_entries: MakeEntries, run_options: RunOptions) -> None:
    entries = make_entries("[onnx]", x={"validate legacy": "fail", "export dynamo": "raise"})
    events: list[Event] = []
    (onnx,) = only(run(entries, run_options, events.append)).formats
    assert (onnx.status, onnx.engine) == (Status.FAILED, "legacy")
    assert [attempt.message for attempt in onnx.attempts] == ["no logits", "ValueError: export dynamo can't"]
    assert [file.path for file in onnx.files] == ["x/onnx.failed/artifact.json", "x/onnx.failed/model.onnx"]
    assert not (run_options.output_directory / "x/onnx").exists()
    ended = {event.step: event for event in events if isinstance(event, StepFinished)}
    assert (ended["validate onnx"].status, ended["validate onnx"].message) == (Status.FAILED, "no logits")
    assert (ended["export onnx"].status, ended["export onnx"].message) == (
        Status.ERROR,
        "ValueError: export dynamo can't",
    )


def test_an_engine_that_was_asked_for_is_the_only_one(make_entries: MakeEntries, run_options: RunOptions) -> None:
    entries = make_entries("{onnx: {engine: dynamo}}", x={"export dynamo": "raise"})
    (onnx,) = only(run(entries, run_options, ignore)).formats
    assert (onnx.status, [attempt.engine for attempt in onnx.attempts]) == (Status.ERROR, ["dynamo"])
    assert onnx.problem is not None
    assert onnx.problem.kind == "worker-exception"
    assert onnx.problem.log[-1] == "ValueError: export dynamo can't"


def test_no_other_engine_is_tried_on_a_full_disk(make_entries: MakeEntries, run_options: RunOptions) -> None:
    (onnx,) = only(run(make_entries("[onnx]", x={"export legacy": "no-space"}), run_options, ignore)).formats
    assert onnx.problem is not None
    assert onnx.problem.kind == "disk-full"
    assert "0.0 MB are needed" in onnx.problem.message
    assert len(onnx.attempts) == 1


# What goes wrong with a model


def test_a_checkpoint_that_is_refused(make_entries: MakeEntries, run_options: RunOptions) -> None:
    model = only(run(make_entries(x={"inspect": "refuse"}), run_options, ignore))
    assert (model.status, model.formats) == (Status.ERROR, ())
    assert model.problem is not None
    assert (model.problem.kind, model.problem.hint) == ("lfs-pointer", "Fetch them.")


def test_one_format_fails_and_the_other_goes_on(make_entries: MakeEntries, run_options: RunOptions) -> None:
    model = only(run(make_entries(x={"export legacy": "leave", "export dynamo": "crash"}), run_options, ignore))
    assert [result.status for result in model.formats] == [Status.ERROR, Status.PASSED]
    assert model.status is Status.ERROR


def test_a_link_is_not_published(make_entries: MakeEntries, run_options: RunOptions) -> None:
    (torchscript,) = only(
        run(make_entries("[torchscript]", x={"export torchscript": "link"}), run_options, ignore)
    ).formats
    assert torchscript.status is Status.ERROR
    assert torchscript.problem is not None
    assert torchscript.problem.kind == "unsafe-artifact"
    assert "config.json" in torchscript.problem.message
    assert not (run_options.output_directory / "x/torchscript").exists()


def test_neuron_is_left_to_machines_that_have_it(make_entries: MakeEntries, run_options: RunOptions) -> None:
    onnx, neuron = only(run(make_entries("[onnx, neuron]", x={}), run_options, ignore)).formats
    assert onnx.status is Status.PASSED
    assert neuron.status is Status.UNVERIFIED
    assert neuron.problem is not None
    assert "self-hosted" in neuron.problem.hint


def test_what_cannot_be_judged_is_placed_and_says_so(make_entries: MakeEntries, run_options: RunOptions) -> None:
    (onnx,) = only(run(make_entries("[onnx]", x={"validate legacy": "unverified"}), run_options, ignore)).formats
    assert (onnx.status, len(onnx.attempts)) == (Status.UNVERIFIED, 1)
    assert onnx.files[0].path == "x/onnx/artifact.json"


def test_a_server_that_cannot_start(make_entries: MakeEntries, run_options: RunOptions) -> None:
    report = run(make_entries(x={}, y={}), replace(run_options, preload=("no_such_module",)), ignore)
    assert [model.problem.kind for model in report.models if model.problem] == ["worker-start", "worker-start"]


# A second run in the same folder


def test_what_failed_since_is_not_where_a_passing_artifact_would_be(
    make_entries: MakeEntries, run_options: RunOptions
) -> None:
    out = run_options.output_directory / "x"
    run(make_entries("[onnx]", x={}), run_options, ignore)
    run(make_entries("[onnx]", x={"validate legacy": "fail", "validate dynamo": "fail"}), run_options, ignore)
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", "onnx.failed", "onnx.previous"]
    run(make_entries("[onnx]", x={"inspect": "refuse"}), run_options, ignore)
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", "onnx.previous"]
    run(make_entries("[onnx]", x={}), run_options, ignore)
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", "onnx"]


def test_what_a_run_did_not_make_stays(make_entries: MakeEntries, run_options: RunOptions) -> None:
    out = run_options.output_directory
    for path in ("notes.txt", "other/onnx/model.onnx", "x/README.md", "x/onnx/labels.txt", "x/torchscript/mine.pt"):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text("mine")
    run(make_entries("[onnx]", x={"export legacy": "more-files"}), run_options, ignore)
    assert (out / "x/onnx/weights/part").exists()
    run(make_entries("[onnx]", x={}), run_options, ignore)
    assert not (out / "x/onnx/weights").exists()
    for path in ("notes.txt", "other/onnx/model.onnx", "x/README.md", "x/onnx/labels.txt", "x/torchscript/mine.pt"):
        assert (out / path).read_text() == "mine"


def test_a_second_run_in_the_same_folder_is_refused(make_entries: MakeEntries, run_options: RunOptions) -> None:
    entries = make_entries("[onnx]", x={"inspect": "hang"})
    cancelled = threading.Event()
    begun = threading.Event()
    first = threading.Thread(target=run, args=(entries, run_options, lambda _: begun.set(), cancelled))
    first.start()
    try:
        assert begun.wait(30)
        with pytest.raises(ExportError, match="Another run is writing to") as raised:
            run(entries, run_options, ignore)
        assert raised.value.problem.kind == "output-locked"
    finally:
        cancelled.set()
        first.join()


def test_an_output_directory_that_is_a_file(make_entries: MakeEntries, run_options: RunOptions) -> None:
    run_options.output_directory.write_text("")
    with pytest.raises(ExportError) as raised:
        run((), run_options, ignore)
    assert raised.value.problem.kind == "output-directory"


def test_a_full_disk_is_told_for_the_model(
    make_entries: MakeEntries, run_options: RunOptions, small_disk: Path
) -> None:
    entries = make_entries("[onnx]", x={})
    (small_disk / "ballast").write_bytes(bytes((4 << 20) - 64 * 1024))
    # What is left is enough for the report, and for nothing else.
    options = replace(run_options, output_directory=small_disk)
    report = run(entries, options, ignore)
    assert report.status in (Status.ERROR, Status.PASSED)
    assert read_report((small_disk / "export-report.json").read_bytes()) == report


# The Hub


def test_models_of_the_hub_are_fetched_first(tmp_path: Path, run_options: RunOptions) -> None:
    (tmp_path / "export.yml").write_text(
        "version: 1\nmodels:\n- {name: x, model: org/model, revision: v1, formats: [onnx]}\n"
    )
    (tmp_path / "cache").mkdir()
    asked = []

    def fetch(model: str, revision: str, allow_remote_code: bool) -> Fetched:
        asked.append((model, revision, allow_remote_code))
        return Fetched(tmp_path / "cache", "0123456789", ("an old cache",))

    events: list[Event] = []
    model = only(run(load([tmp_path / "export.yml"]).entries, replace(run_options, fetch=fetch), events.append))
    assert asked == [("org/model", "v1", False)]
    assert (model.status, model.revision, model.commit) == (Status.PASSED, "v1", "0123456789")
    assert model.notes == ("an old cache", "no tokenizer")
    assert events[0] == StepStarted("x", "fetch", "v1")


def test_a_model_that_is_not_on_the_hub(tmp_path: Path, run_options: RunOptions) -> None:
    (tmp_path / "export.yml").write_text("version: 1\nmodels:\n- {name: x, model: org/model}\n")

    def fetch(model: str, revision: str, allow_remote_code: bool) -> Fetched:
        raise ExportError("hub-not-found", f"There is no {model}.", "Is it private?")

    model = only(run(load([tmp_path / "export.yml"]).entries, replace(run_options, fetch=fetch), ignore))
    assert model.problem is not None
    assert model.problem.kind == "hub-not-found"


def test_a_bug_of_ours_is_one_model_s_error(tmp_path: Path, run_options: RunOptions) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "export.yml").write_text(
        "version: 1\nmodels:\n- {name: x, model: org/model}\n- {name: y, model: ./local, formats: [onnx]}\n"
    )

    def fetch(model: str, revision: str, allow_remote_code: bool) -> Fetched:
        raise KeyError("unforeseen")

    events: list[Event] = []
    report = run(load([tmp_path / "export.yml"]).entries, replace(run_options, fetch=fetch), events.append)
    broken, fine = report.models
    assert fine.status is Status.PASSED
    assert broken.problem is not None
    assert (broken.problem.kind, broken.problem.message) == ("bug", "KeyError: 'unforeseen'")
    assert "Traceback" in (run_options.output_directory / "x/log.txt").read_text()
    (ended,) = [event for event in events if isinstance(event, StepFinished) and event.model == "x"]
    assert (ended.status, ended.message) == (Status.ERROR, "KeyError: 'unforeseen'")


# Interruptions


def test_cancelling_leaves_a_valid_report(make_entries: MakeEntries, run_options: RunOptions) -> None:
    entries = make_entries("[onnx, torchscript]", done={}, hangs={"export torchscript": "hang"}, never={})
    cancelled = threading.Event()

    def listen(event: Event) -> None:
        if event == StepStarted("hangs", "export torchscript"):
            cancelled.set()

    started = time.monotonic()
    events: list[Event] = []
    report = run(entries, run_options, lambda event: (events.append(event), listen(event))[0], cancelled)
    assert time.monotonic() - started < 30
    assert [model.status for model in report.models] == [Status.PASSED, Status.CANCELLED, Status.CANCELLED]
    assert [result.status for result in report.models[1].formats] == [Status.PASSED, Status.CANCELLED]
    assert [result.status for result in report.models[2].formats] == [Status.CANCELLED, Status.CANCELLED]
    assert read_report((run_options.output_directory / "export-report.json").read_bytes()) == report
    assert StepFinished("hangs", "export torchscript", Status.CANCELLED, events[-3].seconds, "") == events[-3]
    assert not list((run_options.output_directory / ".export-action").glob("run-*"))


def test_an_interrupted_run_leaves_earlier_artifacts_alone(make_entries: MakeEntries, run_options: RunOptions) -> None:
    run(make_entries("[onnx]", x={}), run_options, ignore)
    cancelled = threading.Event()
    cancelled.set()
    report = run(make_entries("[onnx]", x={}), run_options, ignore, cancelled)
    assert report.status is Status.CANCELLED
    assert (run_options.output_directory / "x/onnx/model.onnx").exists()


def test_a_download_that_hangs_does_not_hold_up_the_end(tmp_path: Path, run_options: RunOptions) -> None:
    (tmp_path / "export.yml").write_text("version: 1\nmodels:\n- {name: x, model: org/model}\n")
    cancelled, release, ended = threading.Event(), threading.Event(), threading.Event()

    def fetch(model: str, revision: str, allow_remote_code: bool) -> Fetched:
        cancelled.set()
        release.wait(60)
        return Fetched(tmp_path, "late")

    def listen(event: Event) -> None:
        if ended.is_set():
            pytest.fail("an event after the end")

    started = time.monotonic()
    entries = load([tmp_path / "export.yml"]).entries
    report = run(entries, replace(run_options, fetch=fetch), listen, cancelled)
    ended.set()
    release.set()
    assert time.monotonic() - started < 5
    assert only(report).status is Status.CANCELLED


def test_a_listener_that_fails_ends_the_run_with_its_error(make_entries: MakeEntries, run_options: RunOptions) -> None:
    class ListenerError(Exception):
        pass

    def listen(event: Event) -> None:
        raise ListenerError

    with pytest.raises(ListenerError):
        run(make_entries("[onnx]", x={}, y={}), run_options, listen)
    report = read_report((run_options.output_directory / "export-report.json").read_bytes())
    assert report.status is Status.CANCELLED


RUN_SCRIPT = """
import signal
import sys
from pathlib import Path
# Shells have what they start in the background ignore it, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = [{here!r}, {root!r}]
from exporter.manifest import load
from exporter.pipeline import RunOptions, StepStarted, interruptible, run
from exporter.pipeline.session import Steps

def listen(event):
    if isinstance(event, StepStarted):
        print(event.model, event.step, flush=True)

steps = Steps("sample_run_steps:inspect", "sample_run_steps:export", "sample_run_steps:validate")
options = RunOptions(Path({out!r}), jobs=2, steps=steps, preload=("sample_run_steps",))
entries = load([Path({manifest!r})]).entries
if {handled}:
    with interruptible() as interruption:
        run(entries, options, listen, interruption.event)
    sys.exit(interruption.exit_status or 0)
run(entries, options, listen)
"""


@pytest.fixture
def hanging_run(make_entries: MakeEntries, tmp_path: Path) -> Iterator[Callable[[bool], psutil.Popen]]:
    """A run in a process of its own, up to the point where one model is done and two workers hang."""
    make_entries("[onnx]", done={}, hang1={"export legacy": "hang"}, hang2={"export legacy": "hang"}, never={})
    processes = []

    def start(handled: bool) -> psutil.Popen:
        script = RUN_SCRIPT.format(
            here=str(Path(__file__).parent),
            root=str(Path(__file__).parents[3]),
            out=str(tmp_path / "out"),
            manifest=str(tmp_path / "export.yml"),
            handled=handled,
        )
        pipe = subprocess.PIPE
        process = psutil.Popen(
            [sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        processes.append(process)
        hanging = 0
        while hanging < 2:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            hanging += line.startswith("hang") and "export onnx" in line
        # A server, two keepers, two workers.
        deadline = time.monotonic() + 20
        while len(process.children(recursive=True)) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "handled", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, True, 143), (signal.SIGINT, False, -signal.SIGINT)],
)
def test_signals_end_a_run_within_five_seconds(
    hanging_run: Callable[[bool], psutil.Popen], tmp_path: Path, number: signal.Signals, handled: bool, status: int
) -> None:
    process = hanging_run(handled)
    below = process.children(recursive=True)
    os.killpg(process.pid, number)
    started = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == status, errors
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in below)
    report = read_report((tmp_path / "out/export-report.json").read_bytes())
    assert [model.status for model in report.models] == [Status.PASSED, *[Status.CANCELLED] * 3]
    assert not list((tmp_path / "out/.export-action").glob("run-*"))


def test_a_run_that_is_killed_loses_nothing(
    hanging_run: Callable[[bool], psutil.Popen], make_entries: MakeEntries, tmp_path: Path, run_options: RunOptions
) -> None:
    process = hanging_run(True)
    below = process.children(recursive=True)
    process.kill()
    process.communicate()
    report = read_report((tmp_path / "out/export-report.json").read_bytes())
    assert [model.status for model in report.models] == [Status.PASSED, *[Status.CANCELLED] * 3]
    assert (tmp_path / "out/done/onnx/model.onnx").exists()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert not alive
    # The lock died with it, and the next run clears up.
    assert run(make_entries("[onnx]", x={}), run_options, ignore).status is Status.PASSED
    assert not list((tmp_path / "out/.export-action").glob("run-*"))


def test_importing_the_pipeline_is_light() -> None:
    code = (
        "import sys, exporter.pipeline, exporter.pipeline.plan\n"
        "heavy = ('torch', 'transformers', 'onnx', 'onnxruntime', 'huggingface_hub', 'exporter.pipeline.steps')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
