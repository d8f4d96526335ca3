"""What the machine and its control groups leave to us. The groups are folders like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pipeline.limits import (
    RESERVE,
    available_memory,
    available_processors,
    memory_per_worker,
    out_of_memory_kills,
)

GB = 1 << 30
TOTAL = psutil.virtual_memory().total


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, TOTAL),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, TOTAL),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "500000000\n"}, 500_000_000),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": "300000000\n",
                "sys/fs/cgroup/memory.max": "900000000\n",
            },
            300_000_000,
        ),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "400000000\n"}, 400_000_000),
        (
            {"proc/self/cgroup": V1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "200000000\n"},
            200_000_000,
        ),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, TOTAL),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/unified/memory.max": "100000000\n"}, 100_000_000),
        ({"proc/self/cgroup": "garbage\n\x00", "sys/fs/cgroup/memory.max": "nonsense"}, TOTAL),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert available_memory(write(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_processors(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    assert available_processors(write(tmp_path, files)) == (count or len(os.sched_getaffinity(0)))


def test_kills_for_want_of_memory(tmp_path: Path) -> None:
    assert out_of_memory_kills(tmp_path) == 0
    write(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "low 0\noom 4\noom_kill 3\noom_group_kill 0\n"},
    )
    assert out_of_memory_kills(tmp_path) == 3


def test_the_machine_itself_is_readable() -> None:
    assert 0 < available_memory() <= TOTAL
    assert available_processors() >= 1
    assert out_of_memory_kills() >= 0


@given(st.integers(min_value=1, max_value=64), st.integers(min_value=1 << 20, max_value=1 << 45))
def test_workers_together_leave_the_reserve(jobs: int, available: int) -> None:
    share = memory_per_worker(jobs, available)
    assert share * jobs <= max(available - RESERVE, available // 2)


def test_the_share_of_a_hosted_runner() -> None:
    assert memory_per_worker(1, 16 * GB) == 15 * GB
    assert memory_per_worker(3, 16 * GB) == 5 * GB
    assert memory_per_worker(1, GB) == GB // 2
