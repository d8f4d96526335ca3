"""Inside a worker: give up what a model has no business with, run one step, answer in JSON."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import resource
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from pydantic import BaseModel, ConfigDict

from exporter.pipeline.prctl import die_with_parent, forbid_new_privileges
from exporter.results import ExportError, Problem

__all__ = ["PROBLEM", "REPLY", "Assignment", "Sandbox", "disk_full_problem", "is_full", "work"]

REPLY = b"reply\n"
"""Start of an answer: what follows is the step's reply as JSON."""

PROBLEM = b"problem\n"
"""Start of an answer: what follows is a `Problem` as JSON."""

_FULL_BELOW = 1 << 20
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "std::bad_alloc")


@dataclass(frozen=True)
class Sandbox:
    """Who a worker is, when the run is root: a user without rights. It needs no entry in the user database.

    Attributes:
        uid: User id. Must be able to enter the output directory and to read the checkpoints.
        gid: Group id; there are no supplementary groups.
    """

    uid: int
    gid: int


class Assignment(BaseModel):
    """One step for one worker, written by the run.

    Attributes:
        step: ``package.module:function`` of a function from one record to another.
        request: The function's argument, as JSON.
        scratch: Working directory and place for temporary files, removed afterwards.
        directory: Folder that the step fills; the same as `scratch` when it fills none.
        needed_bytes: What the step will about write; 0 when unknown.
        uid: User and group (`gid`) to become; None to stay who we are.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    request: str
    scratch: str
    directory: str
    needed_bytes: int = 0
    uid: int | None = None
    gid: int | None = None


def work(keeper: int, request: int, result: int, log: int) -> NoReturn:
    """Do the assignment found in file `request`, write the answer to pipe `result`, end the process.

    Args:
        keeper: Process id of the parent, with which this process dies.
        request: File descriptor of the assignment as JSON.
        result: File descriptor for the answer.
        log: File descriptor that becomes stdout and stderr.
    """
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    with open(request, "rb") as file:
        assignment = Assignment.model_validate_json(file.read())
    os.close(log)
    os.set_inheritable(result, False)
    answer = _prepared(keeper, assignment) or _answer(assignment)
    view = memoryview(answer)
    while view:
        view = view[os.write(result, view) :]
    # Not sys.exit: what libraries tear down at exit may crash, and the answer is given.
    os._exit(0)


def _prepared(keeper: int, assignment: Assignment) -> bytes | None:
    """Drop rights and settle in; the answer when that is not possible, else None."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # When memory runs out all the same, the kernel shall take the worker and not the run.
    with contextlib.suppress(OSError):  # a second line of defence; some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text("1000")
    if assignment.uid is not None and assignment.gid is not None:
        os.setgroups([])
        os.setresgid(assignment.gid, assignment.gid, assignment.gid)
        os.setresuid(assignment.uid, assignment.uid, assignment.uid)
    forbid_new_privileges()
    die_with_parent(keeper, signal.SIGKILL)
    os.umask(0o022)
    try:
        os.chdir(assignment.scratch)
    except PermissionError:
        return _problem_bytes(_closed_problem(assignment.scratch))
    os.environ["TMPDIR"] = assignment.scratch
    tempfile.tempdir = None
    return None


def _answer(assignment: Assignment) -> bytes:
    try:
        step, request_type = _resolve(assignment.step)
        reply = step(request_type.model_validate_json(assignment.request))
        return REPLY + reply.model_dump_json().encode()
    except BaseException as error:
        # A user's mistake needs no traceback, not even in the log: its cause has one where there was another error.
        if not (isinstance(error, ExportError) and error.__cause__ is None):
            traceback.print_exc()
        return _problem_bytes(_problem(error, assignment))


def _resolve(name: str) -> tuple[Callable[[Any], BaseModel], type[BaseModel]]:
    """The function called `name` and the record that its first parameter is annotated with."""
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    hints = get_type_hints(function)
    return function, hints[next(iter(hints))]


def _problem(error: BaseException, assignment: Assignment) -> Problem:
    chain = list(_chain(error))
    full = next((cause for cause in chain if _says_disk_full(cause)), None)
    unexpected = not all(isinstance(cause, ExportError) for cause in chain)
    directory = Path(assignment.directory)
    if full is not None or (unexpected and is_full(directory)):
        named = getattr(full, "filename", None)
        path = Path(os.fsdecode(named)) if named else _last_written(directory)
        return disk_full_problem(path, directory, assignment.needed_bytes)
    if isinstance(error, ExportError):
        return error.problem
    closed = _closed_path(chain) if assignment.uid is not None else None
    if closed is not None:
        return _closed_problem(closed)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if any(_says_out_of_memory(cause) for cause in chain):
        return Problem(
            kind="out-of-memory",
            message=f"There was not enough memory: {what}",
            hint="Use a machine with more memory, fewer jobs at once, or a smaller model.",
        )
    if isinstance(error, SystemExit):
        return Problem(kind="worker-exit", message=f"The model's code ended the process: {what}.")
    return Problem(kind="worker-exception", message=what)


def _closed_path(chain: list[BaseException]) -> str | None:
    """What the unprivileged user was refused, if that is what went wrong."""
    # What is imported so far hides that the rest of Python's library can't be; the errors that follow are odd ones.
    closed = next((path for path in (os.__file__, __file__) if not os.access(path, os.R_OK)), None)
    refused = (error.filename for error in chain if isinstance(error, PermissionError) and error.filename)
    return closed or next((os.fsdecode(path) for path in refused if not isinstance(path, int)), None)


def _closed_problem(path: str) -> Problem:
    return Problem(
        kind="sandbox",
        message=f"The unprivileged user {os.getuid()} that runs model code may not use {path}.",
        hint="Let others read it, and enter (mode +x) every folder on the way to it.",
    )


def _problem_bytes(problem: Problem) -> bytes:
    # Names of files may hold bytes that are no text, and JSON has no place for them.
    message = problem.message.encode("utf-8", "backslashreplace").decode()
    return PROBLEM + problem.model_copy(update={"message": message}).model_dump_json().encode()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _says_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error)  # how a library in another language says it


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY_WORDS)


def is_full(directory: Path) -> bool:
    """Whether the file system of `directory` has no room left worth the name (1 MiB)."""
    return _free_bytes(directory) < _FULL_BELOW


def disk_full_problem(path: Path, directory: Path, needed_bytes: int) -> Problem:
    """The problem that says what could not be written, how much is free, and how much it takes.

    Args:
        path: What was being written.
        directory: A folder on the file system that is full.
        needed_bytes: What the step writes in all; 0 when unknown.
    """
    free = f"{_free_bytes(directory) / 1e6:,.1f} MB are free there"
    need = f", about {needed_bytes / 1e6:,.1f} MB are needed" if needed_bytes else ""
    return Problem(
        kind="disk-full",
        message=f"No space left on the disk while writing {path}: {free}{need}.",
        hint="Free space, choose an output directory on a larger disk, or convert fewer models in one run.",
    )


def _last_written(directory: Path) -> Path:
    """The file below `directory` that was written last: a write that fails does not say to which file."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=directory)


def _free_bytes(directory: Path) -> int:
    facts = os.statvfs(directory)
    blocks = facts.f_bfree if os.geteuid() == 0 else facts.f_bavail
    return blocks * facts.f_frsize
