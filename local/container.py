"""One container's life: started, probed, started again when it ends, stopped when its pod goes.

Rule: as the kubelet does it (restartPolicy, probes, preStop, grace), with a shorter back-off: the first restart is
immediate, then 0.5 s doubling up to 30 s, forgotten after a minute of running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from local.podspec import Container, Probe
from local.probes import Asker, RunCommand, first_success, watch

Process = asyncio.subprocess.Process
LONGEST_PAUSE = 30.0
STEADY = 60.0
LIVENESS_GRACE = 10.0
LONGEST_HOOK = 3600
"""Seconds; a preStop request is bounded by the pod's grace period, not by a time of its own."""


def pauses() -> Iterator[float]:
    """Seconds before each restart."""
    yield 0.0
    pause = 0.5
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class ContainerHooks:
    """What a container needs of its pod: how to start it, how to run a command in it, whom to tell of changes."""

    start: Callable[[Container], Awaitable[Process]]
    run: Callable[[Container, tuple[str, ...]], Awaitable[int]]
    tell: Callable[[Container, str, str], None]
    address: str


class ContainerLife:
    """A container that stays.

    `started`, `ready` and `process` say how it is now, `finished` that it will not start again.
    """

    def __init__(self, container: Container, hooks: ContainerHooks, restart_policy: str) -> None:
        self.container = container
        self.process: Process | None = None
        self.started = asyncio.Event()
        self.finished = asyncio.Event()
        self.ready = False
        self.restarts = 0
        self.exit_code: int | None = None
        self._hooks = hooks
        self._policy = restart_policy
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        run: RunCommand = self._run
        self._asker = Asker(container, hooks.address, run)

    async def run(self) -> None:
        """Keep the container running until it may end or is stopped."""
        waits = pauses()
        while not self._stopping:
            began = time.monotonic()
            code = await self._once()
            if self._stopping or not self._again(code):
                break
            waits = pauses() if time.monotonic() - began > STEADY else waits
            await asyncio.sleep(next(waits))
            self.restarts += 1
        self.finished.set()

    async def stop(self, grace: float) -> None:
        """End the container: preStop, SIGTERM, and after `grace` seconds SIGKILL, to all it started."""
        self._stopping = True
        process = self.process
        if process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._pre_stop()
                self._signal(signal.SIGTERM)
                await process.wait()
        self._signal(signal.SIGKILL)
        await self._idle.wait()

    async def _once(self) -> int:
        self.process = process = await self._hooks.start(self.container)
        self._idle.clear()
        self._hooks.tell(self.container, "started", "")
        probing = asyncio.create_task(self._probe(), name=f"probes of {self.container.name}")
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
            # What the container left behind in its process group ends with it.
            self._signal(signal.SIGKILL)
            self.process = None
            await process.wait()
        self.exit_code = code
        self.started.clear()
        self._set_ready(False)
        self._hooks.tell(self.container, "exited", f"exit code {code}")
        self._idle.set()
        return code

    async def _probe(self) -> None:
        container = self.container
        if container.startup_probe is not None and not await first_success(container.startup_probe, self._asker):
            await self._fail("its startup probe did not succeed in time")
            return
        self.started.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._readiness(container.readiness_probe))
            if container.liveness_probe is not None:
                tasks.create_task(self._liveness(container.liveness_probe))

    async def _readiness(self, probe: Probe | None) -> None:
        if probe is None:
            self._set_ready(True)
            return
        while not await first_success(probe, self._asker):
            self._hooks.tell(self.container, "not ready", "its readiness probe has not succeeded yet")
        self._set_ready(True)
        await watch(probe, self._asker, self._set_ready, yes=True)

    async def _liveness(self, probe: Probe) -> None:
        failed = asyncio.Event()
        await asyncio.sleep(probe.initial_delay_seconds)

        def tell(yes: bool) -> None:
            if not yes:
                failed.set()

        watching = asyncio.create_task(watch(probe, self._asker, tell, yes=True))
        try:
            await failed.wait()
        finally:
            watching.cancel()
        await self._fail("its liveness probe failed")

    async def _fail(self, why: str) -> None:
        self._hooks.tell(self.container, "restarting", why)
        self._signal(signal.SIGTERM)
        await asyncio.sleep(LIVENESS_GRACE)
        self._signal(signal.SIGKILL)

    async def _pre_stop(self) -> None:
        hook = self.container.lifecycle.pre_stop
        if hook is None:
            return
        if hook.sleep is not None:
            await asyncio.sleep(hook.sleep.seconds)
        elif hook.exec is not None:
            await self._run(hook.exec.command)
        elif hook.http_get is not None:
            await self._asker.ask(Probe(http_get=hook.http_get, timeout_seconds=LONGEST_HOOK))

    async def _run(self, command: tuple[str, ...]) -> int:
        return await self._hooks.run(self.container, command)

    def _again(self, code: int) -> bool:
        return self._policy == "Always" or (self._policy == "OnFailure" and code != 0)

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._hooks.tell(self.container, "ready" if ready else "not ready", "")

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
