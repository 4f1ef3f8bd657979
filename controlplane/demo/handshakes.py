"""What a capture of TLS shows to somebody without keys: record types, and the version both sides agreed on.

Source: RFC 8446, sections 4.1 (Client and Server Hello), 4.2.1 (supported_versions) and 5.1 (the record layer).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HANDSHAKE = 22
KNOWN_TYPES = frozenset({20, HANDSHAKE, 21, 23})
"""change_cipher_spec, handshake, alert, application_data."""
CLIENT_HELLO = 1
SERVER_HELLO = 2
SUPPORTED_VERSIONS = 43
TLS_1_3 = 0x0304
RECORD_HEADER = 5
LONGEST_RECORD = 2**14 + 256


@dataclass(frozen=True, slots=True)
class Record:
    """One TLS record."""

    type: int
    body: bytes


def records(stream: bytes) -> list[Record] | None:
    """The whole records of one direction, which begins with one; None when it is anything else than TLS."""
    found: list[Record] = []
    at = 0
    while at + RECORD_HEADER <= len(stream):
        kind, version, length = struct.unpack_from("!BHH", stream, at)
        if kind not in KNOWN_TYPES or version >> 8 != 3 or length > LONGEST_RECORD:
            return None
        if at + RECORD_HEADER + length <= len(stream):
            found.append(Record(kind, stream[at + RECORD_HEADER : at + RECORD_HEADER + length]))
        at += RECORD_HEADER + length
    return found


def offered_versions(found: list[Record]) -> tuple[int, ...]:
    """The versions a Client Hello offers; none when the direction does not begin with one."""
    hello = _hello(found, CLIENT_HELLO)
    if hello is None:
        return ()
    at = 2 + 32
    at += 1 + hello[at]  # legacy_session_id
    at += 2 + struct.unpack_from("!H", hello, at)[0]  # cipher_suites
    at += 1 + hello[at]  # legacy_compression_methods
    for kind, body in _extensions(hello[at:]):
        if kind == SUPPORTED_VERSIONS:
            return struct.unpack(f"!{body[0] // 2}H", body[1 : 1 + body[0]])
    return ()


def chosen_version(found: list[Record]) -> int | None:
    """The version a Server Hello chooses by supported_versions; None when the direction does not begin with one."""
    hello = _hello(found, SERVER_HELLO)
    if hello is None:
        return None
    at = 2 + 32
    at += 1 + hello[at]  # legacy_session_id_echo
    at += 2 + 1  # cipher_suite, legacy_compression_method
    for kind, body in _extensions(hello[at:]):
        if kind == SUPPORTED_VERSIONS:
            version: int = struct.unpack("!H", body)[0]
            return version
    return None


def _hello(found: list[Record], kind: int) -> bytes | None:
    if not found or found[0].type != HANDSHAKE or found[0].body[0] != kind:
        return None
    return found[0].body[4:]


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    end = 2 + struct.unpack_from("!H", block)[0]
    at = 2
    while at < end:
        kind, length = struct.unpack_from("!HH", block, at)
        yield kind, block[at + 4 : at + 4 + length]
        at += 4 + length
