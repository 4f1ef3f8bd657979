"""A container's life, with real processes of this machine in place of sandboxed ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

from local.container import ContainerHooks, ContainerLife, pauses
from local.podspec import Container, Exec, Handler, Lifecycle, Probe, Sleep


class Pod:
    """Starts containers as plain processes and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.changed = asyncio.Event()

    async def start(self, container: Container) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*container.command, start_new_session=True)

    async def run(self, container: Container, command: tuple[str, ...]) -> int:
        assert container.name == "app"
        process = await asyncio.create_subprocess_exec(*command)
        try:
            return await process.wait()
        finally:
            await process.wait()

    def tell(self, container: Container, what: str, text: str) -> None:
        assert container.name == "app"
        assert text == "" or " " in text
        self.told.append(what)
        self.changed.set()

    async def until(self, what: str, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.told.count(what) < count:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def living(pod: Pod, container: Container, policy: str = "Always") -> AsyncIterator[ContainerLife]:
    life = ContainerLife(container, ContainerHooks(pod.start, pod.run, pod.tell, "127.0.0.1"), policy)
    task = asyncio.create_task(life.run())
    try:
        yield life
    finally:
        await life.stop(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def shell(script: str, **fields: object) -> Container:
    return Container("app", command=("sh", "-c", script), **fields)  # type: ignore[arg-type]


def test_the_first_restart_is_immediate_and_later_ones_wait_longer() -> None:
    assert list(islice(pauses(), 9)) == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_container_that_ends_is_started_again() -> None:
    pod = Pod()
    async with living(pod, shell("exit 3")) as life:
        await pod.until("started", 2)
        assert life.restarts == 1
        assert life.exit_code == 3


async def test_restart_policy_never_and_on_failure() -> None:
    for policy, script, code in (("Never", "exit 3", 3), ("OnFailure", "exit 0", 0)):
        pod = Pod()
        async with living(pod, shell(script), policy) as life:
            await asyncio.wait_for(life.finished.wait(), 5)
            assert (life.exit_code, life.restarts) == (code, 0)


async def test_without_probes_a_running_container_is_ready() -> None:
    pod = Pod()
    async with living(pod, shell("sleep 100")) as life:
        await pod.until("ready")
        assert life.ready
        assert life.started.is_set()


async def test_readiness_follows_its_probe(tmp_path: Path) -> None:
    pod = Pod()
    flag = tmp_path / "ready"
    probe = Probe(exec=Exec(("test", "-e", str(flag))), period_seconds=1, failure_threshold=1)
    async with living(pod, shell("sleep 100", readiness_probe=probe)) as life:
        await asyncio.wait_for(life.started.wait(), 5)
        assert not life.ready
        flag.touch()
        await pod.until("ready")
        flag.unlink()
        await pod.until("not ready")


async def test_a_container_whose_startup_probe_never_succeeds_is_started_again() -> None:
    pod = Pod()
    probe = Probe(exec=Exec(("false",)), period_seconds=1, failure_threshold=1)
    async with living(pod, shell("sleep 100", startup_probe=probe)) as life:
        await pod.until("started", 2)
        assert pod.told[:3] == ["started", "restarting", "exited"]
        assert not life.started.is_set()


async def test_a_container_whose_liveness_probe_fails_is_started_again(tmp_path: Path) -> None:
    pod = Pod()
    flag = tmp_path / "alive"
    flag.touch()
    probe = Probe(exec=Exec(("test", "-e", str(flag))), period_seconds=1, failure_threshold=1)
    async with living(pod, shell("sleep 100", liveness_probe=probe)):
        await pod.until("ready")
        flag.unlink()
        await pod.until("started", 2)


async def test_stopping_runs_the_hook_then_asks_then_kills(tmp_path: Path) -> None:
    pod = Pod()
    log = tmp_path / "log"
    hook = Lifecycle(pre_stop=Handler(exec=Exec(("sh", "-c", f"echo hook >> {log}"))))
    script = f"trap 'echo asked >> {log}' TERM; echo up >> {log}; while true; do sleep 0.05; done"
    async with living(pod, shell(script, lifecycle=hook)) as life:
        while not log.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        process = life.process
        assert process is not None
        await life.stop(0.5)
        assert await process.wait() == -9
    assert log.read_text().split()[:3] == ["up", "hook", "asked"]


async def test_a_sleeping_hook_delays_the_end() -> None:
    pod = Pod()
    container = shell("sleep 100", lifecycle=Lifecycle(pre_stop=Handler(sleep=Sleep(1))))
    async with living(pod, container) as life:
        await pod.until("started")
        began = asyncio.get_running_loop().time()
        await life.stop(5)
        assert 1 <= asyncio.get_running_loop().time() - began < 3
