"""Manifests to what Envoy is sent, by the way that `weft translate` goes: read, planned, understood, translated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kube.problem import Problem
from local.plan import planned
from mesh.build import Builder
from mesh.model import Mesh
from mesh.settings import MeshSettings
from smi.resources import Resources
from sources.folder import FolderSource
from xds.names import pod_id
from xds.snapshot import Snapshot, World
from xds.translate.world import TranslateSettings, Translator


@dataclass(frozen=True)
class Understood:
    """What manifests came to at every stage."""

    resources: Resources
    mesh: Mesh
    world: World

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the manifests, each by itself and all together."""
        return (*self.resources.problems, *self.mesh.problems)

    def snapshot(self, proxy: str) -> Snapshot:
        """What the sidecar of a pod, written `namespace/name`, is sent."""
        pod = pod_id(proxy)
        assert pod is not None
        return self.world.roles[self.world.proxies[pod]]


def understood(paths: Sequence[Path], bundle: str = "the trust bundle") -> Understood:
    """All stages from nothing."""
    resources = planned(FolderSource(paths).read())
    mesh = Builder(MeshSettings()).build(resources)
    return Understood(resources, mesh, Translator(TranslateSettings()).translate(mesh, bundle))
