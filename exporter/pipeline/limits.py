"""How much of the machine is ours: memory and processors, as the cgroup (v1 or v2) or else the machine gives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["RESERVE", "available_memory", "available_processors", "memory_per_worker", "out_of_memory_kills"]

RESERVE = 1 << 30
"""Bytes left to everything that is no worker: the run itself, the page cache, the runner's own programs."""

_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as the largest page-aligned 64-bit number


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that all processes of this cgroup together may use; at most what the machine has.

    Args:
        root: Where ``proc`` and ``sys`` are found.
    """
    limits = [psutil.virtual_memory().total]
    for folder in _cgroup_folders(root, "memory"):
        limits += [
            limit
            for name in ("memory.max", "memory.limit_in_bytes")
            if (limit := _number(folder / name)) is not None and limit < _UNLIMITED
        ]
    return min(limits)


def memory_per_worker(jobs: int, available: int) -> int:
    """Bytes that one of `jobs` workers may hold: `available` less `RESERVE`, or half of it on a very small machine."""
    return max(available - RESERVE, available // 2) // max(1, jobs)


def available_processors(root: Path = Path("/")) -> int:
    """Processors that this process may keep busy, at least 1: its affinity, cut by the cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    for folder in _cgroup_folders(root, "cpu"):
        quota = _processor_quota(folder)
        if quota is not None:
            count = min(count, max(1, round(quota)))
    return count


def out_of_memory_kills(root: Path = Path("/")) -> int:
    """How many processes of this cgroup the kernel has killed for want of memory so far."""
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            for line in _text(folder / name).splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill" and value.strip().isdigit():
                    return int(value)
    return 0


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroup and all above it: the narrowest limit on the way counts."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mounts = ("sys/fs/cgroup", "sys/fs/cgroup/unified") if not controllers else (f"sys/fs/cgroup/{controllers}",)
        for mount in mounts:
            folder = root / mount / path.lstrip("/")
            # Without a cgroup namespace the path is the host's, and what we see of it starts at the mount.
            while folder != root / mount:
                yield folder
                folder = folder.parent
            yield root / mount


def _processor_quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return int(words[0]) / int(words[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and quota > 0 and period else None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # no such controller, or none that we may see: no limit from there
        return ""
