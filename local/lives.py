"""The pods that run on this node: begun, lived, ended.

Rule: a name is used once at a time, and a failure of ours in a pod is caught here and nowhere else: whoever wants the
pod makes it anew, the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from local.addresses import PodAddresses
from local.host import Host
from local.pod import PodLife
from local.settings import Event
from local.workloads import PodKey, PodPlan


class Lives:
    """Pods by name, for as long as `tasks` lasts."""

    def __init__(self, host: Host, tasks: asyncio.TaskGroup) -> None:
        self._host = host
        self._tasks = tasks
        self._addresses = PodAddresses(host.settings.pod_network)
        self._pods: dict[PodKey, tuple[PodLife, asyncio.Task[None]]] = {}
        self._started = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __iter__(self) -> Iterator[PodLife]:
        return iter([pod for pod, _ in self._pods.values()])

    def get(self, key: PodKey) -> PodLife | None:
        """The pod of this name."""
        found = self._pods.get(key)
        return found[0] if found else None

    def start(self, plan: PodPlan) -> PodLife:
        """Begin a pod, whose name must be free."""
        self._started += 1
        pod = PodLife(plan, self._started, self._addresses.take(plan.key), self._host)
        self._empty.clear()
        task = self._tasks.create_task(self._live(pod), name=f"pod {plan.key}")
        task.add_done_callback(lambda _: self._gone(pod))
        self._pods[plan.key] = pod, task
        return pod

    def kill(self, key: PodKey) -> None:
        """End a pod at once, without a word to its containers."""
        if found := self._pods.get(key):
            found[0].stopping = True
            found[1].cancel()

    async def end(self) -> None:
        """Stop all pods, as gently as `stop_within` allows."""
        within = self._host.settings.stop_within
        for pod in self:
            pod.stop(within)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within + 1):
                await self._empty.wait()

    def describe(self) -> dict[str, Any]:
        """All pods for `node.json`."""
        return {str(key): self._pods[key][0].describe() for key in sorted(self._pods)}

    async def _live(self, pod: PodLife) -> None:
        try:
            await pod.run()
        except Exception as error:
            self._host.settings.observe(Event(f"Pod {pod.plan.key}", "failed", f"{type(error).__name__}: {error}"))
            await asyncio.sleep(1)

    def _gone(self, pod: PodLife) -> None:
        key = pod.plan.key
        del self._pods[key]
        pod.folder.remove()
        self._addresses.give_back(key)
        if not self._pods:
            self._empty.set()
        self._host.settings.observe(Event(f"Pod {key}", "gone"))
        self._host.changed()
