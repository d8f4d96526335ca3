"""The fork server as a run has it, with everything imported."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from fork_servers import fork_servers

from exporter.pipeline.pool import PRELOAD, WorkerPool


def test_the_server_has_one_thread_and_its_workers_start_at_once(
    make_pool: Callable[..., WorkerPool], ask: Callable[..., Any]
) -> None:
    """A process with threads can't be forked safely: a lock that another thread held stays locked in the child."""
    pool = make_pool(preload=(*PRELOAD, "sample_steps"), time_limit=120.0)
    modules = ask(pool, "describe").facts["modules"]
    assert {"torch", "transformers", "onnxruntime", "exporter.pipeline.steps"} <= set(modules)
    (server,) = fork_servers()
    assert server.num_threads() == 1
    started = time.monotonic()
    ask(pool, "echo", threading.Event())
    assert time.monotonic() - started < 3
    assert os.getpid() == server.ppid()
