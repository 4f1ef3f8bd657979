"""A pod's files on the node: names, volumes, logs. Rule: they change while the pod runs, and it sees the change."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import BinaryIO

from local.credentials import PodIdentity
from local.environment import Missing, PodFacts
from local.folders import rewrite_file, write_volume
from local.host import Host
from local.launch import Mount
from local.podspec import Container, TokenSource
from local.volumes import owner, volume_files
from local.workloads import PodPlan

RENEW_AT = 0.8
"""The part of a token's life after which it is renewed, as the kubelet does."""


class PodFolder:
    """The files of one pod. `uid` tells it from another pod of the same name, before or after it."""

    def __init__(self, plan: PodPlan, uid: str, host: Host) -> None:
        self._plan = plan
        self._uid = uid
        self._host = host
        self._sources_changed = asyncio.Event()
        self._renew_in: float | None = None
        self._folder = host.settings.state / "pods" / uid
        self._logs = host.settings.state / "logs" / f"{plan.key.namespace}_{plan.key.name}"
        for folder in (self._folder / "scratch", self._folder / "volumes", self._logs):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def scratch(self) -> Path:
        """An empty folder in which containers prepare their own view."""
        return self._folder / "scratch"

    def write_names(self, hosts: str) -> None:
        """Give the pod these names."""
        domain = self._host.settings.cluster_domain
        # Nobody listens there, so a name that the hosts file lacks is unknown at once.
        resolver = f"nameserver {self._host.address}\noptions timeout:1 attempts:1\n"
        searched = f"search {self._plan.key.namespace}.svc.{domain} svc.{domain} {domain}\n"
        rewrite_file(self._folder / "hosts", hosts.encode())
        rewrite_file(self._folder / "resolv.conf", (resolver + searched).encode())

    async def write_volumes(self, facts: PodFacts) -> None:
        """Make the volumes hold what they should now. Raises Missing."""
        spec = self._plan.pod.spec
        tokens = {source: await self._token(source) for volume in spec.volumes for source in volume.tokens}
        lifetimes: list[int] = []
        for volume in spec.volumes:
            folder = self._folder / "volumes" / volume.name
            wanted = volume_files(volume, facts, tokens.__getitem__)
            lifetimes += [] if wanted.lifetime is None else [wanted.lifetime]
            if volume.empty_dir is None:
                write_volume(folder, wanted, owner(spec, volume.name) if self._host.many_users else None)
            elif not folder.exists():
                folder.mkdir()
                folder.chmod(0o1777)
        self._renew_in = min(lifetimes) * RENEW_AT if lifetimes else None

    def sources_changed(self) -> None:
        """ConfigMaps or Secrets are not what they were."""
        self._sources_changed.set()

    async def due(self) -> None:
        """Wait until the volumes are to be written again: a source has changed, or a token is to be renewed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._renew_in):
                await self._sources_changed.wait()
        self._sources_changed.clear()

    def mounts(self, container: Container) -> list[Mount]:
        """What a container sees where. Raises Missing for a volume that the pod does not have."""
        mounts = [Mount(self._folder / "hosts", "/etc/hosts"), Mount(self._folder / "resolv.conf", "/etc/resolv.conf")]
        mounts += [Mount(source, str(target)) for source, target in self._host.reopened.items()]
        for mount in container.volume_mounts:
            source = self._folder / "volumes" / mount.name / mount.sub_path
            if not source.exists():
                raise Missing(f"container {container.name} mounts {mount.name}/{mount.sub_path}, which does not exist")
            mounts.append(Mount(source, mount.mount_path))
        return mounts

    def log(self, container: Container) -> BinaryIO:
        """The file that takes what a container prints."""
        return self.log_path(container).open("ab")

    def log_path(self, container: Container) -> Path:
        """Where what a container prints is found."""
        return self._logs / f"{container.name}.log"

    def remove(self) -> None:
        """The pod is gone; its logs stay."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _token(self, source: TokenSource) -> str:
        plan = self._plan
        pod = PodIdentity(plan.key, self._uid, plan.pod.spec.service_account_name)
        return await self._host.credentials.token(pod, source.audience, source.expiration_seconds)
