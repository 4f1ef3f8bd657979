"""A control plane in a cluster: how long from nothing to ready, and what a storm of status writes costs it.

Rule: the API server, the control plane and this process are three processes on one machine; only the control plane's
costs are reported. The API server is that of the tests: the fake, or real binaries (KUBEBUILDER_ASSETS).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.cluster_world import AT_ONCE, NAMESPACE, ClusterSize, beat, fill, paced, pod, running
from kube.client import Client, ClientSettings

if TYPE_CHECKING:
    from tests.fakes.server import FakeApiServer

ROOT: Final = Path(__file__).resolve().parent.parent
PODS: Final = ("", "pods")
SETTLE: Final = 3.0
"""Seconds before and after the storm in which nothing is written."""
LIMIT: Final = 120.0

Result = dict[str, Any]
Storm = partial[Coroutine[Any, Any, tuple[int, float]]]
"""Writes statuses, given a client, a size and `seconds`. How many it wrote, in how many seconds."""


class Plane:
    """The control plane in a process of its own; see bench.server for what it can be asked."""

    def __init__(self, kubeconfig: Path) -> None:
        self.started = time.monotonic()
        command = [sys.executable, "-P", "-m", "bench.server", "--kubernetes", str(kubeconfig)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    async def stats(self) -> dict[str, Any]:
        """Counters and costs so far."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("stats\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    async def ready(self) -> tuple[float, dict[str, Any]]:
        """Seconds from the start of the process until it serves, and what it cost."""
        while True:
            stats = await self.stats()
            if stats["ready"]:
                return time.monotonic() - self.started, stats
            if time.monotonic() - self.started > LIMIT:
                raise SystemExit(f"The control plane was not ready after {LIMIT:.0f} s.")
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)


def cluster(size: ClusterSize, rate: float, seconds: float) -> Result:
    """Fill an API server, start a control plane beside it, and write statuses that change nothing it reads."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from real_api_server import RealApiServer, assets  # noqa: PLC0415 - test support, which is no package
    from tests.fakes.server import FakeApiServer  # noqa: PLC0415

    binaries = assets()
    if binaries:
        with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder:
            real = RealApiServer.start(_without_controllers(binaries, Path(folder)))
            try:
                storm = partial(_by_patches, rate=rate)
                return asyncio.run(_measured(real.admin_kubeconfig, size, seconds, storm, None))
            finally:
                real.stop()
    fake = FakeApiServer.start(controllers=False)
    try:
        storm = partial(_by_storage, fake, rate=rate)
        return asyncio.run(_measured(fake.admin_kubeconfig, size, seconds, storm, fake))
    finally:
        fake.stop()


async def _measured(
    kubeconfig: Path, size: ClusterSize, seconds: float, storm: Storm, fake: FakeApiServer | None
) -> Result:
    from cluster_world import install  # noqa: PLC0415 - test support, which is no package

    client = await Client.open(ClientSettings(kubeconfig))
    await install(client)
    started = time.monotonic()
    await fill(client, size, 1 if fake else size.pods)
    if fake:
        await asyncio.to_thread(fake.call, partial(_copy_pods, fake, size))
    filled = time.monotonic() - started
    plane = Plane(kubeconfig)
    try:
        cold, first = await plane.ready()
        await asyncio.sleep(SETTLE)
        idle = await plane.stats()
        await asyncio.sleep(SETTLE)
        before = await plane.stats()
        written, took = await storm(client, size, seconds=seconds)
        after = await plane.stats()
    finally:
        plane.stop()
        await client.close()
    idle_share = (before["cpu_ms"] - idle["cpu_ms"]) / SETTLE / 1000
    spent = (after["cpu_ms"] - before["cpu_ms"]) / 1000
    return {
        "storm_by": storm.func.__name__.removeprefix("_by_"),
        "services": size.services,
        "pods": size.pods,
        "splits": size.splits,
        "load": round(os.getloadavg()[0], 2),
        "filled_s": round(filled, 1),
        "cold_start_s": round(cold, 2),
        "cold_start_cpu_s": round(first["cpu_ms"] / 1000, 2),
        "rss_ready_mb": round(first["rss_mb"], 1),
        "rss_after_storm_mb": round(after["rss_mb"], 1),
        "rss_most_mb": round(after["rss_most_mb"], 1),
        "problems": after["problems"],
        "idle_cpu_percent": round(100 * idle_share, 1),
        "storm_writes_per_s": round(written / took, 1),
        "storm_cpu_percent": round(100 * spent / took, 1),
        "storm_cpu_us_per_write": round(1e6 * (spent - idle_share * took) / written, 1),
        "storm_rounds": after["rounds"] - before["rounds"],
        "storm_pushes": after["pushes"] - before["pushes"],
    }


def _copy_pods(fake: FakeApiServer, size: ClusterSize) -> None:
    """All pods like the first, which was made by HTTP, straight into the fake's storage."""
    first = fake.api.store.get(PODS, (NAMESPACE, "p0"))
    assert first
    for number in range(1, size.pods):
        wanted = pod(size, number)
        metadata = {**first.object["metadata"], **wanted["metadata"], "uid": f"00000000-0000-0000-0000-{number:012d}"}
        spec = {**first.object["spec"], **wanted["spec"]}
        fake.api.store.create(PODS, {**first.object, "metadata": metadata, "spec": spec, **running(number)})


async def _by_storage(
    fake: FakeApiServer, _client: Client, size: ClusterSize, *, rate: float, seconds: float
) -> tuple[int, float]:
    """Put the writes into the fake's storage: its HTTP could not take so many. Watches carry them all the same."""

    async def write() -> tuple[int, float]:
        store, written, started = fake.api.store, 0, time.monotonic()
        async for number in paced(rate, seconds):
            stored = store.get(PODS, (NAMESPACE, f"p{number % size.pods}"))
            assert stored
            store.replace(PODS, {**stored.object, **running(number % size.pods, 1 + number)}, stored)
            written += 1
        return written, time.monotonic() - started

    return await asyncio.to_thread(fake.run, write())


async def _by_patches(client: Client, size: ClusterSize, *, rate: float, seconds: float) -> tuple[int, float]:
    """Write as kubelets do. How many were written, in how many seconds."""
    queue: deque[int] = deque()
    done = 0
    over = asyncio.Event()

    async def writer() -> None:
        nonlocal done
        while queue or not over.is_set():
            if not queue:
                await asyncio.sleep(0.002)
                continue
            number = queue.popleft()
            await beat(client, number % size.pods, 1 + number)
            done += 1

    started = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(writer())
        async for number in paced(rate, seconds):
            queue.append(number)
        queue.clear()
        over.set()
    return done, time.monotonic() - started


def _without_controllers(binaries: Path, folder: Path) -> Path:
    """The same binaries but for the controllers, which would be busy with pods that have no node."""
    for name in ("etcd", "kube-apiserver"):
        (folder / name).symlink_to(binaries / name)
    return folder
