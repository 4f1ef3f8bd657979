"""Requests read from bytes, no further than we need: a node's name of 61 KB of node, versions as entries not yet read.

Rule: clients make requests as large and as different as they like, so all that is remembered of them is bounded. Equal
requests are the same object for every stream.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

from google.protobuf.descriptor_pool import DescriptorPool

from xds.resource import unseen
from xds.resourceset import NOTHING, ResourceSet
from xds.schema import Field, classes
from xds.wire import DeltaRequest, ProtocolFault, Rejection, SotwRequest

REMEMBERED_REQUESTS: Final = 512
REPEATED: Final = 65_536
"""Bytes up to which a request may be said again: a subscription, an ACK. Longer ones bring versions along, in an order
of their own; only to look for them among the known ones would cost a pass over all their bytes."""
REMEMBERED_BYTES: Final = 8 * 1024 * 1024
"""Of all the requests that one memory is of; what was read from them takes some ten times as much memory."""

_SCHEMA: Final = {
    "Node": [Field("id", 1, "string")],
    "Status": [Field("code", 1, "int32"), Field("message", 2, "string")],
    "Entry": [Field("key", 1, "string"), Field("value", 2, "string")],
    "Delta": [
        Field("node", 1, "Node"),
        Field("type_url", 2, "string"),
        Field("subscribe", 3, "string", many=True),
        Field("unsubscribe", 4, "string", many=True),
        Field("initial", 5, "bytes", many=True),
        Field("nonce", 6, "string"),
        Field("error_detail", 7, "Status"),
    ],
    "Sotw": [
        Field("version", 1, "string"),
        Field("node", 2, "Node"),
        Field("names", 3, "string", many=True),
        Field("type_url", 4, "string"),
        Field("nonce", 5, "string"),
        Field("error_detail", 6, "Status"),
    ],
}
"""discovery.proto, v3, as far as we read it. A map is encoded as its entries, each a message of key and value
(protobuf's encoding page, "Maps"): kept as bytes, a thousand of them are compared without being decoded."""


_CLASSES: Final = classes(DescriptorPool(), "weft", _SCHEMA)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Memory(Generic[Key, Value]):
    """What was read from requests. When it is full, everything is forgotten."""

    def __init__(self) -> None:
        self._known: dict[Key, Value] = {}
        self._bytes = 0

    def get(self, key: Key, size: int = 0) -> Value | None:
        return self._known.get(key) if size <= REPEATED else None

    def keep(self, key: Key, value: Value, size: int) -> None:
        """Keep what was read from a request of `size` bytes, unless that alone is too much."""
        if size > REMEMBERED_BYTES:
            return
        if len(self._known) >= REMEMBERED_REQUESTS or self._bytes + size > REMEMBERED_BYTES:
            self._known.clear()
            self._bytes = 0
        self._known[key] = value
        self._bytes += size


class RequestReader:
    """Reads requests. Bytes seen before (the ACKs of a shared response, equal subscriptions) are not parsed again."""

    def __init__(self) -> None:
        self._delta = _Memory[bytes, DeltaRequest]()
        self._sotw = _Memory[bytes, SotwRequest]()
        self._initial = _Memory[tuple[str, frozenset[bytes]], ResourceSet]()

    def delta(self, data: bytes) -> DeltaRequest:
        """Raises ProtocolFault where the bytes are no DeltaDiscoveryRequest."""
        known = self._delta.get(data, len(data))
        if known is not None:
            return known
        message = _parsed("Delta", data)
        request = DeltaRequest(
            type_url=message.type_url,
            node_id=message.node.id,
            subscribe=frozenset(message.subscribe),
            unsubscribe=frozenset(message.unsubscribe),
            initial=self._brought(message.type_url, message.initial, len(data)),
            nonce=message.nonce,
            rejection=_rejection(message),
        )
        # What begins a stream is long and everybody's own: it will not come again.
        if not (request.node_id or message.initial) and len(data) <= REPEATED:
            self._delta.keep(data, request, len(data))
        return request

    def sotw(self, data: bytes) -> SotwRequest:
        """Raises ProtocolFault where the bytes are no DiscoveryRequest."""
        known = self._sotw.get(data, len(data))
        if known is not None:
            return known
        message = _parsed("Sotw", data)
        request = SotwRequest(
            type_url=message.type_url,
            node_id=message.node.id,
            names=frozenset(message.names),
            version=message.version,
            nonce=message.nonce,
            rejection=_rejection(message),
        )
        # What begins a stream is long and everybody's own: it will not come again.
        if not request.node_id and len(data) <= REPEATED:
            self._sotw.keep(data, request, len(data))
        return request

    def _brought(self, type_url: str, entries: Iterable[bytes], size: int) -> ResourceSet:
        """The same object for all that bring the same, in whatever order; `size` is the request's, in bytes."""
        whole = frozenset(entries)
        if not whole:
            return NOTHING
        known = self._initial.get((type_url, whole))
        if known is None:
            pairs = [(entry.key, entry.value) for entry in (_parsed("Entry", each) for each in whole)]
            known = ResourceSet(type_url, {name: unseen(type_url, name, version) for name, version in pairs})
            self._initial.keep((type_url, whole), known, size)
        return known


def _parsed(kind: str, data: bytes) -> Any:
    """Raises ProtocolFault."""
    try:
        return _CLASSES[kind].FromString(data)
    except Exception as error:  # protobuf's DecodeError has no stable home among its implementations
        raise ProtocolFault("INVALID_ARGUMENT", f"not a discovery request: {error}") from error


def _rejection(message: Any) -> Rejection | None:
    if not message.HasField("error_detail"):
        return None
    return Rejection(message.error_detail.code, message.error_detail.message)
