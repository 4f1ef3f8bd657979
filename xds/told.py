"""What a sidecar tells of one request or connection, read from Envoy's access log entries (envoy.data.accesslog.v3).

Rule: who somebody is comes from a certificate or from the token of the stream, never from a header; a path is told
without its query, and neither headers nor bodies are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mesh.model import Identity, PodId
from xds import pb

INBOUND: Final = "inbound"
OUTBOUND: Final = "outbound"
"""How the names of access logs begin, as `xds.translate.taps` makes them; after a slash follows why it refuses."""
DENIED: Final = "rbac_access_denied"
BY_RULES: Final = "no TrafficTarget lets this caller do this"
"""Why a server's sidecar refuses (rule A12)."""
NOT_PERMITTED: Final = "no TrafficTarget lets this workload call it"
"""Why a caller's own sidecar refuses what is meshed (rule A16)."""
NOT_GRANTED: Final = "no EgressPolicy lets this workload call it"
"""Why it refuses what is outside (rule H6)."""
NO_CLUSTER: Final = "cluster_not_found"
"""Envoy's details of a route whose cluster was taken away from this caller (rule A16)."""
REFUSED_BY_ROUTE: Final = "direct_response"
OUTSIDE: Final = "egress/"
"""How clusters of what is outside the mesh are called (xds.translate.naming)."""
ANSWERED: Final = frozenset({"", "via_upstream", "direct_response"})
_METHODS: Final = {number: name for name, number in pb.RequestMethod.items() if number}
_PROTOCOLS: Final = {1: "HTTP/1.0", 2: "HTTP/1.1", 3: "HTTP/2", 4: "HTTP/3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request, or connection (then `method` and `path` are empty and `status` is 0).

    `time` is seconds since the epoch, when it began; `port` is the one that was called, `peer` the other side:
    a SPIFFE ID, an address where no certificate was shown, or the Service port that a caller's sidecar chose
    (`NAMESPACE/NAME/PORT`). `reason` says why it was refused or failed, and is empty otherwise. `milliseconds` is
    until the last byte.
    """

    time: float
    pod: PodId
    direction: str
    source: str
    destination: str
    peer: str
    port: int
    protocol: str
    method: str = ""
    authority: str = ""
    path: str = ""
    status: int = 0
    reason: str = ""
    milliseconds: float = 0.0


def told(message: pb.StreamAccessLogsMessage, log_name: str, pod: PodId, identity: Identity) -> Iterator[Told]:
    """What is in a message of the log of this name, from the sidecar of this pod."""
    for request in message.http_logs.log_entry:
        yield _request(request, log_name, pod, identity)
    for connection in message.tcp_logs.log_entry:
        yield _told(connection.common_properties, log_name, pod, identity, "TCP")


def _request(entry: pb.HTTPAccessLogEntry, log_name: str, pod: PodId, identity: Identity) -> Told:
    asked, answer = entry.request, entry.response
    seen = _told(entry.common_properties, log_name, pod, identity, _PROTOCOLS.get(entry.protocol_version, "HTTP"))
    return Told(
        time=seen.time, pod=pod, direction=seen.direction, source=seen.source, peer=seen.peer, port=seen.port,
        destination=seen.destination, protocol=seen.protocol,
        method=_METHODS.get(asked.request_method, "(other)"), authority=asked.authority,
        path=(asked.original_path or asked.path).partition("?")[0], status=answer.response_code.value,
        reason=seen.reason or _reason(answer, seen), milliseconds=seen.milliseconds,
    )  # fmt: skip


def _told(common: pb.AccessLogCommon, log_name: str, pod: PodId, identity: Identity, protocol: str) -> Told:
    direction, _, reason = log_name.partition("/")
    port = common.downstream_local_address.socket_address.port_value
    if direction == INBOUND:
        peer = source = _caller(common)
        destination = identity.uri
    else:
        source = identity.uri
        peer = destination = _service(common.upstream_cluster) or _address(common.downstream_local_address)
    took = common.duration if common.HasField("duration") else common.time_to_last_downstream_tx_byte
    return Told(
        time=common.start_time.seconds + common.start_time.nanos / 1e9, pod=pod, direction=direction, source=source,
        destination=destination, peer=peer, port=port, protocol=protocol,
        reason=reason or common.downstream_transport_failure_reason,
        milliseconds=took.seconds * 1e3 + took.nanos / 1e6,
    )  # fmt: skip


def _caller(common: pb.AccessLogCommon) -> str:
    """The identity in the caller's certificate, else the caller's address."""
    for name in common.tls_properties.peer_certificate_properties.subject_alt_name:
        if name.uri:
            return name.uri
    return _address(common.downstream_direct_remote_address)


def _service(cluster: str) -> str:
    """A Service's port without what its cluster's name says besides (xds.translate.naming), as NAMESPACE/NAME/PORT."""
    parts = cluster.split("/")
    return "/".join(parts[:3]) if len(parts) > 3 and parts[2].isdigit() else cluster


def _address(address: pb.Address) -> str:
    found = address.socket_address
    return f"[{found.address}]:{found.port_value}" if ":" in found.address else f"{found.address}:{found.port_value}"


def _reason(answer: pb.HTTPResponseProperties, seen: Told) -> str:
    """Why Envoy itself answered; empty where somebody else did."""
    details, outside = answer.response_code_details, seen.peer.startswith(OUTSIDE)
    if details.startswith(DENIED):
        return BY_RULES if seen.direction == INBOUND else NOT_GRANTED
    if details == NO_CLUSTER:
        return NOT_GRANTED if outside else NOT_PERMITTED
    if details == REFUSED_BY_ROUTE and seen.direction == OUTBOUND and answer.response_code.value == 403:
        return NOT_GRANTED
    return "" if details in ANSWERED else details.replace("_", " ")
