"""The environment of workers, made from a list of what may pass and not from a list of what may not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["hub_cache", "worker_environment"]

_PASSED = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
_PASSED_PREFIX = "LC_"

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")

_FIXED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    # From 1.29 on ONNX Runtime tells its maker about models, and starts a thread for that when it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # OpenBLAS starts its threads when numpy is imported, and the fork server must have one thread only.
    "OPENBLAS_NUM_THREADS": "1",
    # Sets of names end up in graphs: the same checkpoint shall give the same file.
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "PYTHONFAULTHANDLER": "1",
    # An unprivileged user may have no name, and libraries ask for one.
    "USER": "worker",
    "LOGNAME": "worker",
}


def worker_environment(environment: Mapping[str, str], scratch: Path, threads: int) -> dict[str, str]:
    """What workers see of `environment`, the caller's own.

    Tokens, ``INPUT_*``, ``GITHUB_*``, ``ACTIONS_*`` and proxies stay outside, and so does the home folder: it holds the
    Hub's token file and credentials of other programs.

    Args:
        environment: Environment of the calling process.
        scratch: Folder that workers may fill: home, caches, temporary files.
        threads: Threads that one worker may use.
    """
    passed = {name: value for name, value in environment.items() if name in _PASSED or name.startswith(_PASSED_PREFIX)}
    return {
        **passed,
        **_FIXED,
        **dict.fromkeys(_THREADS, str(threads)),
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch),
        "HF_HOME": str(scratch / "huggingface"),
        "HF_HUB_CACHE": str(hub_cache(environment)),
    }


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where `huggingface_hub` keeps what it fetched, for a process with this environment."""
    if explicit := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(explicit).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".cache"
    return Path(cache).expanduser() / "huggingface" / "hub"
