"""Which children of this process are fork servers: beside them may be servers and compilers of other tests."""

from __future__ import annotations

import psutil

__all__ = ["fork_servers"]


def fork_servers() -> list[psutil.Process]:
    """The fork servers that this process started and that still run."""
    return [
        child for child in psutil.Process().children() if "exporter.pipeline.forkserver" in " ".join(child.cmdline())
    ]
