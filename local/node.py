"""The node: one private set of namespaces (network, mounts, processes, and users where needed) with our init in it.

Rule: nothing outside is changed and nothing is pinned, so the kernel takes everything back when the node's init ends.
The init is killed when whoever started it goes, by SIGKILL too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from local import state
from local.executables import executable, search_path
from local.requirements import namespaces, unmet

STATE_VARIABLE = "WEFT_NODE_STATE"
AGAIN = 0.25
"""Seconds between two looks at whether the node has ended."""


class NodeError(Exception):
    """A node can't be started here; the text is a sentence that says how to mend it."""


def entered() -> Path | None:
    """The state folder of the node whose init this process is; None outside."""
    folder = os.environ.get(STATE_VARIABLE)
    return Path(folder) if folder and os.getpid() == 1 else None


def enter(argv: Sequence[str], name: str) -> int:
    """Run `argv` as the init of a new node until it ends; its exit code. Raises NodeError and state.StateError.

    Call it from the main thread. SIGINT, SIGTERM and SIGHUP that reach this process are passed on to the init.
    """
    way = namespaces()
    if way is None or any("envoy" not in missing.sentence for missing in unmet()):
        raise NodeError("; ".join(f"{missing.sentence}: {missing.hint}" for missing in unmet()))
    taken = state.claim(name)
    try:
        return _run(_command(way, argv), taken)
    finally:
        state.release(taken)


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
        _signal_init(process, number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        return _ended(process, asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(process: subprocess.Popen[bytes], asked: Sequence[int]) -> int:
    """Wait for the end. What was asked is said again until then: a process 1 that still starts ignores signals."""
    while True:
        try:
            return process.wait(AGAIN)
        except subprocess.TimeoutExpired:
            if asked:
                _signal_init(process, asked[-1])


def _signal_init(process: subprocess.Popen[bytes], number: int) -> None:
    """To the init, or to what is about to become its parent."""
    for pid in _children(process.pid) or [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and state.parent_of(entry) == str(pid)
    ]
