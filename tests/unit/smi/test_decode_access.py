"""TrafficTarget in every version: what cannot be read grants nothing."""

from __future__ import annotations

from typing import Any

import pytest

from kube.problem import Severity
from smi.decode import Read, read
from smi.kinds import RuleRef, Subject, TrafficTarget

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3")
ACCOUNT = {"kind": "ServiceAccount", "name": "api", "namespace": "shop"}
CALLER = {"kind": "ServiceAccount", "name": "web"}
GROUP = {"kind": "HTTPRouteGroup", "name": "routes", "matches": ["metrics"]}
DEFAULT: dict[str, Any] = {"destination": ACCOUNT, "sources": [CALLER], "rules": [GROUP]}


def target(version: str, **fields: Any) -> Read:
    """A TrafficTarget in the shape of its version."""
    body = {**DEFAULT, **fields}
    metadata = {"name": "t", "namespace": "shop"}
    raw = {"apiVersion": f"access.smi-spec.io/{version}", "kind": "TrafficTarget", "metadata": metadata}
    if version == "v1alpha1":
        body["specs"] = body.pop("rules")
        return read({**raw, **body})
    return read({**raw, "spec": body})


def field(version: str, path: str) -> str:
    """A field path of the later versions, as this version has it."""
    return path.replace("rules", "specs") if version == "v1alpha1" else f"spec.{path}"


def understood(found: Read) -> TrafficTarget:
    assert isinstance(found.object, TrafficTarget)
    return found.object


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_becomes_the_same_target(version: str) -> None:
    found = target(version)
    assert found.problems == ()
    assert understood(found) == TrafficTarget(
        namespace="shop",
        name="t",
        api_version=f"access.smi-spec.io/{version}",
        destination=Subject(kind="ServiceAccount", name="api", namespace="shop"),
        sources=(Subject(kind="ServiceAccount", name="web"),),
        rules=(RuleRef(kind="HTTPRouteGroup", name="routes", matches=("metrics",)),),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("written", [8080, "8080", 8080.0])
def test_v7_the_port_of_the_destination_is_kept(version: str, written: object) -> None:
    found = target(version, destination={**ACCOUNT, "port": written})
    assert understood(found).destination.port == 8080
    warned = [problem.severity for problem in found.problems]
    assert warned == ([Severity.WARNING] if version == "v1alpha3" else [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("written", [0, 65536, -1, "http", "080800", True, 80.5, [80], float("nan")])
def test_v7_a_port_that_is_none_grants_nothing_instead_of_every_port(version: str, written: object) -> None:
    found = target(version, destination={**ACCOUNT, "port": written})
    assert found.object is None
    assert [(problem.field, problem.rule) for problem in found.problems] == [(field(version, "destination.port"), "V7")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a3_a_missing_namespace_stays_missing(version: str) -> None:
    found = understood(target(version, destination={"kind": "ServiceAccount", "name": "api", "namespace": None}))
    assert found.destination.namespace == ""
    assert found.sources[0].namespace == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_a6_no_matches_and_empty_matches_stay_apart(version: str) -> None:
    rules = [{"kind": "HTTPRouteGroup", "name": "a"}, {"kind": "HTTPRouteGroup", "name": "b", "matches": []}]
    assert [rule.matches for rule in understood(target(version, rules=rules)).rules] == [None, ()]


@pytest.mark.parametrize("version", VERSIONS)
def test_a7_empty_lists_stay_empty(version: str) -> None:
    found = understood(target(version, sources=[], rules=None))
    assert found.sources == ()
    assert found.rules == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_f4_other_kinds_stay_for_the_mesh_to_refuse(version: str) -> None:
    found = understood(target(version, sources=[{"kind": "Group", "name": "web"}], rules=[{"kind": "X", "name": "x"}]))
    assert found.sources == (Subject(kind="Group", name="web"),)
    assert found.rules == (RuleRef(kind="X", name="x"),)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("destination", "path"),
    [
        (None, "destination"),
        ([], "destination"),
        ("api", "destination"),
        ({"kind": "ServiceAccount"}, "destination.name"),
        ({"name": "api"}, "destination.kind"),
        ({**ACCOUNT, "name": "a/sa/b"}, "destination.name"),
        ({**ACCOUNT, "name": 5}, "destination.name"),
        ({**ACCOUNT, "namespace": "x/ns/y"}, "destination.namespace"),
        ({**ACCOUNT, "ports": [80]}, "destination.ports"),
    ],
)
def test_f2_a_destination_that_cannot_be_read_grants_nothing(version: str, destination: object, path: str) -> None:
    found = target(version, destination=destination)
    assert found.object is None
    assert [problem.field for problem in found.problems] == [field(version, path)]
    assert "nothing is granted" in found.problems[0].message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("web", "sources[0]"),
        (None, "sources[0]"),
        ({"kind": "ServiceAccount"}, "sources[0].name"),
        ({"kind": "ServiceAccount", "name": "*"}, "sources[0].name"),
        ({"kind": "ServiceAccount", "name": "a/ns/b"}, "sources[0].name"),
        ({"kind": "ServiceAccount", "name": "a", "namespace": "*"}, "sources[0].namespace"),
        ({"kind": "ServiceAccount", "name": "a", "podSelector": {}}, "sources[0].podSelector"),
    ],
)
def test_f1_a_bad_source_is_left_out_and_its_neighbour_stands(version: str, source: object, path: str) -> None:
    found = target(version, sources=[source, CALLER])
    assert understood(found).sources == (Subject(kind="ServiceAccount", name="web"),)
    assert [problem.field for problem in found.problems] == [field(version, path)]
    assert "granted nothing" in found.problems[0].message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("rule", "path", "kind"),
    [
        ("routes", "rules[0]", ""),
        ({"kind": "HTTPRouteGroup"}, "rules[0].name", "HTTPRouteGroup"),
        ({"name": "routes"}, "rules[0].kind", ""),
        ({**GROUP, "matches": "metrics"}, "rules[0].matches", "HTTPRouteGroup"),
        ({**GROUP, "matches": [5]}, "rules[0].matches[0]", "HTTPRouteGroup"),
        ({**GROUP, "matches": ["metrics", ""]}, "rules[0].matches[1]", "HTTPRouteGroup"),
        ({"kind": "HTTPRouteGroup", "name": "routes", "match": ["metrics"]}, "rules[0].match", "HTTPRouteGroup"),
        ({"kind": "TCPRoute", "name": "ports", "ports": [80]}, "rules[0].ports", "TCPRoute"),
    ],
)
def test_f2_a_bad_rule_leads_nowhere_but_still_narrows(version: str, rule: object, path: str, kind: str) -> None:
    tcp = {"kind": "TCPRoute", "name": "all"}
    found = target(version, rules=[rule, tcp])
    assert understood(found).rules == (RuleRef(kind=kind, name=""), RuleRef(kind="TCPRoute", name="all"))
    assert [problem.field for problem in found.problems] == [field(version, path)]
    assert "nothing is granted through this rule" in found.problems[0].message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["sources", "rules"])
@pytest.mark.parametrize("written", ["web", {"kind": "ServiceAccount", "name": "web"}, 5, True])
def test_f1_a_list_that_is_none_grants_nothing(version: str, key: str, written: object) -> None:
    found = target(version, **{key: written})
    assert found.object is None
    assert [problem.field for problem in found.problems] == [field(version, key)]


@pytest.mark.parametrize("version", VERSIONS[1:])
@pytest.mark.parametrize("spec", [None, [], "x"])
def test_a_target_without_a_spec_grants_nothing(version: str, spec: object) -> None:
    metadata = {"name": "t", "namespace": "shop"}
    raw = {"apiVersion": f"access.smi-spec.io/{version}", "kind": "TrafficTarget", "metadata": metadata, "spec": spec}
    found = read(raw)
    assert found.object is None
    assert [problem.field for problem in found.problems] == ["spec"]


def test_v7_a_port_of_a_source_means_nothing() -> None:
    found = target("v1alpha1", sources=[{**CALLER, "port": 80}])
    assert understood(found).sources == (Subject(kind="ServiceAccount", name="web"),)
    assert [problem.severity for problem in found.problems] == [Severity.WARNING]


def test_the_shape_of_another_version_is_said_to_be_unknown() -> None:
    metadata = {"name": "t", "namespace": "shop"}
    raw = {"apiVersion": "access.smi-spec.io/v1alpha1", "kind": "TrafficTarget", "metadata": metadata, "spec": DEFAULT}
    found = read(raw)
    assert found.object is None
    assert {problem.field for problem in found.problems} == {"spec", "destination"}
