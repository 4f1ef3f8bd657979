"""A Resource: one Envoy message, encoded once, named, and versioned by the hash of its bytes.

Rule: after `encode` nobody touches protobuf again; responses are put together from `entry` bytes. Replicas agree on
versions without talking, and a reconnecting proxy is sent only what it lacks (rules R12, R44, R50, R59 of docs/xds.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from google.protobuf.message import Message

TYPE_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES: Final = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET: Final = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = TYPE_PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
RUNTIME: Final = TYPE_PREFIX + "envoy.service.runtime.v3.Runtime"

TYPES: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION, SECRET)
"""Every type that follows from the mesh, in the order they are sent on a stream (rule R61)."""
SERVED: Final = (*TYPES, RUNTIME)
"""Those, and what is switched for a single proxy (xds.switches)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One encoded Envoy thing. Two Resources with the same type, name and version are the same bytes.

    `body` is the encoded message itself; `entry` is it again as one element of `resources` (field 2) of a
    DeltaDiscoveryResponse, tag and length included; `any_entry` the same for a DiscoveryResponse, where the
    element is a bare google.protobuf.Any.
    """

    type_url: str
    name: str
    version: str
    body: bytes
    entry: bytes
    any_entry: bytes

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Resource)
            and self.version == other.version
            and self.name == other.name
            and self.type_url == other.type_url
        )

    def __hash__(self) -> int:
        return hash((self.type_url, self.name, self.version))

    def __repr__(self) -> str:
        # Bodies may hold private keys: never printed.
        return f"Resource({self.type_url.rsplit('.', 1)[-1]} {self.name} {self.version}, {len(self.body)} bytes)"


def encode(name: str, message: Message) -> Resource:
    """Encode a message as the Resource of this name."""
    body = message.SerializeToString(deterministic=True)
    type_url = TYPE_PREFIX + message.DESCRIPTOR.full_name
    version = blake2b(body, digest_size=8).hexdigest()
    packed = delimited(1, type_url.encode()) + delimited(2, body)
    wrapped = delimited(1, version.encode()) + delimited(2, packed) + delimited(3, name.encode())
    return Resource(type_url, name, version, body, delimited(2, wrapped), delimited(2, packed))


def delimited(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (https://protobuf.dev/programming-guides/encoding/)."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def unseen(type_url: str, name: str, version: str) -> Resource:
    """A Resource a client says it has: its version is known, its bytes are not."""
    return Resource(type_url, name, version, b"", b"", b"")
