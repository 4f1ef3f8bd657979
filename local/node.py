"""The node: one private set of namespaces (network, mounts, processes, and users where needed) with our init in it.

Rule: nothing outside is changed and nothing is pinned, so the kernel takes everything back when the node's init ends.
The init is killed when whoever started it goes, by SIGKILL too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

from local import state
from local.executables import executable, search_path
from local.process import many_users
from local.requirements import AS_ROOT, namespaces, unmet

STATE_VARIABLE = "WEFT_NODE_STATE"
LOOK_AGAIN = 0.1
"""Seconds between two looks at whether the node has ended, or was asked to end."""


class NodeError(Exception):
    """A node can't be started here; the text is a sentence that says how to mend it."""


def entered() -> Path | None:
    """The state folder of the node whose init this process is; None outside."""
    folder = os.environ.get(STATE_VARIABLE)
    return Path(folder) if folder and os.getpid() == 1 else None


def _nothing(folder: Path) -> AbstractContextManager[None]:
    del folder
    return nullcontext()


def enter(argv: Sequence[str], name: str, beside: Callable[[Path], AbstractContextManager[None]] = _nothing) -> int:
    """Run `argv` as the init of a new node until it ends; its exit code. Raises NodeError and state.StateError.

    Call it from the main thread. SIGINT, SIGTERM and SIGHUP that reach this process are passed on to the init.
    `beside` is given the cluster's folder, and what it makes lasts from before the node until after it.
    """
    way = namespaces()
    if way is None or any("envoy" not in missing.sentence for missing in unmet()):
        raise NodeError("; ".join(f"{missing.sentence}: {missing.hint}" for missing in unmet()))
    taken = state.claim(name)
    try:
        with beside(taken.folder):
            return _run(_command(way, argv), taken)
    finally:
        state.release(taken)


def single_user() -> bool:
    """Whether only one user will exist in a node that is entered now."""
    return namespaces() != AS_ROOT or not many_users()


def _command(way: Sequence[str], argv: Sequence[str]) -> list[str]:
    # setpriv ties unshare to this process, --kill-child (in `way`) ties the init to unshare.
    return [executable("setpriv"), "--pdeathsig", "KILL", executable("unshare"), *way, "--", *argv]


def _run(command: list[str], taken: state.Claim) -> int:
    environment = {**os.environ, STATE_VARIABLE: str(taken.folder), "PATH": search_path()}
    process = subprocess.Popen(command, env=environment, pass_fds=(taken.lock,))
    state.note_node(taken, process.pid)

    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        return _ended(process, asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(process: subprocess.Popen[bytes], asked: list[int]) -> int:
    """Wait for the end, and pass on what was asked as soon as it will be heard."""
    while True:
        try:
            return process.wait(LOOK_AGAIN)
        except subprocess.TimeoutExpired:
            asked[:] = [number for number in asked if not _told(process.pid, number)]


def _told(parent: int, number: int) -> bool:
    """Whether the init, or what has yet to become its parent, was sent a signal.

    A process 1 that does not handle a signal, as while it starts, never hears of it (pid_namespaces(7)).
    """
    children = _children(parent)
    if not all(_handles(child, number) for child in children):
        return False
    for pid in children or [parent]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return True


def _handles(pid: int, number: int) -> bool:
    """Whether a process catches a signal (proc_pid_status(5), SigCgt)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _children(pid: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and state.parent_of(entry) == str(pid)
    ]
