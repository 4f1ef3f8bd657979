"""What is said on a stream: requests as values, responses put together from bytes that exist already.

Rule: nothing is encoded here but the few header fields of a response (rule R11); resources go in as they are. Equal
responses are the same object for every stream.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from xds.resource import SECRET, Resource, delimited
from xds.resourceset import NO_NAMES, NOTHING, ResourceSet

REMEMBERED_RESPONSES: Final = 256


class ProtocolFault(Exception):  # noqa: N818 - the peer's fault, not an error of ours
    """The client broke the protocol so that its stream can't go on; `code` is a gRPC status name."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Rejection:
    """Envoy's words about a response it did not take (`error_detail`, rule R14)."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """A DeltaDiscoveryRequest. `initial` are the names and versions the client brings along, bytes unknown."""

    type_url: str
    node_id: str = ""
    subscribe: frozenset[str] = NO_NAMES
    unsubscribe: frozenset[str] = NO_NAMES
    initial: ResourceSet = NOTHING
    nonce: str = ""
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class SotwRequest:
    """A DiscoveryRequest. `names` is the whole subscription each time (rule R22)."""

    type_url: str
    node_id: str = ""
    names: frozenset[str] = NO_NAMES
    version: str = ""
    nonce: str = ""
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An encoded response. `serial` is its nonce as a number; later responses have greater ones."""

    type_url: str
    version: str
    serial: int
    data: bytes = field(repr=False)  # may hold private keys
    names: tuple[str, ...]
    gone: tuple[str, ...] = ()

    @property
    def nonce(self) -> str:
        """What the client repeats in its ACK or NACK."""
        return str(self.serial)


AnyRequest = TypeVar("AnyRequest", DeltaRequest, SotwRequest)
"""The request of one of the two protocols."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Assembler:
    """Puts responses together and numbers them. One for all streams: equal responses are shared (rule R11)."""

    def __init__(self) -> None:
        self._serial = 0
        self._recent: dict[tuple[object, ...], Response] = {}

    @property
    def assembled(self) -> int:
        """How many responses were put together so far; each may have gone to many streams."""
        return self._serial

    def delta(
        self, type_url: str, version: str, adds: Sequence[Resource], gone: tuple[str, ...], after: int
    ) -> Response:
        """A DeltaDiscoveryResponse with a nonce greater than `after`, the same object for all who need the same."""
        key = ("delta", version, type_url, gone, *adds)
        return self._shared(key, after) or self._keep(key, self._delta(type_url, version, adds, gone))

    def sotw(self, type_url: str, version: str, resources: Sequence[Resource], after: int) -> Response:
        """A DiscoveryResponse with a nonce greater than `after`, the same object for all who need the same."""
        key = ("sotw", version, type_url, *resources)
        return self._shared(key, after) or self._keep(key, self._sotw(type_url, version, resources))

    def _delta(self, type_url: str, version: str, adds: Sequence[Resource], gone: tuple[str, ...]) -> Response:
        # discovery.proto, v3: system_version_info 1, resources 2, type_url 4, nonce 5, removed_resources 6.
        self._serial += 1
        parts = [_text(1, version), _text(4, type_url), _text(5, str(self._serial))]
        parts.extend(resource.entry for resource in adds)
        parts.extend(_text(6, name) for name in gone)
        return Response(type_url, version, self._serial, b"".join(parts), tuple(r.name for r in adds), gone)

    def _sotw(self, type_url: str, version: str, resources: Sequence[Resource]) -> Response:
        # discovery.proto, v3: version_info 1, resources 2, type_url 4, nonce 5.
        self._serial += 1
        parts = [_text(1, version), _text(4, type_url), _text(5, str(self._serial))]
        parts.extend(resource.any_entry for resource in resources)
        return Response(type_url, version, self._serial, b"".join(parts), tuple(r.name for r in resources))

    def _shared(self, key: tuple[object, ...], after: int) -> Response | None:
        response = self._recent.get(key)
        return response if response is not None and response.serial > after else None

    def _keep(self, key: tuple[object, ...], response: Response) -> Response:
        if response.type_url == SECRET:
            return response  # keys are kept no longer than the plan they belong to
        if len(self._recent) >= REMEMBERED_RESPONSES:
            self._recent.clear()
        self._recent[key] = response
        return response


def _text(number: int, value: str) -> bytes:
    return delimited(number, value.encode())
