"""Workers that do what they should, and all the ways in which they don't: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fork_servers import fork_servers

from exporter.pipeline.outcome import LOG_LIMIT
from exporter.pipeline.pool import Cancelled, Sandbox, WorkerPool
from exporter.results import ExportError

NOBODY = 65534
SECRETS = {
    "HF_TOKEN": "hf_s3cr3t",
    "GITHUB_TOKEN": "ghs_s3cr3t",
    "INPUT_TOKEN": "ghs_s3cr3t2",
    "INPUT_HF-TOKEN": "hf_s3cr3t2",
    "ACTIONS_RUNTIME_TOKEN": "act_s3cr3t",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "oidc_s3cr3t",
    "AWS_SECRET_ACCESS_KEY": "aws_s3cr3t",
    "HTTPS_PROXY": "http://user:proxy_s3cr3t@proxy",
    "LD_PRELOAD": "",
    "PYTHONPATH": "/s3cr3t",
}

Ask = Callable[..., Any]
MakePool = Callable[..., WorkerPool]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def problem_of(ask: Ask, *arguments: Any, **request: Any) -> Any:
    with pytest.raises(ExportError) as raised:
        ask(*arguments, **request)
    return raised.value.problem


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def scratch_is_empty(tmp_path: Path) -> bool:
    return not list(tmp_path.glob("scratch-*/worker-*"))


def test_a_step_answers_and_its_output_is_in_the_log(pool: WorkerPool, ask: Ask, tmp_path: Path) -> None:
    told = ask(pool, "echo", text="grüße", number=7)
    assert (told.text, told.number) == ("grüße", 7)
    ask(pool, "echo", text="again")
    assert (tmp_path / "log.txt").read_text() == "grüße\nagain\n"
    assert scratch_is_empty(tmp_path)


def test_workers_run_side_by_side(make_pool: MakePool, ask: Ask) -> None:
    pool = make_pool(jobs=2)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: results.append(ask(pool, "echo", number=number).number))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == list(range(8))


def test_the_server_is_started_once_and_forks_quickly(pool: WorkerPool, ask: Ask) -> None:
    ask(pool, "echo")
    started = time.monotonic()
    for _ in range(5):
        ask(pool, "echo")
    assert (time.monotonic() - started) / 5 < 1.0


def test_a_worker_is_alone(pool: WorkerPool, ask: Ask) -> None:
    facts = ask(pool, "describe").facts
    assert facts["session"] == facts["group"] == facts["pid"]
    assert facts["session"] != os.getsid(0)
    assert facts["no_new_privileges"] == "1"
    assert facts["oom_score_adj"] == "1000"
    assert "/scratch-0/worker-" in facts["cwd"]
    # The answer's pipe, the log twice, nothing on stdin: no socket to the server, no status pipe.
    assert sum(target.startswith("pipe:") for target in facts["descriptors"]) == 1
    assert not any(target.startswith("socket:") for target in facts["descriptors"])


def test_no_secret_is_in_any_process_but_ours(
    make_pool: MakePool, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    pool = make_pool(jobs=1)
    facts = ask(pool, "describe").facts
    (server,) = fork_servers()
    server_environ = Path(f"/proc/{server.pid}/environ").read_bytes().decode()
    seen = [json.dumps(facts["environ"]), facts["environ_file"], facts["keeper_environ"], server_environ]
    for text in seen:
        assert "s3cr3t" not in text
        assert "INPUT_" not in text
        assert "_TOKEN" not in text
    assert "s3cr3t" not in " ".join(server.cmdline())
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert facts["environ"][name] == "1"
    assert facts["environ"]["TOKENIZERS_PARALLELISM"] == "false"
    assert int(facts["environ"]["OMP_NUM_THREADS"]) == len(os.sched_getaffinity(0))
    assert Path(facts["environ"]["HOME"]).is_relative_to(tmp_path)


def test_the_main_module_is_not_imported_again(ask: Ask, tmp_path: Path) -> None:
    """A script without a main guard, which `multiprocessing` would run again in its server."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, threading\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "print('main runs', flush=True)\n"
        "from exporter.pipeline.pool import Call, PoolOptions, WorkerPool\n"
        "import sample_steps\n"
        f"here = Path({str(tmp_path)!r})\n"
        "with WorkerPool(PoolOptions(scratch=here, preload=())) as pool:\n"
        "    call = Call('sample_steps:describe', sample_steps.Ask(), here / 'log.txt')\n"
        "    facts = pool.call(call, sample_steps.Told, threading.Event()).facts\n"
        "print(facts['main'])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["main runs", "None"]


def test_the_working_directory_is_not_imported_from(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the repository took over')\n")
    here, root, output = (str(path) for path in (Path(__file__).parent, Path(__file__).parents[3], tmp_path))
    program = (
        f"import sys; sys.path.remove(''); sys.path += [{root!r}, {here!r}]\n"
        "import threading; from pathlib import Path\n"
        "from exporter.pipeline.pool import Call, PoolOptions, WorkerPool\n"
        "import sample_steps; sys.path.insert(0, '')\n"
        f"with WorkerPool(PoolOptions(scratch=Path({output!r}), preload=())) as pool:\n"
        f"    call = Call('sample_steps:echo', sample_steps.Ask(text='ok'), Path({output!r}) / 'log.txt')\n"
        "    print(pool.call(call, sample_steps.Told, threading.Event()).text)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "ok\n", done.stderr


def test_the_parent_stays_light() -> None:
    code = (
        "import sys, exporter.pipeline.pool, exporter.pipeline.events, exporter.pipeline.messages\n"
        "heavy = ('torch', 'transformers', 'onnx', 'onnxruntime', 'huggingface_hub', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What a step raises


def test_an_exception_is_told_with_the_last_log_lines(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "raise_plain", text="the shapes differ")
    assert problem.kind == "worker-exception"
    assert problem.message == "ValueError: the shapes differ"
    assert problem.log[-1] == "ValueError: the shapes differ"


def test_a_step_s_own_problem_comes_back_as_it_is(pool: WorkerPool, ask: Ask, tmp_path: Path) -> None:
    problem = problem_of(ask, pool, "raise_export_error", text="weights are a pointer")
    assert (problem.kind, problem.message, problem.hint) == ("lfs-pointer", "weights are a pointer", "Fetch it.")
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_a_name_that_is_no_text(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "raise_undecodable")
    assert problem.kind == "worker-exception"
    assert "bad-" in problem.message


def test_an_exception_without_words(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "raise_unspeakable")
    assert problem.kind == "worker-exit"
    assert "no words" in "\n".join(problem.log)


def test_a_step_that_does_not_exist(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "no_such_step")
    assert "no_such_step" in problem.message


def test_sys_exit(pool: WorkerPool, ask: Ask) -> None:
    assert problem_of(ask, pool, "leave", number=3).kind == "worker-exit"


@pytest.mark.parametrize(("status", "kind"), [(0, "no-result"), (5, "worker-exit")])
def test_leaving_without_an_answer(pool: WorkerPool, ask: Ask, status: int, kind: str) -> None:
    problem = problem_of(ask, pool, "leave_at_once", number=status)
    assert problem.kind == kind
    assert str(status) in problem.message


# How a worker dies


def test_a_worker_that_hangs(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    started = time.monotonic()
    problem = problem_of(ask, make_pool(time_limit=1.0), "hang_deaf")
    assert problem.kind == "timeout"
    assert "1 s" in problem.message
    assert problem.log == ("about to hang",)
    assert time.monotonic() - started < 5
    assert scratch_is_empty(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_worker_that_is_killed(pool: WorkerPool, ask: Ask, number: signal.Signals) -> None:
    problem = problem_of(ask, pool, "kill_itself", number=number)
    assert problem.kind == "worker-killed"
    assert number.name in problem.message
    assert problem.log[0] == "last words"


def test_a_worker_that_crashes_says_where(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "segfault")
    assert problem.kind == "worker-killed"
    assert "SIGSEGV" in problem.message
    assert any("sample_steps.py" in line for line in problem.log)


def test_a_worker_that_kills_its_keeper(pool: WorkerPool, ask: Ask) -> None:
    assert problem_of(ask, pool, "kill_keeper").kind == "worker-killed"
    assert ask(pool, "echo", text="next").text == "next"


def test_a_server_that_is_killed_is_replaced(pool: WorkerPool, ask: Ask) -> None:
    ask(pool, "echo")
    (server,) = fork_servers()
    killer = threading.Timer(0.5, server.kill)
    killer.start()
    assert problem_of(ask, pool, "hang").kind == "worker-killed"
    killer.join()
    assert ask(pool, "echo", text="next").text == "next"


def test_a_server_that_cannot_import_says_so_every_time(make_pool: MakePool, ask: Ask) -> None:
    pool = make_pool(preload=("sample_steps", "no_such_module"))
    for _ in range(2):
        problem = problem_of(ask, pool, "echo")
        assert problem.kind == "worker-start"
        assert "no_such_module" in problem.message


# Memory and disk


@pytest.mark.parametrize("step", ["eat_memory", "eat_shared_memory", "eat_memory_in_a_daemon"])
def test_a_worker_that_eats_memory(make_pool: MakePool, ask: Ask, step: str) -> None:
    pool = make_pool(memory_limit=200 << 20)
    problem = problem_of(ask, pool, step, number=400 << 20)
    assert problem.kind == "out-of-memory"
    assert "0.21 GB" in problem.message


def test_mapped_weights_are_no_reason_to_end_a_worker(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(200 << 20))
    assert ask(make_pool(memory_limit=100 << 20), "map_a_file", path=str(weights)).number == 0


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group whose members together may hold 300 MB."""
    places = {
        controllers: path
        for _, controllers, path in (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    }
    if "memory" in places:
        parent, limit = Path("/sys/fs/cgroup/memory") / places["memory"].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = Path("/sys/fs/cgroup") / places.get("", "").lstrip("/"), "memory.max"
    group = parent / f"test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text("300000000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"making a control group is not permitted here: {error}")
    yield group
    assert wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_the_kernel_takes_the_worker_and_not_the_run(memory_group: Path, tmp_path: Path) -> None:
    """Our own limit is set out of reach, so that the kernel's comes first."""
    here, root, output = (str(path) for path in (Path(__file__).parent, Path(__file__).parents[3], tmp_path))
    program = (
        "import os, sys, threading; from pathlib import Path\n"
        f"Path({str(memory_group)!r}, 'cgroup.procs').write_text(str(os.getpid()))\n"
        f"sys.path += [{root!r}, {here!r}]; output = Path({output!r})\n"
        "from exporter.pipeline.limits import available_memory\n"
        "from exporter.pipeline.pool import Call, PoolOptions, WorkerPool\n"
        "from exporter.results import ExportError\n"
        "import sample_steps\n"
        "print(available_memory() <= 300_000_000)\n"
        "def ask(step, **request):\n"
        "    call = Call('sample_steps:' + step, sample_steps.Ask(**request), output / 'log.txt')\n"
        "    return pool.call(call, sample_steps.Told, threading.Event())\n"
        "with WorkerPool(PoolOptions(scratch=output, preload=(), memory_limit=1 << 40)) as pool:\n"
        "    try:\n"
        "        ask('eat_memory', number=1 << 30)\n"
        "    except ExportError as error:\n"
        "        print(error.problem.kind, error.problem.message)\n"
        "    print(ask('echo', text='still here').text)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    limited, told, after = done.stdout.splitlines()
    assert (limited, after) == ("True", "still here")
    assert told.startswith("out-of-memory The kernel killed the worker")


def test_an_allocation_that_fails(pool: WorkerPool, ask: Ask) -> None:
    assert problem_of(ask, pool, "allocate_too_much").kind == "out-of-memory"


@pytest.mark.parametrize("step", ["fill_disk", "fill_disk_in_another_language", "fill_disk_through_a_mapping"])
def test_a_full_disk_names_path_and_need(pool: WorkerPool, ask: Ask, small_disk: Path, step: str) -> None:
    target = small_disk / "model.onnx"
    problem = problem_of(
        ask, pool, step, path=str(target), directory=small_disk, needed_bytes=91_000_000, number=16 << 20
    )
    assert problem.kind == "disk-full"
    assert str(small_disk) in problem.message
    assert "91.0 MB" in problem.message
    # A crash leaves nobody to ask which file it was.
    assert (str(target) in problem.message) == (step != "fill_disk_through_a_mapping")


# What a worker says


def test_foreign_text_stays_off_our_output_and_loses_its_controls(
    pool: WorkerPool, ask: Ask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    problem = problem_of(ask, pool, "print_commands")
    assert capfd.readouterr() == ("", "")
    for text in (problem.message, *problem.log):
        assert text.replace("\n", "").isprintable()
    assert "::error::hidden red  txt.exe" in problem.log
    assert "::add-mask::x" in (tmp_path / "log.txt").read_text()


def test_a_worker_that_floods_its_log(pool: WorkerPool, ask: Ask, tmp_path: Path) -> None:
    problem = problem_of(ask, pool, "print_a_lot", number=2 * LOG_LIMIT)
    assert problem.kind == "log-flood"
    assert (tmp_path / "log.txt").stat().st_size <= 2 * LOG_LIMIT + 4096


@pytest.mark.parametrize("text", ["garbage", "reply\n", 'reply\n{"text": 1}', "problem\n{}", "reply\n[" * 10_000])
def test_garbage_instead_of_an_answer(pool: WorkerPool, ask: Ask, text: str) -> None:
    assert problem_of(ask, pool, "write_garbage", text=text).kind == "worker-garbage"


def test_an_answer_without_end(pool: WorkerPool, ask: Ask) -> None:
    problem = problem_of(ask, pool, "write_without_end")
    assert problem.kind == "worker-garbage"
    assert "32 MiB" in problem.message


# What a worker leaves behind


@pytest.mark.parametrize("hanging", [False, True])
def test_nothing_outlives_a_step(make_pool: MakePool, ask: Ask, tmp_path: Path, hanging: bool) -> None:
    pool = make_pool(time_limit=3.0)
    pids = tmp_path / "pids"
    if hanging:
        assert problem_of(ask, pool, "leave_children", path=str(pids), number=1).kind == "timeout"
    else:
        assert ask(pool, "leave_children", path=str(pids)).text == "done"
    children = [int(line) for line in pids.read_text().split()]
    assert len(children) == 3
    assert all(gone(pid) for pid in children)


def test_cancelling_ends_a_worker_at_once(pool: WorkerPool, ask: Ask, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    cancelled = threading.Event()
    since: list[float] = []

    def cancel() -> None:
        assert wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 3, 30)
        since.append(time.monotonic())
        cancelled.set()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        ask(pool, "leave_children", cancelled, path=str(pids), number=1)
    canceller.join()
    assert time.monotonic() - since[0] < 3
    assert all(gone(int(line)) for line in pids.read_text().split())


def test_cancelling_while_the_server_imports(make_pool: MakePool, ask: Ask) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        ask(make_pool(), "echo", cancelled)


def test_closing_ends_everything(make_pool: MakePool, ask: Ask) -> None:
    pool = make_pool()
    ask(pool, "echo")
    (server,) = fork_servers()
    pool.close()
    assert gone(server.pid)
    with pytest.raises(Cancelled):
        ask(pool, "echo")


def test_workers_die_with_the_run(tmp_path: Path) -> None:
    """The run itself is killed: nobody is there to clean up, and still nothing is left."""
    pids = tmp_path / "pids"
    script = (
        "import sys, threading; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from exporter.pipeline.pool import Call, PoolOptions, WorkerPool\n"
        "import sample_steps\n"
        f"here = Path({str(tmp_path)!r})\n"
        "pool = WorkerPool(PoolOptions(scratch=here, preload=()))\n"
        f"call = Call('sample_steps:leave_children', sample_steps.Ask(path={str(pids)!r}, number=1), here / 'log')\n"
        "pool.call(call, sample_steps.Told, threading.Event())\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    try:
        assert wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 3, 30)
        below = psutil.Process(run.pid).children(recursive=True)
        assert len(below) >= 6
    finally:
        run.kill()
        run.wait()
    assert wait_until(lambda: all(gone(process.pid) for process in below))


# Another user


@needs_root
def test_a_sandboxed_worker_has_no_rights(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    open_to_others(tmp_path)
    pool = make_pool(sandbox=Sandbox(NOBODY, NOBODY))
    facts = ask(pool, "describe").facts
    assert (facts["uid"], facts["gid"], facts["groups"]) == (NOBODY, NOBODY, [])
    assert facts["keeper_environ"] == "denied"
    assert ask(pool, "read_file", path=f"/proc/{os.getpid()}/environ").text == "denied"


@needs_root
def test_a_sandboxed_worker_writes_where_it_may(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    open_to_others(tmp_path)
    pool = make_pool(sandbox=Sandbox(NOBODY, NOBODY))
    directory = tmp_path / "artifact"
    directory.mkdir()
    written = ask(pool, "write_file", directory=directory, path=str(directory / "model.onnx"), text="x")
    assert written.number == NOBODY
    problem = problem_of(ask, pool, "write_file", path=str(tmp_path / "elsewhere"), text="x")
    assert problem.kind == "sandbox"
    assert f"user {NOBODY} that runs model code may not use /" in problem.message


@needs_root
def test_a_sandboxed_worker_dies_with_its_keeper(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    """The kernel forgets the wish to die with the parent when the user changes."""
    open_to_others(tmp_path)
    pool = make_pool(sandbox=Sandbox(NOBODY, NOBODY))
    ask(pool, "echo")
    (server,) = fork_servers()
    killed: list[psutil.Process] = []

    def kill_keeper() -> None:
        assert wait_until(lambda: len(server.children(recursive=True)) == 2)
        killed.extend(server.children(recursive=True))
        next(process for process in killed if process.ppid() == server.pid).kill()

    killer = threading.Thread(target=kill_keeper)
    killer.start()
    assert problem_of(ask, pool, "hang").kind == "worker-killed"
    killer.join()
    assert wait_until(lambda: all(gone(process.pid) for process in killed))


@needs_root
def test_a_folder_that_the_other_user_cannot_enter(make_pool: MakePool, ask: Ask, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert problem_of(ask, make_pool(sandbox=Sandbox(NOBODY, NOBODY)), "echo").kind == "sandbox"


def open_to_others(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
