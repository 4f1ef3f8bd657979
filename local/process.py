"""Processes of the node beside the pods: the control plane, and the duties of an init."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local.container import STEADY, pauses
from local.settings import Event

PATIENCE = 2.0
"""Seconds a process gets to end when it is asked to."""


async def keep_running(command: Sequence[str], log: Path, name: str, tell: Callable[[Event, int], None]) -> None:
    """Run a command for ever: started again when it ends, sooner at first, ended when this is cancelled.

    `tell` hears of each start and end, with the process's number.
    """
    waits = pauses()
    while True:
        began = time.monotonic()
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        tell(Event(name, "started"), process.pid)
        try:
            code = await process.wait()
        finally:
            await _ended_within(process, PATIENCE)
        tell(Event(name, "exited", f"exit code {code}, see {log}"), process.pid)
        waits = pauses() if time.monotonic() - began > STEADY else waits
        await asyncio.sleep(next(waits))


async def answers(host: str, port: int, within: float) -> bool:
    """Wait until somebody listens there; no if nobody does in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return True
                await asyncio.sleep(0.02)
    return False


async def _ended_within(process: asyncio.subprocess.Process, seconds: float) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()


async def reap_orphans() -> None:
    """Wait for processes whose parents are gone, as an init has to; those of our own are waited for elsewhere."""
    seen: int | None = None
    while True:
        await asyncio.sleep(1)
        pid = _ended()
        if pid is not None and pid == seen:
            # Nobody has waited for it since the last look, so it is an orphan.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG never waits
            pid = None
        seen = pid


def many_users() -> bool:
    """Whether more than one user exists in this user namespace (user_namespaces(7): uid_map)."""
    return sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()) > 1


def _ended() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None
