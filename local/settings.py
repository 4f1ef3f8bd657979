"""What can be set about a local cluster, with the defaults people meet first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from local.workloads import Inject

POD_NETWORK = "10.244.0.0/16"
"""Where pods get their addresses; the first is the node's own."""
SERVICE_NETWORK = "10.96.0.0/16"
"""Where Services get their ClusterIPs, which exist only inside the sidecars."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may want to see happen.

    `subject` is what it is about (`Pod default/web-0`), `what` a word (`started`, `ready`, `exited`, …), `text` a
    sentence or empty.
    """

    subject: str
    what: str
    text: str = ""


def silent(event: Event) -> None:
    """Tell nobody."""
    del event


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Settings of one local cluster.

    `state` is the node's folder (`local.node.entered`). `control_plane` is the command that runs beside the pods and is
    started again when it ends; empty for none. `inject` makes of a pod what shall run; where it is None, the mesh's own
    injector. `observe` is told each Event. `stop_within` bounds, in seconds, how long pods may take to
    end with the cluster.
    """

    state: Path
    paths: tuple[Path, ...]
    name: str = "weft"
    control_plane: tuple[str, ...] = ()
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    inject: Inject | None = None
    pod_network: IPv4Network = field(default_factory=lambda: IPv4Network(POD_NETWORK))
    service_network: IPv4Network = field(default_factory=lambda: IPv4Network(SERVICE_NETWORK))
    observe: Callable[[Event], Any] = silent
    stop_within: float = 2.0
