"""Messages as DATA frames, once for all streams of the same number, which with Envoy is nearly always 1.

Rule: a copy is kept only while many are being sent it: long ones up to a bound, of short ones the last. What does not
fit is cut anew for each.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Final

from xds.transport.frames import HEAD_SIZE, MIN_FRAME, Kind, head

LONG: Final = 65_536
"""Bytes from which a message is worth it."""
KEPT: Final = 16 * 1024 * 1024

_PREFIX: Final = struct.Struct(">BI")


def prefix(message: bytes) -> bytes:
    """What gRPC puts before an uncompressed message: five bytes."""
    return _PREFIX.pack(0, len(message))


class Framings:
    """The messages framed last."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], tuple[bytes, bytes]] = OrderedDict()
        self._bytes = 0
        self._single: tuple[bytes, int, bytes] = (b"", 0, b"")

    def single(self, message: bytes, number: int) -> bytes:
        """Prefix and message in one frame, which must hold them. Kept until another message comes."""
        known, known_number, frame = self._single
        if known is not message or known_number != number:
            framed = prefix(message) + message
            frame = head(len(framed), Kind.DATA, 0, number) + framed
            self._single = (message, number, frame)
        return frame

    def framed(self, message: bytes, number: int) -> bytes | None:
        """Prefix and message in frames of MIN_FRAME bytes each but the last; None where it is not worth it."""
        if not LONG <= len(message) <= KEPT // 2:
            return None
        # The message is kept beside its frames, so its id belongs to nobody else meanwhile.
        known = self._known.get((id(message), number))
        if known is None:
            known = self._known[id(message), number] = (message, _frames(prefix(message) + message, number))
            self._bytes += len(known[1])
            while self._bytes > KEPT:
                self._bytes -= len(self._known.popitem(last=False)[1][1])
        return known[1]

    def forget(self) -> None:
        """Let go of all."""
        self._known.clear()
        self._bytes = 0
        self._single = (b"", 0, b"")


def whole_frames(framed: bytes, offset: int, room: int) -> tuple[memoryview, int]:
    """As many frames from `offset` (in bytes of data, at a frame's start) as `room` allows, and their bytes of data."""
    start = offset // MIN_FRAME * (MIN_FRAME + HEAD_SIZE)
    left = len(framed) - start
    count = room // MIN_FRAME
    size = count * (MIN_FRAME + HEAD_SIZE)
    if size >= left:
        # The last frame is shorter than the others.
        count = -(-left // (MIN_FRAME + HEAD_SIZE))
        size = left
    return memoryview(framed)[start : start + size], size - count * HEAD_SIZE


def _frames(data: bytes, number: int) -> bytes:
    parts: list[bytes] = []
    for at in range(0, len(data), MIN_FRAME):
        piece = data[at : at + MIN_FRAME]
        parts += (head(len(piece), Kind.DATA, 0, number), piece)
    return b"".join(parts)
