"""Header blocks of one connection: HEADERS and its CONTINUATIONs put together and decoded (RFC 9113, 4.3; RFC 7541).

Rule: every block is decoded, even of a stream that is refused, since the decoder's state depends on all of them; and
none is longer than a bound.
"""

from __future__ import annotations

from hpack import Decoder, HPACKError

from xds.transport import limits
from xds.transport.frames import PADDED, PRIORITY_FLAG, ConnectionFault, Error

Fields = list[tuple[bytes, bytes]]


class HeaderBlocks:
    """`begin`, then `more` until the block is whole, then `decode`."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=limits.HEADER_LIST)
        self._pieces: list[bytes] = []
        self.of: tuple[int, int] | None = None
        """The stream and the flags of the block that is being put together."""

    def begin(self, flags: int, number: int, payload: bytes) -> None:
        """A HEADERS frame. Raises ConnectionFault."""
        content = unpadded(flags, payload)
        if flags & PRIORITY_FLAG:
            if len(content) < 5:
                raise ConnectionFault(Error.FRAME_SIZE_ERROR, "headers without their priority")
            content = content[5:]
        self._pieces = [content]
        self.of = (number, flags)

    def more(self, payload: bytes) -> None:
        """A CONTINUATION frame. Raises ConnectionFault."""
        if self.of is None:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "a continuation of nothing")
        self._pieces.append(payload)
        if len(self._pieces) > limits.CONTINUATIONS or sum(map(len, self._pieces)) > limits.HEADER_LIST:
            raise ConnectionFault(Error.ENHANCE_YOUR_CALM, "headers too large")

    def decode(self) -> Fields:
        """The fields of the block, which is whole now. Raises ConnectionFault."""
        block, self._pieces, self.of = b"".join(self._pieces), [], None
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise ConnectionFault(Error.COMPRESSION_ERROR, f"headers can't be decoded: {error}") from None


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a frame carries besides padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Error.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
