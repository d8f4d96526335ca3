"""Keeping tokens out of reach of model code.

Deleting a variable from `os.environ` hides nothing: the kernel goes on showing the environment that a process was
started with in ``/proc/<pid>/environ``. So the process replaces itself by one that was started with a clean environment
and gets the tokens through a pipe. Then nobody else may look into its memory, and workers are a user of their own.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from entrypoint.settings import INPUTS, variable
from exporter.pipeline.prctl import hide_memory
from exporter.pipeline.worker import Sandbox

__all__ = ["HANDOVER", "WORKER", "close_docker_socket", "hand_over", "left_credentials", "receive", "separate"]

HANDOVER = "EXPORT_ACTION_HANDOVER"
"""Names the file descriptor of the pipe, in the environment of the process that replaces this one."""

WORKER = Sandbox(uid=65_530, gid=65_530)
"""Who workers are. No distribution gives this id to anybody: https://systemd.io/UIDS-GIDS/."""

_SECRETS = (variable("token"), variable("hf-token"), "HF_TOKEN")

# What we need of a job's environment. All else stays behind: it may be a secret, or meant for another file system.
_KEPT = {
    "CI",
    "HOME",
    "HUGGINGFACE_HUB_CACHE",
    "LANG",
    "LANGUAGE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "XDG_CACHE_HOME",
    *(name for proxy in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())),
    *map(variable, INPUTS),
}
_KEPT_PREFIXES = ("GITHUB_", "HF_", "LC_", "RUNNER_")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PIPE_BYTES = 65_536  # what a pipe takes with nobody reading: pipe(7)


def separate(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What the action needs of an environment: what everybody may see, and what nobody else may."""
    secrets = {name: environment[name] for name in _SECRETS if environment.get(name)}
    public = {
        name: value
        for name, value in environment.items()
        if (name in _KEPT or name.startswith(_KEPT_PREFIXES)) and not _SECRET_NAME.search(name)
    }
    return {**public, "PATH": _PATH}, secrets


def hand_over(environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by one with a clean environment; `receive` is what that one does first."""
    public, secrets = separate(environment)
    written = json.dumps(secrets).encode()
    if len(written) > _PIPE_BYTES:
        sys.exit("The tokens in `token` and `hf-token` are too long to be tokens.")
    reader, writer = os.pipe()
    os.write(writer, written)
    os.close(writer)
    os.set_inheritable(reader, True)
    arguments = [sys.executable, "-I", "-m", "entrypoint"]
    os.execve(sys.executable, arguments, {**public, HANDOVER: str(reader)})  # noqa: S606 - ourselves, by absolute path


def receive() -> dict[str, str]:
    """Close this process to others of its user, then take what `hand_over` put into the pipe."""
    hide_memory()
    with os.fdopen(int(os.environ.pop(HANDOVER)), "rb") as pipe:
        secrets: dict[str, str] = json.load(pipe)
    return secrets


def close_docker_socket(root: Path = Path("/")) -> None:
    """Let nobody but root reach the Docker socket that the runner mounts into every container action.

    Whoever can write to it is root on the host. Its own rights belong to the host, and some let everybody in; the
    folder around it is the container's. Does nothing outside of a container.
    """
    in_container = any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))
    socket = root / "run/docker.sock"
    if in_container and socket.exists() and stat.S_ISSOCK(socket.stat().st_mode):
        socket.parent.chmod(0o700)


_EXTRA_HEADER = re.compile(r"^\s*extraheader\s*=\s*AUTHORIZATION", re.IGNORECASE | re.MULTILINE)
_INCLUDED = re.compile(r"^\s*path\s*=\s*\S*git-credentials-\S*\.config", re.IGNORECASE | re.MULTILINE)
_IN_URL = re.compile(r"^\s*url\s*=\s*https?://[^\s/@]*:[^\s/@]+@", re.IGNORECASE | re.MULTILINE)


def left_credentials(workspace: Path) -> str:
    """A warning when a checkout left a token where every process can read it; else empty.

    actions/checkout writes it into ``.git/config`` (an extra header), from version 6 on into a file beside, which
    ``.git/config`` includes.
    """
    try:
        config = (workspace / ".git/config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if not any(pattern.search(config) for pattern in (_EXTRA_HEADER, _INCLUDED, _IN_URL)):
        return ""
    return (
        "The checkout left its token in .git/config, where the code of a model could read it. "
        "Set `persist-credentials: false` for actions/checkout."
    )
