"""Where a local cluster keeps its files, and how others find it, look into its pods and end it.

Rule: the lock decides whether a cluster runs: the node holds it and the kernel gives it back, however the node ends.
A folder that is not this user's own is never used.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.executables import executable
from local.launch import RunningContainer, entering

NODE = "node.json"
"""Who runs where: what `pods` reads."""
OBJECTS = "objects"
"""The folder of the objects that the cluster adds to the manifests."""
CA = "ca"
"""The folder of the mesh's keys."""
CONTROL_SOCKET = "control.sock"
"""Where the control plane's admin API listens."""


class StateError(Exception):
    """What was asked of a cluster can't be done; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A cluster's folder, and the lock that says it runs; both belong to the caller until the lock is closed."""

    folder: Path
    lock: int


def state_folder(name: str) -> Path:
    """Where the cluster of this name keeps its files. Raises StateError on a name that is no file name."""
    if not name or "/" in name or name.startswith("."):
        raise StateError(f"{name!r} is not a name for a cluster")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"weft-{os.getuid()}" / name  # noqa: S108 - see _private


def claim(name: str) -> Claim:
    """Take the name for a new cluster, with an empty folder. Raises StateError while one of that name runs."""
    folder = state_folder(name)
    _private(folder.parent)
    _sweep(folder.parent)
    lock = _lock(_lock_file(folder))
    if lock is None:
        raise StateError(
            f"a cluster named {name} is running already; end it with `weft down --name {name}`,"
            " or start this one beside it with another --name"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return Claim(folder, lock)


def note_node(taken: Claim, pid: int) -> None:
    """Write down the process whose child is the node's init."""
    os.ftruncate(taken.lock, 0)
    os.pwrite(taken.lock, str(pid).encode(), 0)


def release(taken: Claim) -> None:
    """Remove the folder of a cluster that has ended."""
    shutil.rmtree(taken.folder, ignore_errors=True)
    _lock_file(taken.folder).unlink(missing_ok=True)
    os.close(taken.lock)


def running(name: str) -> bool:
    """Whether a cluster of this name runs."""
    try:
        lock = os.open(_lock_file(state_folder(name)), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _locked(lock)
    finally:
        os.close(lock)


def control_socket(name: str) -> Path | None:
    """The admin API's socket of a running cluster, else None."""
    return state_folder(name) / CONTROL_SOCKET if running(name) else None


def pods(name: str) -> dict[str, dict[str, Any]]:
    """The pods of a running cluster by `namespace/name`: address, phase, ready, containers. Raises StateError."""
    found: dict[str, dict[str, Any]] = _node(name)["pods"]
    return found


def problems(name: str) -> list[str]:
    """What can't run in a running cluster, and why, in sentences. Raises StateError."""
    found: list[str] = _node(name)["problems"]
    return found


def control_plane_pid(name: str) -> int | None:
    """The control plane's process as this side of the namespaces numbers it, None between two of them."""
    inside = _node(name)["control_plane"]
    space = Path(f"/proc/{_init(name)}/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inside is not None and _numbered(entry, space, inside):
            return int(entry.name)
    return None


def command_in_pod(name: str, pod: str, argv: list[str], container: str = "") -> tuple[list[str], dict[str, str]]:
    """The command and environment that run `argv` in a pod, as the user of one of its containers.

    `pod` is `namespace/name`, a prefix of the name is enough when it fits one; `container` is the first app container
    unless it is named. Raises StateError.
    """
    found = _running_container(name, pod, container)
    node = _init(name)
    own_user = Path(f"/proc/{node}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
    user = ["--user", "--preserve-credentials"] if own_user else []
    outer = [executable("nsenter"), "--target", str(node), *user, "--mount", "--net", "--pid", "--"]
    return [*outer, *entering(found), *argv], found.environment


def exec_in_pod(name: str, pod: str, argv: list[str], container: str = "") -> int:
    """Run a command in a pod on this terminal; its exit code. Raises StateError."""
    command, environment = command_in_pod(name, pod, argv, container)
    # Ctrl-C is for the command, which gets it from the terminal itself.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(command, env=environment, check=False, preexec_fn=_interruptible).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def down(name: str, patience: float = 10.0) -> None:
    """End a cluster and remove its files; `patience` seconds until it is killed. Raises StateError if none runs."""
    _require(name)
    _end(name, signal.SIGTERM, patience)
    if running(name):
        _end(name, signal.SIGKILL, patience)
    _sweep(state_folder(name).parent)


def _end(name: str, number: signal.Signals, patience: float) -> None:
    try:
        os.kill(_init(name), number)
    except (StateError, ProcessLookupError):
        return
    deadline = time.monotonic() + patience
    while running(name) and time.monotonic() < deadline:
        time.sleep(0.02)


def _running_container(name: str, pod: str, container: str) -> RunningContainer:
    known = pods(name)
    matching = [pod] if pod in known else [key for key in known if key.startswith(pod)]
    if len(matching) != 1:
        raise StateError(f"{pod} names {'no' if not matching else 'more than one'} pod; there are: {', '.join(known)}")
    containers = known[matching[0]]["containers"]
    chosen = container or next((key for key, value in containers.items() if not value["sidecar"]), "")
    if chosen not in containers:
        raise StateError(
            f"no container {chosen or container!r} runs in {matching[0]}; there are: {', '.join(containers)}"
        )
    return RunningContainer(**containers[chosen]["process"])


def _node(name: str) -> dict[str, Any]:
    _require(name)
    try:
        found: dict[str, Any] = json.loads((state_folder(name) / NODE).read_text())
    except FileNotFoundError:
        return {"pods": {}, "control_plane": None, "problems": []}
    return found


def _numbered(process: Path, space: Path, number: int) -> bool:
    """Whether a process has this number in a process namespace (proc(5): NSpid lists it from outside to inside)."""
    try:
        numbers = re.search(r"^NSpid:(.*)$", (process / "status").read_text(), re.MULTILINE)
        return (
            (process / "ns/pid").readlink() == space and numbers is not None and int(numbers[1].split()[-1]) == number
        )
    except OSError:
        return False


def _require(name: str) -> None:
    if not running(name):
        raise StateError(f"no cluster named {name} is running; start one with `weft up PATH`")


def _init(name: str) -> int:
    """The node's init as this side of the namespaces numbers it: the child of the process in the lock file."""
    parent = _lock_file(state_folder(name)).read_text()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and parent_of(entry) == parent:
            return int(entry.name)
    raise StateError(f"the cluster {name} is ending")


def parent_of(process: Path) -> str:
    """The parent of a process, given its folder in /proc; empty when it is gone (proc(5), stat)."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return ""


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _lock(path: Path) -> int | None:
    """The lock of a cluster, None while another has it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(lock):
            os.close(lock)
            return None
        # Whoever had it before may have removed the file meanwhile: then this lock says nothing to others.
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove what clusters left that were killed."""
    for path in folder.glob("*.lock"):
        lock = _lock(path)
        if lock is not None:
            release(Claim(path.with_suffix(""), lock))


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StateError(f"{folder} is not a folder of this user alone; remove it, or set XDG_RUNTIME_DIR")
