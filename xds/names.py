"""The constant names that Envoy's configuration, the bootstrap document and the CA agree on."""

from __future__ import annotations

from typing import Final

from mesh.model import PodId

LEAF_SECRET: Final = "leaf"  # noqa: S105 - a name, not a secret
"""SDS: the proxy's own certificate and key. The server resolves it per caller."""
BUNDLE_SECRET: Final = "bundle"  # noqa: S105 - a name, not a secret
"""SDS: the certificates a peer's leaf must chain to."""

CALLERS_SECRET: Final = "callers"  # noqa: S105 - a name, not a secret
"""SDS: whom a handshake accepts behind which every request is judged. By name, since a change of it drains nothing."""

WORKLOAD_API_CLUSTER: Final = "spiffe_workload_api"
"""In the bootstrap document of sidecars that have one: where SDS is served by somebody else."""

OUTBOUND_LISTENER: Final = "outbound"
INBOUND_LISTENER: Final = "inbound"

TAP: Final = "weft-tap"
"""The cluster in the bootstrap that watched requests are told to, and the runtime resource that switches that on."""
TAP_SWITCH: Final = "weft.tap"
"""Of Envoy's runtime: the percentage of requests that are told."""


def node_id(pod: PodId) -> str:
    """What a sidecar says in `node.id`."""
    return f"{pod.namespace}/{pod.name}"


def pod_id(node: str) -> PodId | None:
    """The pod a `node.id` names, or None where it names none."""
    namespace, slash, name = node.partition("/")
    return PodId(namespace, name) if slash and namespace and name and "/" not in name else None
