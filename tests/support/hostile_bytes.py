"""Bytes that nobody should send: what a parser likes, edited; and what it means to be a parser that is fuzzed.

Rule: everything is drawn by hypothesis, so that what fails is made small and is drawn again by the same seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from hostile_documents import VALUES

LONGEST = 1 << 18
"""Bytes that repeating makes of an input: enough for a regex that goes back and forth to be noticed."""
SLOWEST = 5.0
"""Seconds of the processor that one input may take."""
SPECIAL = (
    b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\n", b"\r\n\r\n", b'"', b"\\", b"{", b"[", b"}", b"]", b"=", b".",
    b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"9" * 5000, b"-1", b"1e999", b"NaN", b"null",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\xe2\x80\xae", b"\x30\x80", b"&a ", b"*a", b"!!python/object:os ",
)  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """`read` is given one of the inputs. It lets pass what its parser is documented to raise, and nothing else."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], None]
    weight: int = 1
    """How many times cheaper an input is than one of the dearest."""

    def __call__(self, value: Any) -> None:
        """Read, and look at the time that takes."""
        began = time.process_time()
        self.read(value)
        took = time.process_time() - began
        assert took < SLOWEST, f"{self.name} took {took:.1f} s"


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with a few edits, or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    made = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(made)))
        end = min(len(made), start + draw(st.integers(0, 16)))
        made = made[:start] + _instead(draw, made, start, end, seeds) + made[end:]
    return made


def _instead(draw: st.DrawFn, made: bytes, start: int, end: int, seeds: Sequence[bytes]) -> bytes:
    """What stands in the place of a piece."""
    match draw(st.integers(0, 4)):
        case 0:
            return b""
        case 1:
            return draw(st.binary(max_size=8))
        case 2:
            return draw(st.sampled_from(SPECIAL))
        case 3:
            other = draw(st.sampled_from(seeds))
            at = draw(st.integers(0, len(other)))
            return other[at : at + draw(st.integers(0, 64))]
    piece = made[start:end] or b"a"
    return piece * draw(st.integers(2, LONGEST // len(piece) // 4))


@st.composite
def reshaped(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """One of the documents with other values in some places, without some, or with others besides."""
    made = json.loads(json.dumps(draw(st.sampled_from(documents))))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places({"": made}))))
        match draw(st.integers(0, 4)):
            case 0 if isinstance(holder, dict) and key:
                del holder[key]
            case 1 if isinstance(holder, dict) and key:
                holder[draw(st.text(max_size=8))] = holder[key]
            case _:
                value = draw(ANYTHING)
                holder[key] = value
                made = value if key == "" else made
    return made


def as_json(documents: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """The same, written down; values that JSON can't say go as Python's JSON says them."""
    return documents.map(lambda document: json.dumps(document).encode())


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([value for value in VALUES if not isinstance(value, dict | list)])
    | st.text(max_size=12)
    | st.integers()
    | st.sampled_from(["9" * 5000, "²", "1" * 60, "a." * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any) -> Any:
    """Every holder in a document, with each of its keys or indices."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
