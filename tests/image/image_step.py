"""A step that uses the image, from the checkout before it to the files after it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Step"]

SCRIPT = Path(__file__).parent.parent.parent / "scripts/run-like-the-runner"
# The user of a hosted runner; the group differs, so that a mix-up shows.
OWNER = (1001, 1002)
TIME_LIMIT = 240


@dataclass
class Step:
    """A job up to the step: a checkout, an event; afterwards what the step left."""

    image: str
    folder: Path
    api_url: str
    event: str = "push"
    payload: dict[str, Any] = field(default_factory=lambda: {"ref": "refs/heads/main"})
    environment: dict[str, str] = field(default_factory=lambda: {"HF_HUB_OFFLINE": "1"})
    log: str = ""

    def __post_init__(self) -> None:
        self.workspace.mkdir()

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def command(self, *arguments: str, entrypoint: str = "", **inputs: str) -> list[str]:
        """Command line that runs the step; inputs with ``_`` for ``-``."""
        if os.geteuid() == 0:
            for path in (self.workspace, *self.workspace.rglob("*")):
                os.chown(path, *OWNER)
        payload = self.folder / "payload.json"
        payload.write_text(json.dumps(self.payload))
        command = [sys.executable, str(SCRIPT), "--image", self.image]
        command += ["--temp", str(self.folder / "temp"), "--network", "host"]
        command += ["--event", self.event, "--payload", str(payload), "--entrypoint", entrypoint]
        command += ["--context", f"GITHUB_API_URL={self.api_url}"]
        for name, value in self.environment.items():
            command += ["--env", f"{name}={value}"]
        for name, value in {"token": "ghs_job", **inputs}.items():
            command += ["--with", f"{name.replace('_', '-')}={value}"]
        return [*command, str(self.workspace), "--", *arguments]

    def run(self, *arguments: str, entrypoint: str = "", **inputs: str) -> int:
        """Run the step to its end; the exit code. `log` is what the runner would show."""
        command = self.command(*arguments, entrypoint=entrypoint, **inputs)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIME_LIMIT)
        self.log = done.stdout
        return done.returncode

    def cancel(self, number: signal.Signals, after: str, **inputs: str) -> tuple[int, float]:
        """Run the step until its log says `after`, then send it a signal: exit code, and seconds it took to end."""
        started = subprocess.Popen(
            self.command(**inputs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        assert started.stdout is not None
        lines = []
        for line in started.stdout:
            lines.append(line)
            if after in line:
                break
        asked = time.monotonic()
        started.send_signal(number)
        rest, _ = started.communicate(timeout=TIME_LIMIT)
        self.log = "".join(lines) + rest
        return started.returncode, time.monotonic() - asked

    def manifest(self, *entries: str) -> None:
        lines = ["version: 1", "models:", *(f"  - {entry}" for entry in entries)]
        (self.workspace / "export.yml").write_text("\n".join(lines) + "\n")

    def written(self, name: str) -> str:
        """What the step wrote to the runner's file `output` or `summary`."""
        return (self.folder / "temp/_runner_file_commands" / name).read_text()

    @property
    def outputs(self) -> dict[str, str]:
        found = re.finditer(r"^(.+?)<<(\S+)\n(.*?)\n?^\2$", self.written("output"), re.MULTILINE | re.DOTALL)
        return {match[1]: match[3] for match in found}

    @property
    def owners(self) -> set[tuple[int, int]]:
        """Who owns what is in the workspace and in the home that later steps share."""
        places = (self.workspace, self.folder / "temp/_github_home")
        return {(path.lstat().st_uid, path.lstat().st_gid) for place in places for path in (place, *place.rglob("*"))}
