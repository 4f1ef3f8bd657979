"""HTTPRouteGroup, TCPRoute and UDPRoute in every version."""

from __future__ import annotations

from typing import Any

import pytest

from kube.problem import Origin, Severity
from smi.decode import Read, read
from smi.kinds import HeaderMatch, HttpMatch, HTTPRouteGroup, TCPRoute, UDPRoute

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
METRICS = {"name": "metrics", "pathRegex": "/metrics", "methods": ["GET"]}


def route(version: str, kind: str, **fields: Any) -> Read:
    metadata = {"name": "r", "namespace": "shop"}
    raw = {"apiVersion": f"specs.smi-spec.io/{version}", "kind": kind, "metadata": metadata, **fields}
    return read(raw, lambda field: Origin(f"at {field}", 1))


def group(version: str, *matches: object) -> Read:
    """An HTTPRouteGroup in the shape of its version."""
    if version in {"v1alpha1", "v1alpha2"}:
        return route(version, "HTTPRouteGroup", matches=list(matches))
    return route(version, "HTTPRouteGroup", spec={"matches": list(matches)})


def path(version: str, field: str) -> str:
    return field if version in {"v1alpha1", "v1alpha2"} else f"spec.{field}"


def understood(found: Read) -> HTTPRouteGroup:
    assert isinstance(found.object, HTTPRouteGroup)
    return found.object


def only(found: Read) -> HttpMatch:
    (match,) = understood(found).matches
    return match


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_becomes_the_same_group(version: str) -> None:
    found = group(version, METRICS, {"name": "all", "pathRegex": ".*", "methods": ["*"]})
    assert found.problems == ()
    assert understood(found) == HTTPRouteGroup(
        namespace="shop",
        name="r",
        api_version=f"specs.smi-spec.io/{version}",
        origin=Origin("at ", 1),
        matches=(
            HttpMatch(name="metrics", methods=frozenset({"GET"}), path_regex="/metrics"),
            HttpMatch(name="all", path_regex=".*"),
        ),
    )


@pytest.mark.parametrize("version", ["v1alpha3", "v1alpha4"])
def test_v9_old_clients_put_matches_at_the_top_of_newer_versions(version: str) -> None:
    for fields in ({"matches": [METRICS]}, {"matches": [METRICS], "spec": {}}, {"matches": [METRICS], "spec": None}):
        found = route(version, "HTTPRouteGroup", **fields)
        assert only(found).name == "metrics"
        assert found.problems == ()


def test_v9_spec_matches_win_over_those_at_the_top() -> None:
    found = route("v1alpha4", "HTTPRouteGroup", matches=[METRICS], spec={"matches": [{"name": "all"}]})
    assert only(found).name == "all"
    assert [problem.severity for problem in found.problems] == [Severity.WARNING]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": ".*Firefox.*", "cookie": "^x$"},
        [{"User-Agent": ".*Firefox.*"}, {"cookie": "^x$"}],
        [{"User-Agent": ".*Firefox.*", "cookie": "^x$"}],
    ],
)
def test_v6_headers_are_a_map_or_a_list_of_maps(version: str, headers: object) -> None:
    found = group(version, {"name": "a", "headers": headers})
    assert only(found).headers == (
        HeaderMatch(name="user-agent", regex=".*Firefox.*"),
        HeaderMatch(name="cookie", regex="^x$"),
    )
    assert found.problems == ()


@pytest.mark.parametrize("methods", [["*"], ["GET", "*"], [], None])
def test_a11_a_star_anywhere_or_no_methods_mean_all(methods: object) -> None:
    assert only(group("v1alpha4", {"name": "a", "methods": methods})).methods == frozenset()


def test_a11_methods_are_upper_case() -> None:
    found = group("v1alpha4", {"name": "a", "methods": ["get", "POST", "PROPFIND"]})
    assert only(found).methods == {"GET", "POST", "PROPFIND"}
    assert [(problem.field, problem.severity) for problem in found.problems] == [
        ("spec.matches[0].methods[0]", Severity.WARNING)
    ]


BAD_MATCHES: list[tuple[object, str, str]] = [
    ({"name": "bad", "pathRegex": "("}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": "a)|(b"}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": r"\Q/a"}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": "x" * 5000}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": "/ä"}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": "(?=x)"}, "pathRegex", "A9"),
    ({"name": "bad", "pathRegex": 5}, "pathRegex", "F2"),
    ({"name": "bad", "methods": "GET"}, "methods", "F2"),
    ({"name": "bad", "methods": [True]}, "methods[0]", "F2"),
    ({"name": "bad", "methods": [""]}, "methods[0]", "F2"),
    ({"name": "bad", "methods": ["GET|.*"]}, "methods[0]", "A11"),
    ({"name": "bad", "methods": ["GET", ".*"]}, "methods[1]", "A11"),
    (
        {"name": "bad", "methods": [f"{chr(65 + index // 26)}{chr(65 + index % 26)}METHOD" for index in range(260)]},
        "methods",
        "A11",
    ),
    ({"name": "bad", "headers": "x"}, "headers", "V6"),
    ({"name": "bad", "headers": ["x"]}, "headers[0]", "F2"),
    ({"name": "bad", "headers": {"a": "("}}, "headers.a", "A10"),
    ({"name": "bad", "headers": [{"b": "c"}, {"a": "["}]}, "headers[1].a", "A10"),
    ({"name": "bad", "headers": {"a": None}}, "headers.a", "A10"),
    ({"name": "bad", "headers": {"a": True}}, "headers.a", "A10"),
    ({"name": "bad", "headers": {":path": "x"}}, "headers.:path", "A10"),
    ({"name": "bad", "headers": {"": "x"}}, "headers.", "A10"),
    ({"name": "bad", "headers": {"a\r\nb": "x"}}, "headers.a\r\nb", "A10"),
    ({"name": "bad", "pathregex": "/metrics"}, "pathregex", "F2"),
    ({"name": "bad", "path": "/metrics"}, "path", "F2"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("match", "field", "rule"), BAD_MATCHES)
def test_a9_a_match_that_cannot_be_read_is_set_aside_alone(version: str, match: object, field: str, rule: str) -> None:
    found = group(version, METRICS, match, {"name": "after"})
    assert [item.name for item in understood(found).matches] == ["metrics", "after"]
    assert understood(found).invalid == {"bad"}
    (problem,) = found.problems
    assert (problem.field, problem.rule) == (path(version, f"matches[1].{field}"), rule)
    assert problem.origin == Origin(f"at {problem.field}", 1)
    assert "this match is set aside and grants nothing" in problem.message


@pytest.mark.parametrize("match", ["x", None, 5, [], {"pathRegex": "/"}, {"name": ""}, {"name": 5}, {"name": None}])
def test_f2_a_match_without_a_name_is_set_aside(match: object) -> None:
    found = group("v1alpha4", match, METRICS)
    assert [item.name for item in understood(found).matches] == ["metrics"]
    assert understood(found).invalid == frozenset()
    assert len(found.problems) == 1


def test_a6_two_matches_of_one_name_both_stand_with_a_warning() -> None:
    found = group("v1alpha4", METRICS, METRICS)
    assert len(understood(found).matches) == 2
    assert [(problem.field, problem.severity) for problem in found.problems] == [
        ("spec.matches[1].name", Severity.WARNING)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a6_a_group_without_matches_matches_nothing_and_says_so(version: str) -> None:
    found = group(version)
    assert understood(found).matches == ()
    assert [problem.severity for problem in found.problems] == [Severity.WARNING]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "spec"),
        ({"spec": []}, "spec"),
        ({"spec": {"matches": "x"}}, "spec.matches"),
        ({"spec": {"matches": {}}}, "spec.matches"),
        ({"matches": {}}, "matches"),
    ],
)
def test_f2_a_group_of_the_wrong_shape_grants_nothing(fields: dict[str, Any], field: str) -> None:
    found = route("v1alpha4", "HTTPRouteGroup", **fields)
    assert found.problems[0].field == field
    assert found.object is None


@pytest.mark.parametrize("fields", [{}, {"spec": {}}, {"spec": {"matches": {}}}, {"spec": {"matches": {"ports": []}}}])
@pytest.mark.parametrize("version", VERSIONS)
def test_a5_a_tcp_route_without_ports_is_about_all_ports(version: str, fields: dict[str, Any]) -> None:
    found = route(version, "TCPRoute", **fields)
    assert isinstance(found.object, TCPRoute)
    assert found.object.ports == ()
    assert found.problems == ()


def test_the_ports_of_a_tcp_route_are_numbers_or_digits() -> None:
    found = route("v1alpha4", "TCPRoute", spec={"matches": {"name": "x", "ports": [3306, "6446"]}})
    assert isinstance(found.object, TCPRoute)
    assert found.object.ports == (3306, 6446)
    assert found.problems == ()


@pytest.mark.parametrize("version", VERSIONS[:3])
def test_v8_ports_in_a_version_without_them_still_narrow(version: str) -> None:
    found = route(version, "TCPRoute", spec={"matches": {"ports": [80]}})
    assert isinstance(found.object, TCPRoute)
    assert found.object.ports == (80,)
    assert [problem.severity for problem in found.problems] == [Severity.WARNING]


def test_f2_a_bad_port_is_left_out_and_the_others_stand() -> None:
    found = route("v1alpha4", "TCPRoute", spec={"matches": {"ports": [80, "http", 443]}})
    assert isinstance(found.object, TCPRoute)
    assert found.object.ports == (80, 443)
    assert [problem.field for problem in found.problems] == ["spec.matches.ports[1]"]


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute"])
@pytest.mark.parametrize(
    "fields",
    [
        {"spec": {"matches": {"ports": [0]}}},
        {"spec": {"matches": {"ports": ["http", None]}}},
        {"spec": {"matches": {"ports": 80}}},
        {"spec": {"matches": {"port": 80}}},
        {"spec": {"matches": [{"ports": [80]}]}},
        {"spec": {"ports": [80]}},
        {"spec": "x"},
        {"ports": [80]},
        {"matches": [{"ports": [80]}]},
    ],
)
def test_f2_ports_that_come_to_nothing_are_not_all_ports(kind: str, fields: dict[str, Any]) -> None:
    found = route("v1alpha4", kind, **fields)
    assert found.object is None
    assert found.problems
    assert not found.ignored


def test_a_udp_route_is_read() -> None:
    found = route("v1alpha4", "UDPRoute", spec={"matches": {"ports": [53]}})
    assert isinstance(found.object, UDPRoute)
    assert found.object.ports == (53,)
