"""The cluster: reads manifests, compares what runs with what should, and closes the gap, until it is stopped.

Rule: level-triggered. Every change, of a file or of a pod, wakes one loop that looks at the whole state anew; there
is no list of what a change may affect.
"""

from __future__ import annotations

import asyncio
import os

import msgspec

from kube.problem import Problem
from local.control_plane import ControlPlaneProcess
from local.credentials import MeshCredentials
from local.environment import Values
from local.folders import replace_file, write_objects
from local.host import Host
from local.injection import injector
from local.lives import Lives
from local.manifests import Manifests, read
from local.overlay import overlay
from local.pod import RETRY
from local.process import many_users, reap_orphans
from local.rollout import Running, next_step
from local.sandbox import open_bridge
from local.settings import ClusterSettings, Event
from local.state import CA, NODE, OBJECTS
from local.visibility import needed, reopen
from local.workloads import Wanted, wanted_pods
from sources.watch import Wake, watch

PATIENCE = 5.0
"""Seconds that pods wait for the control plane at most; then they start without."""


class Cluster:
    """One cluster. `run` once, inside a node (`local.node.enter`)."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._credentials = MeshCredentials(settings.state / CA, settings.trust_domain)
        self._inject = injector(settings, many_users=many_users())
        self._manifests = Manifests()
        self._wanted = Wanted()
        self._problems: tuple[Problem, ...] = ()
        self._changed = asyncio.Event()
        self._control_plane = ControlPlaneProcess(settings, self._changed.set)
        self._stopping = False
        self._told = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What can't run here, and why."""
        return self._problems

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end the pods. Raises SandboxError when the node can't be set up."""
        os.umask(0o022)
        (self._settings.state / OBJECTS).mkdir(exist_ok=True)
        await open_bridge(self._settings.pod_network)
        reopened = await reopen(needed(self._settings.paths), self._settings.state / "reopened") if many_users() else {}
        host = Host(self._settings, many_users(), reopened, self._credentials, self._values, self._changed.set)
        async with asyncio.TaskGroup() as tasks:
            lives = Lives(host, tasks)
            self._read(lives)
            owned = [
                tasks.create_task(reap_orphans(), name="orphans"),
                tasks.create_task(self._follow(lives), name="manifests"),
                tasks.create_task(self._reconcile(host, lives), name="reconcile"),
                tasks.create_task(self._control_plane.run(), name="control plane"),
            ]
            await stop.wait()
            self._stopping = True
            await lives.end()
            for task in owned:
                task.cancel()

    async def _follow(self, lives: Lives) -> None:
        wake = Wake()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch(self._settings.paths, wake))
            while True:
                await wake.wait(None)
                wake.clear()
                self._read(lives)

    def _read(self, lives: Lives) -> None:
        before, self._manifests = self._manifests, read(self._settings.paths, self._manifests)
        if self._manifests == before:
            return
        self._wanted = wanted_pods(self._manifests, self._inject, self._wanted)
        for pod in lives:
            pod.folder.sources_changed()
        self._changed.set()

    async def _reconcile(self, host: Host, lives: Lives) -> None:
        self._publish(lives)
        # Sidecars that find nobody would try again only after a while.
        await self._control_plane.answers(host.address, PATIENCE)
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if not self._stopping:
                    self._act(lives)
                self._publish(lives)
                self._told = ""
            except OSError as error:
                self._put_off(error)

    def _put_off(self, error: OSError) -> None:
        """What can't be written now, the disk being full say, is tried again; until then all goes on as it was."""
        if str(error) != self._told:
            self._told = str(error)
            self._settings.observe(Event("Cluster", "waiting", self._told))
        asyncio.get_running_loop().call_later(RETRY, self._changed.set)

    def _act(self, lives: Lives) -> None:
        running = [Running(pod.plan, pod.ready, pod.stopping) for pod in lives]
        step = next_step(self._wanted.pods, running)
        for key in step.stop:
            if pod := lives.get(key):
                pod.stop()
        for plan in step.start:
            lives.start(plan)

    def _publish(self, lives: Lives) -> None:
        """Tell the world: objects for the control plane, names for pods, and who runs where."""
        now = overlay(self._manifests.services(), [pod.as_member() for pod in lives], self._settings)
        for pod in lives:
            pod.folder.write_names(now.hosts(pod.as_object(), self._settings))
        write_objects(self._settings.state / OBJECTS, now.documents())
        self._report((*self._wanted.problems, *now.problems))
        described = {
            "pods": lives.describe(),
            "control_plane": self._control_plane.pid,
            "problems": [str(problem) for problem in self._problems],
        }
        replace_file(self._settings.state / NODE, msgspec.json.encode(described), 0o600)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            if problem not in self._problems:
                self._settings.observe(Event(str(problem.object), "problem", str(problem)))
        self._problems = problems

    def _values(self, kind: str) -> Values:
        """ConfigMaps or Secrets, and those ConfigMaps that every namespace has."""
        written = self._manifests.values(kind)
        if kind != "ConfigMap":
            return written
        given = self._credentials.config_maps()
        spaces = {plan.key.namespace for plan in self._wanted.pods}
        everywhere = {(space, name): {"data": dict(data)} for space in spaces for name, data in given.items()}
        return {**written, **everywhere}
