"""HttpMatch in Envoy's two languages: which route a request takes, and whether a caller may send it.

Rules A9 to A11: methods are alternatives, the path is RE2 anchored at its start only and looks at no query, header
values are RE2 searched anywhere, `host` is the authority; everything in one match must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from smi.kinds import HeaderMatch, HttpMatch
from smi.regex import header_pattern, path_pattern
from xds import pb

ESCAPED_SLASH: Final = r"(?is).*%(2f|5c).*"
"""An escaped slash or backslash anywhere in a path."""


def route_match(match: HttpMatch) -> pb.RouteMatch:
    """Requests that the match is about."""
    found = pb.RouteMatch(headers=[_header(*condition) for condition in _conditions(match)])
    if match.path_regex is None:
        found.prefix = "/"
    else:
        found.safe_regex.regex = path_pattern(match.path_regex)
    return found


def every_request() -> pb.RouteMatch:
    """All requests."""
    return pb.RouteMatch(prefix="/")


def permission(match: HttpMatch) -> pb.Permission:
    """The right to send requests that the match is about.

    A path regex is not satisfied by a path with an escaped slash or backslash: apps differ in whether `/a%2fb` is
    `/a/b`, so a rule about paths cannot mean it. A match without a path regex allows such requests as any other.
    """
    conditions = [pb.Permission(header=_header(*condition)) for condition in _conditions(match)]
    if match.path_regex is not None:
        conditions.append(_path(path_pattern(match.path_regex)))
        conditions.append(pb.Permission(not_rule=_path(ESCAPED_SLASH)))
    if not conditions:
        return pb.Permission(any=True)
    return pb.Permission(and_rules=pb.Permission.Set(rules=conditions))


def _conditions(match: HttpMatch) -> Iterator[tuple[str, pb.StringMatcher]]:
    methods = sorted(match.methods)
    if len(methods) == 1:
        yield ":method", pb.StringMatcher(exact=methods[0])
    elif methods:
        yield ":method", _regex("|".join(map(re.escape, methods)))
    for header in match.headers:
        yield _header_name(header), _regex(header_pattern(header.regex))


def _header_name(header: HeaderMatch) -> str:
    return ":authority" if header.name == "host" else header.name


def _header(name: str, value: pb.StringMatcher) -> pb.HeaderMatcher:
    return pb.HeaderMatcher(name=name, string_match=value)


def _path(pattern: str) -> pb.Permission:
    return pb.Permission(url_path=pb.PathMatcher(path=_regex(pattern)))


def _regex(pattern: str) -> pb.StringMatcher:
    """RE2 that must match the whole value."""
    return pb.StringMatcher(safe_regex=pb.RegexMatcher(regex=pattern))
