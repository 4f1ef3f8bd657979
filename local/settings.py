"""What can be set about a local cluster, with the defaults people meet first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Protocol

from local.workloads import Inject, untouched

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


class Credentials(Protocol):
    """Who pods are: tokens for their ServiceAccounts, and ConfigMaps that every namespace has (the trust bundle)."""

    def token(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        """A token for a pod, valid for `lifetime` seconds."""

    def config_maps(self) -> Mapping[str, Mapping[str, str]]:
        """ConfigMaps of every namespace by name."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """What a token says of a pod."""

    namespace: str
    service_account: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """A cluster without a mesh: its pods have no tokens."""

    def token(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        """Nothing that proves anything."""
        del pod, audience, lifetime
        return ""

    def config_maps(self) -> Mapping[str, Mapping[str, str]]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Settings of one local cluster.

    `state` is the node's folder (`local.node.entered`). `control_plane` is the command that runs beside the pods and is
    started again when it ends; empty for none. `inject` makes of a pod what shall run. `observe` is told each Event.
    `stop_within` bounds, in seconds, how long pods may take to end with the cluster.
    """

    state: Path
    paths: tuple[Path, ...]
    control_plane: tuple[str, ...] = ()
    inject: Inject = untouched
    credentials: Credentials = field(default_factory=NoCredentials)
    cluster_domain: str = "cluster.local"
    pod_network: IPv4Network = field(default_factory=lambda: IPv4Network(POD_NETWORK))
    service_network: IPv4Network = field(default_factory=lambda: IPv4Network(SERVICE_NETWORK))
    observe: Callable[[Event], Any] = silent
    stop_within: float = 2.0
