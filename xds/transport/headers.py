"""Header fields as they concern a gRPC server: a request's checked, a response's put together.

Rule: what RFC 9113 section 8 calls malformed ends the stream before anybody looks at it. Sources: RFC 9113, and gRPC's
"gRPC over HTTP2" and "Status codes and their use" pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from xds.transport.frames import Error, StreamFault, header_block

CODES: Final[Mapping[str, int]] = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
"""gRPC status name → number."""

REQUEST_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
STATUS_200: Final = b"\x88"
"""`:status: 200`, indexed (RFC 7541, appendix A)."""
RESPONSE: Final = STATUS_200 + header_block([(b"content-type", b"application/grpc")])


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is well-formed HTTP/2. `metadata` are the fields without `:`, names in lower case."""

    method: str
    path: str
    metadata: Mapping[str, str]

    @property
    def is_grpc(self) -> bool:
        """Whether it claims to be gRPC with a message format we can't but leave to the two ends."""
        kind = self.metadata.get("content-type", "")
        return kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))


def request(fields: Iterable[tuple[bytes, bytes]]) -> Request:
    """Read the fields of a request. Raises StreamFault where it is malformed (RFC 9113, 8.2 and 8.3)."""
    pseudo: dict[bytes, bytes] = {}
    metadata: dict[str, str] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if name not in REQUEST_PSEUDO or name in pseudo or metadata:
                raise StreamFault(Error.PROTOCOL_ERROR, "pseudo-header field out of place")
            pseudo[name] = value
        else:
            _regular(name, value, metadata)
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise StreamFault(Error.PROTOCOL_ERROR, "pseudo-header field missing")
    return Request(_text(pseudo[b":method"]), _text(pseudo[b":path"]), metadata)


def trailers(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Check the trailers of a request. Raises StreamFault where they are malformed."""
    for name, value in fields:
        if name.startswith(b":"):
            raise StreamFault(Error.PROTOCOL_ERROR, "pseudo-header field in trailers")
        _regular(name, value, {})


def status_block(code: str, text: str) -> bytes:
    """A gRPC status as trailers. The text is percent-encoded, as gRPC wants it."""
    fields = [(b"grpc-status", str(CODES.get(code, 2)).encode())]
    if text:
        fields.append((b"grpc-message", _percent(text)))
    return header_block(fields)


def refusal_block(status: int) -> bytes:
    """A whole HTTP response to what is not gRPC."""
    return header_block([(b":status", str(status).encode()), (b"content-length", b"0")])


def _regular(name: bytes, value: bytes, metadata: dict[str, str]) -> None:
    if name != name.lower() or not name or name in CONNECTION_SPECIFIC:
        raise StreamFault(Error.PROTOCOL_ERROR, "header field not allowed in HTTP/2")
    if name == b"te" and value != b"trailers":
        raise StreamFault(Error.PROTOCOL_ERROR, "te must be trailers")
    key, text = _text(name), _text(value)
    metadata[key] = f"{metadata[key]},{text}" if key in metadata else text


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _percent(text: str) -> bytes:
    return b"".join(
        bytes((octet,)) if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet for octet in text.encode()
    )
