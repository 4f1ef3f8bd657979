"""What the control plane says of itself: the last round, its Problems, and whether it is ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kube.problem import Problem
from mesh.model import Mesh
from smi.resources import Resources
from sources.upstream import Upstream
from xds.snapshot import World


class Replica(Protocol):
    """What a replica in a cluster tells of itself."""

    def view(self) -> dict[str, Any]:
        """Its part in the cluster, as JSON values."""


@dataclass(slots=True)
class Status:
    """Written by the pipeline only, read by the admin API and the metrics.

    `failure` is our own mistake in the newest round, in words; the last good configuration is in force meanwhile.
    `upstream` is how it stands with the API server, `cluster` what this replica is among others; None where objects
    come from files.
    """

    rounds: int = 0
    failures: int = 0
    failure: str = ""
    stopping: bool = False
    upstream: Upstream | None = None
    cluster: Replica | None = None
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()
    resources: Resources = field(default_factory=Resources)
    """What `mesh` was made of."""
    mesh: Mesh = field(default_factory=Mesh)
    world: World = field(default_factory=World)

    @property
    def ready(self) -> bool:
        """Whether a configuration was ever published and it is not time to stop. Later failures don't change it."""
        return self.rounds > 0 and not self.stopping
