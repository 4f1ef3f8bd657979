"""HTTP/2 frames (RFC 9113) as far as a gRPC server needs them: numbers, and frames put together.

Rule: pure bytes. Header blocks of ours use the static table and literals only, so a connection has no encoder state.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = struct.Struct(">BHBBI")
"""A frame's head: the upper 8 and the lower 16 bits of its length, type, flags, stream."""
HEAD_SIZE: Final = 9
WORD: Final = struct.Struct(">I")
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
MIN_FRAME: Final = 16_384
MAX_FRAME: Final = 2**24 - 1

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20


class Kind(IntEnum):
    """Frame types, RFC 9113 section 6."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Error(IntEnum):
    """Error codes, RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Setting(IntEnum):
    """Settings, RFC 9113 section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class ConnectionFault(Exception):  # noqa: N818 - the peer's fault, not an error of ours
    """The peer broke HTTP/2 so that the whole connection can't go on."""

    def __init__(self, error: Error, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


class StreamFault(Exception):  # noqa: N818 - the peer's fault, not an error of ours
    """The peer broke HTTP/2 on one stream; the others go on."""

    def __init__(self, error: Error, text: str) -> None:
        super().__init__(text)
        self.error = error


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of this length."""
    return HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def settings(values: Iterable[tuple[Setting, int]]) -> bytes:
    """Our side's SETTINGS."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values))


def window_update(stream: int, increment: int) -> bytes:
    """More room for the peer: on a stream, or with stream 0 on the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, WORD.pack(increment))


def rst_stream(stream: int, error: Error) -> bytes:
    """The end of a stream, without words."""
    return frame(Kind.RST_STREAM, 0, stream, WORD.pack(error))


def goaway(last_stream: int, error: Error, text: str) -> bytes:
    """No streams after `last_stream` will be served."""
    return frame(Kind.GOAWAY, 0, 0, WORD.pack(last_stream) + WORD.pack(error) + text.encode())


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as literals without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(value: bytes) -> bytes:
    """A string literal: its length as an integer with a prefix of seven bits (RFC 7541, 5.1 and 5.2)."""
    length = len(value)
    if length < 127:
        return bytes((length,)) + value
    encoded = bytearray((127,))
    length -= 127
    while length >= 128:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + value
