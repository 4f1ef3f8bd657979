"""Paths as rules look at them: what the server's sidecar makes of the path of a request before it compares (rule A9).

Rule: whatever spells the same file is one path to a rule and to the app. Paths that no sidecar takes are None.
Sources: Envoy, HttpConnectionManager.normalize_path and merge_slashes; RFC 3986, sections 5.2.4 and 6.2.2.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_HALF_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS_AND_PARAMETERS: Final = re.compile(r"/\.{1,2};")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]")
_ESCAPED: Final = re.compile(r"[^!$-;=@-\]_a-z~]")
"""What may not stand in a path as it is, and is escaped."""
_SLASHES: Final = re.compile(r"/{2,}")


class UnclearPathError(ValueError):
    """A path of which it is not known here what a sidecar makes of it; the text is a sentence."""


def canonical(path: str) -> str | None:
    """A request's path and query as the app and the rules see them; None: answered 400 before any rule.

    Escapes of letters, digits, `-._~` are undone, backslashes are slashes, `.` and `..` are followed, slashes that
    stand together are one. The query stays as it is. Raises UnclearPathError.
    """
    if not path.startswith("/") or "#" in path or not path.isascii() or not path.isprintable():
        return None
    before, mark, query = path.partition("?")
    if _HALF_ESCAPE.search(before):
        raise UnclearPathError(f"{path!r} has a % without two digits, and it is not told here what comes of it.")
    plain = _ESCAPE.sub(_unescaped, before).replace("\\", "/")
    if re.search("%00", plain):
        return None
    if _DOTS_AND_PARAMETERS.search(plain):
        raise UnclearPathError(f"{path!r} has dots before a ;, and it is not told here what comes of it.")
    segments = _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", plain).split("/")[1:]
    followed = "/" + "/".join(_followed(segments))
    # Envoy joins what is between the slashes, and then puts one before and one after it, even where nothing is.
    merged = _SLASHES.sub("/", followed) if followed.strip("/") or followed == "/" else "//"
    return merged + mark + query


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if _UNRESERVED.fullmatch(character) else found[0]


def _followed(segments: list[str]) -> list[str]:
    """Without `.` and `..`; where the last one is either, what is left ends in a slash."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return [*kept, ""] if segments[-1] in {".", ".."} else kept
