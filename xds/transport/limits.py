"""What one connection may cost us. Rule: every buffer and every count that a peer can grow has its bound here."""

from __future__ import annotations

from typing import Final

CONCURRENT_STREAMS: Final = 64
"""Envoy needs one for ADS, at most one for each single type besides."""
HEADER_LIST: Final = 65_536
"""Bytes of a request's headers; a token takes one to two thousand."""
CONTINUATIONS: Final = 16
"""Frames of one header block: an endless series of tiny ones is an attack (CVE-2024-27316)."""
STREAMS_PER_CONNECTION: Final = 1_000
"""Streams in the life of one connection, after which it is to be replaced: bounds opening and resetting
in a loop (CVE-2023-44487), too."""
CONTROL_BYTES: Final = 65_536
"""Unsent answers to pings, settings and broken streams: who makes us say more than it reads is cut off."""
IDLE_FRAMES: Final = 10_000
"""Frames that carry nothing (empty data, priority, unknown types) in the life of a connection."""
FIRST_WINDOW: Final = 65_535
"""What a stream may send before its token was checked: the default, so that nobody need be told."""
TRUSTED_WINDOW: Final = 1_048_576
CONNECTION_WINDOW: Final = 4_194_304
MESSAGE_PREFIX: Final = 5
"""gRPC over HTTP/2: one byte that says whether the message is compressed, four of length."""
