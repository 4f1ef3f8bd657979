"""How the resources are called. Rule: a name says what a thing is, never what is in it, so that it outlives changes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mesh.model import Identity, PodDestination, PortId


class Flavour(StrEnum):
    """What a Backend's connections carry, and so what their TLS handshake announces (ALPN, RFC 7301).

    The server's sidecar tells mesh traffic by it: from an app's own TLS, and HTTP from TCP on ports of unknown
    protocol. It only ever chooses which rules judge the connection, never whether any do.
    """

    HTTP = "weft-http"
    CARRIED = "weft-http carried"
    """HTTP of any version, carried in HTTP/2, to pods that all have a sidecar (docs/decisions/0100)."""
    TCP = "weft"

    @property
    def offer(self) -> str:
        """The name that the handshake offers."""
        return self.HTTP.value if self is Flavour.CARRIED else self.value


PASSTHROUGH_CLUSTER: Final = "passthrough"
"""Connects to where the app wanted to go."""
INBOUND_CLUSTER: Final = "inbound"
"""Connects to the app in the protocol the caller speaks."""
INBOUND_HTTP1_CLUSTER: Final = "inbound/http1"
"""Connects to the app in HTTP/1.1."""
INBOUND_HTTP2_CLUSTER: Final = "inbound/http2"
"""Connects to the app in HTTP/2."""
REFUSED_CLUSTER: Final = "refused"
"""Never exists: a TCP proxy that is told to use it closes the connection without connecting anywhere."""


def backend_cluster(backend: PortId, flavour: Flavour) -> str:
    """The cluster of a Backend and its endpoints, which have the same name."""
    suffixes = {Flavour.HTTP: "", Flavour.CARRIED: "/http2", Flavour.TCP: "/tcp"}
    return f"{backend}{suffixes[flavour]}"


def destination(port: PortId) -> str:
    """The listener of a Destination, its route configuration and its TCP filter."""
    return f"outbound/{port}"


def pod_listener(pod: PodDestination) -> str:
    """The listener of a meshed pod's own address and port."""
    return f"pod/{pod.pod}/{pod.port}"


def pod_cluster(identity: Identity, flavour: Flavour) -> str:
    """The cluster of all pods of one identity, reached by their own addresses."""
    kind = "http" if flavour is Flavour.HTTP else "tcp"
    return f"pod/{identity.namespace}/{identity.service_account}/{kind}"


def inbound(port: int) -> str:
    """The route configuration of an inbound port, which holds its rules, and the secret that holds its TCP callers."""
    return f"inbound/{port}"


def egress(port: int) -> str:
    """The listener of a port outside the mesh that policies grant, and its route configuration."""
    return f"egress/{port}"


def egress_names(port: int) -> str:
    """The cluster of the hosts that are looked up, on that port."""
    return f"egress/{port}/names"


def egress_addresses(port: int) -> str:
    """The cluster of the addresses that the app asked for, on that port."""
    return f"egress/{port}/addresses"
