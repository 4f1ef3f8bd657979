"""One pod's life: sandbox, volumes, init containers in order, sidecars before apps, and the same way back.

Rule: one task owns all of a pod's tasks and processes; when it ends, nothing of the pod is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from kube.objects import Pod
from local.container import ContainerHooks, ContainerLife, Process, pauses
from local.endpoints import Member
from local.environment import Missing, PodFacts, command_line, environment
from local.executables import search_path
from local.history import ContainerReport, History, PodReport
from local.host import Host
from local.launch import RunningContainer, becoming, container_command, entering, mount_script, user
from local.plan import with_address
from local.podfolder import PodFolder
from local.podspec import Container
from local.sandbox import Sandbox, SandboxError, open_sandbox
from local.settings import Event
from local.workloads import PodPlan

T = TypeVar("T")

SIDECAR_GRACE = 0.2
"""Seconds a sidecar gets even when the apps have used up the grace period."""
RETRY = 1.0
"""Seconds until what waits for something looks again."""


class PodLife:
    """A pod that should run. Its state is read by the reconcile loop after each `changed`."""

    def __init__(self, plan: PodPlan, number: int, address: str, host: Host) -> None:
        self.plan = plan
        self.address = address
        self.stopping = False
        self.phase = "Pending"
        self.uid = plan.uid or f"{plan.key.namespace}.{plan.key.name}.{number}"
        self.folder = PodFolder(plan, self.uid, host)
        self._number = number
        self._host = host
        self._spec = plan.pod.spec
        self._stop = asyncio.Event()
        self._grace = float(self._spec.termination_grace_period_seconds)
        self._lives: dict[str, ContainerLife] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._history = History()
        self._waiting = ""
        self._sandbox: Sandbox | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._owned: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether every container that stays runs and is ready."""
        lives = [self._lives.get(container.name) for container in self._spec.lasting]
        return not self.stopping and all(life is not None and life.ready for life in lives)

    def stop(self, within: float | None = None) -> None:
        """Begin to end the pod; `within` bounds its own grace period, in seconds."""
        self.stopping = True
        self._grace = self._grace if within is None else min(self._grace, within)
        self._stop.set()
        self._host.changed()

    def as_object(self) -> Pod:
        """The pod as an API server would show it."""
        pod = with_address(msgspec.convert(self.plan.raw, Pod), self.address, self.phase)
        return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, uid=self.uid))

    def as_member(self) -> Member:
        """The pod as the endpoints controller sees it."""
        return Member(self.as_object(), self.ready, self.stopping, self._spec.hostname, self._spec.subdomain)

    def report(self) -> PodReport:
        """The pod for its status in an API server."""
        every = (*self._spec.init_containers, *self._spec.containers)
        containers = {container.name: self._report(container.name) for container in every}
        return PodReport(self.phase, self.address, self._sandbox is not None, self._waiting, containers)

    def describe(self) -> dict[str, Any]:
        """The pod for `node.json`: what `weft exec` and people need."""
        return {
            "address": self.address,
            "phase": self.phase,
            "ready": self.ready,
            "owner": str(self.plan.owner),
            "containers": {name: self._describe(life) for name, life in self._lives.items() if life.process},
        }

    async def run(self) -> None:
        """Live until stopped."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                living = self._own(self._live(), "life")
                await self._stop.wait()
                living.cancel()
                await self._end()
                for task in self._owned:
                    task.cancel()
        finally:
            if self._sandbox is not None:
                await self._sandbox.close()

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None  # noqa: S101 - only called while running
        task = self._tasks.create_task(work, name=f"{name} of pod {self.plan.key}")
        self._owned.append(task)
        return task

    async def _live(self) -> None:
        self._sandbox = await self._patiently(self._open)
        await self._patiently(self._write_volumes)
        self._own(self._follow(), "volumes")
        for container in self._spec.init_containers:
            if container.is_sidecar:
                await self._begin(container, "Always").started.wait()
            else:
                await self._complete(container)
        self.phase = "Running"
        lives = [self._begin(container, self._spec.restart_policy) for container in self._spec.containers]
        # With restartPolicy Never or OnFailure the pod ends by itself, and its sidecars after it.
        for life in lives:
            await life.finished.wait()
        self.phase = "Failed" if any(life.exit_code for life in lives) else "Succeeded"
        self._host.changed()
        await self._stop_sidecars(self._grace)

    async def _complete(self, container: Container) -> None:
        for pause in pauses():
            process = await self._start(container)
            self._tell(container, "started", "")
            code = await process.wait()
            self._history.ended(container.name, self._host.clock.now(), code)
            self._host.changed()
            if code == 0:
                return
            self._tell(container, "failed", f"exit code {code}, see {self.folder.log_path(container)}")
            await asyncio.sleep(pause)

    def _begin(self, container: Container, policy: str) -> ContainerLife:
        hooks = ContainerHooks(self._start, self._run_in, self._tell, self.address)
        life = self._lives[container.name] = ContainerLife(container, hooks, policy)
        self._own(life.run(), f"container {container.name}")
        return life

    async def _end(self) -> None:
        """Apps first, then the sidecars in reverse order, all within one grace period."""
        deadline = time.monotonic() + self._grace
        apps = [self._lives[container.name] for container in self._spec.containers if container.name in self._lives]
        await asyncio.gather(*(life.stop(self._grace) for life in apps))
        await self._stop_sidecars(deadline - time.monotonic())

    async def _stop_sidecars(self, grace: float) -> None:
        for container in reversed(self._spec.sidecars):
            if container.name in self._lives:
                await self._lives[container.name].stop(max(grace, SIDECAR_GRACE))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until what the pod needs is there."""
        told = ""
        while True:
            try:
                found = await attempt()
            except (Missing, SandboxError, OSError) as error:
                if str(error) != told:
                    self._waiting = told = str(error)
                    self._host.settings.observe(Event(f"Pod {self.plan.key}", "waiting", told))
                    self._host.changed()
            else:
                if told:
                    self._waiting = ""
                return found
            await asyncio.sleep(RETRY)

    async def _open(self) -> Sandbox:
        return await open_sandbox(self.plan.key.name, self._number, self.address, self._host.settings.pod_network)

    async def _write_volumes(self) -> None:
        await self.folder.write_volumes(self._facts())

    async def _follow(self) -> None:
        while True:
            await self.folder.due()
            await self._patiently(self._write_volumes)

    async def _start(self, container: Container) -> Process:
        process = await self._patiently(lambda: self._spawn(container))
        self._history.began(container.name, self._host.clock.now())
        return process

    async def _spawn(self, container: Container) -> Process:
        assert self._sandbox is not None  # noqa: S101 - containers start after the sandbox
        given = environment(container, self._facts())
        base = {"PATH": search_path(), "HOSTNAME": self.plan.key.name, "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 - the one folder everybody may write to
        self._environments[container.name] = {**base, **given}
        mounts = self.folder.mounts(container)
        working_folder = container.working_dir or str(self.plan.folder)
        # All this user's clusters keep their keys there.
        hidden = self._host.settings.state.parent
        script = mount_script(self.folder.scratch, mounts, working_folder, hidden)
        command = container_command(self._sandbox.pid, script, self._become(container), command_line(container, given))
        with self.folder.log(container) as log:
            return await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=asyncio.subprocess.STDOUT,
                env=self._environments[container.name], start_new_session=True,
            )  # fmt: skip

    async def _run_in(self, container: Container, command: tuple[str, ...]) -> int:
        running = self._running(self._lives[container.name])
        process = await asyncio.create_subprocess_exec(
            *entering(running), *command, env=running.environment, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _running(self, life: ContainerLife) -> RunningContainer:
        if life.process is None:
            raise OSError(f"container {life.container.name} is not running")
        given = self._environments[life.container.name]
        return RunningContainer(life.process.pid, self._become(life.container), given)

    def _become(self, container: Container) -> list[str]:
        many = self._host.many_users
        return becoming(user(self._spec, container, many_users=many), many_users=many)

    def _facts(self) -> PodFacts:
        host = self._host
        values = host.values("ConfigMap"), host.values("Secret")
        return PodFacts(self.plan.pod, self.address, host.address, *values, node_name=host.name)

    def _report(self, name: str) -> ContainerReport:
        life = self._lives.get(name)
        runs = self._history.of(name)
        if life is None:
            return ContainerReport(runs)
        return ContainerReport(runs, life.started.is_set(), life.ready)

    def _describe(self, life: ContainerLife) -> dict[str, Any]:
        return {
            "sidecar": life.container.is_sidecar,
            "ready": life.ready,
            "restarts": life.restarts,
            "log": str(self.folder.log_path(life.container)),
            "process": asdict(self._running(life)),
        }

    def _tell(self, container: Container, what: str, text: str) -> None:
        if what == "exited":
            text = f"{text}, see {self.folder.log_path(container)}"
            code = self._lives[container.name].exit_code
            self._history.ended(container.name, self._host.clock.now(), -1 if code is None else code)
        self._host.settings.observe(Event(f"Pod {self.plan.key} {container.name}", what, text))
        self._host.changed()
