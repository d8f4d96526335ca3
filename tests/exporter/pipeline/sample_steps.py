"""Steps for workers under test: each behaves, or misbehaves, in one way that real models have been seen to."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from exporter.results import ExportError


class Ask(BaseModel):
    """Argument of every step here."""

    text: str = ""
    number: int = 0
    path: str = ""


class Told(BaseModel):
    """Reply of every step here."""

    text: str = ""
    number: int = 0
    facts: dict[str, Any] = {}


def echo(ask: Ask) -> Told:
    print(ask.text)
    return Told(text=ask.text, number=ask.number)


def describe(ask: Ask) -> Told:
    """What a worker can see of itself."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return Told(
        facts={
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "session": os.getsid(0),
            "group": os.getpgrp(),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            "cwd": str(Path.cwd()),
            "environ": dict(os.environ),
            "environ_file": _read("/proc/self/environ"),
            "keeper_environ": _read(f"/proc/{os.getppid()}/environ"),
            "main": getattr(sys.modules["__main__"], "__file__", None),
            "modules": sorted(sys.modules),
            "no_new_privileges": status["NoNewPrivs"].strip(),
            "descriptors": sorted(
                str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
            ),
            "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
        }
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode()
    except PermissionError:
        return "denied"


def read_file(ask: Ask) -> Told:
    return Told(text=_read(ask.path))


def write_file(ask: Ask) -> Told:
    path = Path(ask.path)
    path.write_text(ask.text)
    return Told(number=path.stat().st_uid)


def raise_plain(ask: Ask) -> Told:
    raise ValueError(ask.text)


def raise_export_error(ask: Ask) -> Told:
    raise ExportError("lfs-pointer", ask.text, "Fetch it.")


def raise_unspeakable(ask: Ask) -> Told:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Unspeakable


def raise_undecodable(ask: Ask) -> Told:
    raise FileNotFoundError(2, "No such file", os.fsdecode(b"bad-\xff-name"))


def leave(ask: Ask) -> Told:
    sys.exit(ask.number)


def leave_at_once(ask: Ask) -> Told:
    os._exit(ask.number)


def hang(ask: Ask) -> Told:
    print("about to hang", flush=True)
    time.sleep(600)
    return Told()


def hang_deaf(ask: Ask) -> Told:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return hang(ask)


def kill_itself(ask: Ask) -> Told:
    print("last words")
    os.kill(os.getpid(), ask.number)
    time.sleep(10)
    return Told()


def kill_keeper(ask: Ask) -> Told:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(10)
    return Told()


def segfault(ask: Ask) -> Told:
    ctypes.string_at(0)
    return Told()


def eat_memory(ask: Ask) -> Told:
    eaten = []
    for _ in range(ask.number // (1 << 20)):
        eaten.append(bytearray(os.urandom(16)) * (1 << 16))
        time.sleep(0.001)
    time.sleep(600)
    return Told(number=len(eaten))


def eat_shared_memory(ask: Ask) -> Told:
    shared = mmap.mmap(-1, ask.number)
    for start in range(0, ask.number, 4096):
        shared[start] = 1
    time.sleep(600)
    return Told()


def eat_memory_in_a_daemon(ask: Ask) -> Told:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            eat_memory(ask)
        os._exit(0)
    time.sleep(600)
    return Told()


def map_a_file(ask: Ask) -> Told:
    """Touch every page of a file, as weights mapped from a checkpoint are; the kernel can drop them any time."""
    with Path(ask.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        total = sum(mapped[start] for start in range(0, len(mapped), 4096))
        time.sleep(0.5)
    return Told(number=total)


def allocate_too_much(ask: Ask) -> Told:
    return Told(number=len(bytearray(1 << 60)))


def fill_disk(ask: Ask) -> Told:
    with Path(ask.path).open("wb") as file:
        while True:
            file.write(bytes(1 << 16))


def fill_disk_in_another_language(ask: Ask) -> Told:
    """What torch's C++ writer does: the disk is full, and the message does not say so."""
    with contextlib.suppress(OSError):
        fill_disk(ask)
    raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


def fill_disk_through_a_mapping(ask: Ask) -> Told:
    """SIGBUS: the file is as long as asked, but the disk holds no pages for it."""
    with Path(ask.path).open("wb+") as file:
        file.truncate(ask.number)
        with mmap.mmap(file.fileno(), ask.number) as mapped:
            for start in range(0, ask.number, 4096):
                mapped[start] = 1
    return Told()


def print_commands(ask: Ask) -> Told:
    print("::set-output name=passed::true")
    print("harmless\r::error::hidden \x1b[31mred\x1b[0m \x07 \u202etxt.exe", file=sys.stderr)
    print("##[error]in the log")
    os.system("echo '::add-mask::x'")
    raise RuntimeError("::warning::from \x1b]0;title\x07an exception\nwith ::debug:: lines")


def print_a_lot(ask: Ask) -> Told:
    line = "x" * 1023
    for _ in range(ask.number // 1024):
        print(line)
    time.sleep(600)
    return Told()


def _pipes() -> list[int]:
    links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return [int(link.name) for link in links if int(link.name) > 2 and str(link.readlink()).startswith("pipe:")]


def write_garbage(ask: Ask) -> Told:
    """Whoever runs in the process can find the pipe."""
    for number in _pipes():
        os.write(number, ask.text.encode())
    return Told(text="and then the answer")


def write_without_end(ask: Ask) -> Told:
    block = b"x" * 65536
    (pipe,) = _pipes()
    while True:
        os.write(pipe, block)


def answer_wrongly(ask: Ask) -> Ask:
    """A record, but not the one that is expected."""
    return Ask(text="not a Told", path="x")


def leave_children(ask: Ask) -> Told:
    """Children in the group, in a session of their own, and a daemon without a parent; all deaf."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for kind in ("group", "session", "daemon"):
        if os.fork() == 0:
            if kind != "group":
                os.setsid()
            if kind == "daemon" and os.fork() != 0:
                os._exit(0)
            with Path(ask.path).open("a") as file:
                file.write(f"{os.getpid()}\n")
            gc.disable()
            time.sleep(600)
            os._exit(0)
    while not Path(ask.path).exists() or len(Path(ask.path).read_text().split()) < 3:
        time.sleep(0.01)
    if ask.number:
        time.sleep(600)
    return Told(text="done")
