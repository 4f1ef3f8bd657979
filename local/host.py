"""What pods need of the cluster they run in, as one value that is made by `local.cluster` and passed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kube.clock import SYSTEM_CLOCK, Clock
from local.credentials import Credentials
from local.environment import Values
from local.settings import ClusterSettings
from local.visibility import Reopened


@dataclass(frozen=True, slots=True)
class Host:
    """The node and the cluster, to a pod.

    `values` are the ConfigMaps or Secrets of now, by kind; `changed` is called whenever
    a pod's state has changed. `name` is the node's.
    """

    settings: ClusterSettings
    many_users: bool
    reopened: Reopened
    credentials: Credentials
    values: Callable[[str], Values]
    changed: Callable[[], None]
    name: str = "weft"
    clock: Clock = SYSTEM_CLOCK

    @property
    def address(self) -> str:
        """The node's own address: the pods' gateway, where the control plane listens."""
        return str(self.settings.pod_network[1])
