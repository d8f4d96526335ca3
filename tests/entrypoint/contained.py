"""A process like the one of a container: the first of its own process table, in a file system with its own mounts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

__all__ = ["contain", "inner"]

LISTENER = """
import os, socket, time
server = socket.socket(socket.AF_UNIX)
server.bind("/run/docker.sock")
os.chmod("/run/docker.sock", 0o666)
server.listen()
time.sleep(600)
"""


def contain(arguments: Sequence[str], environment: dict[str, str], folder: Path, cwd: Path) -> subprocess.Popen[str]:
    """Start a program as the first process of new namespaces; needs root.

    A Docker socket that lets everybody in is there, as the runner mounts one into every container.

    Args:
        folder: Where there is room for a mount point.
    """
    script = [
        "set -e",
        "mount --make-rprivate /",
        *_opened(folder / "interpreter"),
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "touch /run/.containerenv",
        f"{sys.executable} -c '{LISTENER}' &",
        "while ! test -S /run/docker.sock; do sleep 0.05; done",
        'exec "$@"',
    ]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return subprocess.Popen(
        [*namespaces, "/bin/sh", "-c", "\n".join(script), "sh", "env", "-i", *variables, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def inner(outer: subprocess.Popen[str]) -> psutil.Process:
    """The first process in there, as the host sees it."""
    (process,) = psutil.Process(outer.pid).children()
    return process


def _opened(hold: Path) -> list[str]:
    """Commands that let everybody reach the interpreter; some keep theirs in a home that others can't enter."""
    prefix = Path(sys.base_prefix).resolve()
    closed = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & 0o001]
    if not closed:
        return []
    return [
        f"mkdir {hold}",
        f"mount --bind {prefix} {hold}",
        f"mount -t tmpfs -o mode=755 tmpfs {closed[0]}",
        f"mkdir -p {prefix}",
        f"mount --bind {hold} {prefix}",
    ]
