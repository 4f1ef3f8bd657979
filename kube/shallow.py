"""Decodes JSON however deep somebody nested it. Rule: depth is a person's mistake, so it never ends the process.

Kubernetes takes JSON of 10,000 levels; where a CRD preserves unknown fields, that is what a list or a watch may bring.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

DEPTH: Final = 100
"""Maps and lists inside one another that are kept. Kubernetes' own objects stay below 30."""

INSTEAD: Final = b'"(nested too deeply)"'
"""Stands where deeper things were: text, so a reader who wanted a map or list finds a mistake there."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def decoded(decoder: msgspec.json.Decoder[T], content: bytes | msgspec.Raw) -> T:
    """What the decoder makes of JSON, with what is too deep in it replaced by text. Raises msgspec.DecodeError."""
    try:
        return decoder.decode(content)
    except RecursionError:
        return decoder.decode(shallow(bytes(content)))


def shallow(content: bytes, depth: int = DEPTH) -> bytes:
    """The same JSON with everything below so many levels replaced by one text."""
    kept: list[bytes] = []
    level, done = 0, 0
    for token in _TOKEN.finditer(content):
        mark = token[0]
        if mark in b"[{":
            level += 1
            if level == depth + 1:
                kept += content[done : token.start()], INSTEAD
        elif mark in b"]}":
            level -= 1
            if level == depth:
                done = token.end()
    return b"".join(kept) + (content[done:] if level <= depth else b"")
