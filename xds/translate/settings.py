"""The choices of translation that are the operator's, not the mesh's."""

from __future__ import annotations

from dataclasses import dataclass

from xds.translate.certificates import OURS, Certificates
from xds.translate.observing import UNOBSERVED, Observing


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateSettings:
    """All have defaults that suit a cluster. Times are seconds."""

    bind_address: str = "::"
    """Where the two bound listeners listen, IPv4 included. `0.0.0.0` on kernels that were started without IPv6."""
    outbound_port: int = 15001
    inbound_port: int = 15006
    """Where the redirect rules send connections (proxy.ports, which this layer may not import, has the same)."""
    detection_timeout: float = 1.0
    """How long a connection to a port of unknown protocol may stay silent before it counts as TCP (rule H2)."""
    inspection_timeout: float = 2.0
    """How long an incoming connection may stay silent before it counts as plaintext. Meshed callers speak at once;
    what waits is a server-first protocol from un-meshed callers of a permissive port."""
    observing: Observing = UNOBSERVED
    certificates: Certificates = OURS
