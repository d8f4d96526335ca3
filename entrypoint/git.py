"""What git knows about the checkout, asked through the program itself; nothing is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from exporter.results import ExportError

__all__ = ["Git", "GitError"]

_PATH = "/usr/local/bin:/usr/bin:/bin"
_SECONDS = 120
_FETCH_DEPTH = "Set `fetch-depth: 0` for actions/checkout, so that the history is there."

# Objects are read, no more: no hooks, no monitors, no network, no questions, and no configuration but the checkout's
# own and these. `safe.directory`, since the checkout belongs to the runner's user and we are root.
_OPTIONS = {
    "safe.directory": "*",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
    "gc.auto": "0",
}


class GitError(ExportError):
    """Something that git could not tell; the message says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("git", message, hint)


@dataclass(frozen=True)
class Git:
    """The checkout around a folder."""

    folder: Path

    def root(self) -> Path:
        """Top folder of the checkout, absolute.

        Raises:
            GitError: There is no checkout here.
        """
        return Path(self._text("rev-parse", "--show-toplevel")).resolve()

    def head(self) -> str:
        """The commit that is checked out."""
        return self._text("rev-parse", "--verify", "HEAD^{commit}")

    def merge_base(self, commit: str) -> str:
        """The last commit that both HEAD and `commit` contain.

        Raises:
            GitError: The clone is too shallow to know.
        """
        done = self._run("merge-base", commit, "HEAD")
        if done.returncode == 0:
            return done.stdout.decode().strip()
        if self._text("rev-parse", "--is-shallow-repository") == "true":
            raise GitError(
                f"This clone is shallow: where the pull request left its base ({commit[:7]}) is not in it.",
                _FETCH_DEPTH,
            )
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise GitError(
            f"HEAD and the base of the pull request ({commit[:7]}) have no commit in common"
            + (f": {said}." if said else "."),
            _FETCH_DEPTH,
        )

    def changed_since(self, commit: str) -> tuple[Path, ...]:
        """Files that differ between `commit` and HEAD, absolute. Commits are compared, not what is on disk."""
        listed = self._bytes("diff-tree", "-r", "-z", "--name-only", "--no-renames", commit, "HEAD")
        return self._absolute(listed)

    def untracked(self, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        """Files in some folders that git does not keep, absolute, ignored ones included."""
        if not folders:
            return ()
        return self._absolute(self._bytes("ls-files", "-z", "--others", "--full-name", "--", *map(str, folders)))

    def content(self, commit: str, path: Path) -> bytes | None:
        """A file as it was at `commit`; None when it was not there. `path` is absolute."""
        name = path.resolve().relative_to(self.root()).as_posix()
        if not self._bytes("ls-tree", "-z", "--full-tree", commit, "--", name):
            return None
        return self._bytes("cat-file", "blob", f"{commit}:{name}")

    def _absolute(self, listed: bytes) -> tuple[Path, ...]:
        root = self.root()
        return tuple(root / os.fsdecode(name) for name in listed.split(b"\0") if name)

    def _text(self, *arguments: str) -> str:
        return os.fsdecode(self._bytes(*arguments)).strip()

    def _bytes(self, *arguments: str) -> bytes:
        done = self._run(*arguments)
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise GitError(
                f"`git {arguments[0]}` failed in {self.folder.resolve()}: {said[:300] or 'it said nothing'}.",
                "`only-changed` needs a checkout with its history: use actions/checkout with `fetch-depth: 0`.",
            )
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        program = shutil.which("git", path=_PATH) or shutil.which("git")
        if program is None:
            raise GitError("There is no git here.", "Install it, or leave `only-changed` out.")
        try:
            return subprocess.run(  # noqa: S603 - a fixed program, no shell, and arguments that can't be options
                [program, "--literal-pathspecs", *arguments],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GitError(f"`git {arguments[0]}` gave no answer within {_SECONDS} s.") from None


def _environment() -> dict[str, str]:
    environment = {
        "PATH": _PATH,
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(_OPTIONS)),
    }
    for number, (name, value) in enumerate(_OPTIONS.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment
