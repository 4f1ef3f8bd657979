from __future__ import annotations

import re2

from smi.kinds import HeaderMatch, HttpMatch
from smi.regex import PROGRAM_LIMIT, program_size
from xds import pb
from xds.translate.matches import ESCAPED_SLASH, every_request, permission, route_match

METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


def test_a11_no_methods_means_all_and_one_needs_no_regex() -> None:
    assert route_match(HttpMatch(name="all")) == every_request()
    assert permission(HttpMatch(name="all")) == pb.Permission(any=True)
    (header,) = route_match(HttpMatch(name="one", methods=frozenset({"GET"}))).headers
    assert (header.name, header.string_match.exact) == (":method", "GET")


def test_f6_all_methods_at_once_are_a_regex_envoy_takes() -> None:
    (header,) = route_match(HttpMatch(name="many", methods=METHODS)).headers
    pattern = header.string_match.safe_regex.regex
    assert program_size(pattern) <= PROGRAM_LIMIT
    assert all(re2.fullmatch(pattern, method) for method in METHODS)
    assert not re2.fullmatch(pattern, "GETX")
    assert program_size(ESCAPED_SLASH) <= PROGRAM_LIMIT


def test_a10_host_is_the_authority() -> None:
    (header,) = route_match(HttpMatch(name="h", headers=(HeaderMatch(name="host", regex="shop"),))).headers
    assert header.name == ":authority"


def test_a_rule_about_paths_is_not_satisfied_by_escaped_slashes() -> None:
    *_, not_escaped = permission(HttpMatch(name="p", path_regex="/api")).and_rules.rules
    pattern = not_escaped.not_rule.url_path.path.safe_regex.regex
    assert re2.fullmatch(pattern, "/api%2Fx")
    assert re2.fullmatch(pattern, "/api%5c..")
    assert not re2.fullmatch(pattern, "/api/20%25")
    rules = permission(HttpMatch(name="m", methods=METHODS)).and_rules.rules
    assert [rule.WhichOneof("rule") for rule in rules] == ["header"]
