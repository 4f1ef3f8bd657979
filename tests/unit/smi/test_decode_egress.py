"""EgressPolicies as they are read: what is right, and that one mistake leaves nothing granted (rules E2 to E9)."""

from __future__ import annotations

from typing import Any

import pytest

from kube.problem import Problem
from smi.decode import read
from smi.kinds import EgressPolicy, EgressPort, EgressProtocol, RuleRef

SOURCES = [{"kind": "ServiceAccount", "name": "buyer"}]
TLS = [{"number": 443, "protocol": "tls"}]
HTTP = [{"number": 80, "protocol": "http"}]
TCP = [{"number": 5432, "protocol": "tcp"}]


def decoded(**spec: Any) -> tuple[Any, tuple[Problem, ...]]:
    metadata = {"name": "p", "namespace": "shop"}
    made = read({"apiVersion": "weft.dev/v1alpha1", "kind": "EgressPolicy", "metadata": metadata, "spec": spec})
    return made.object, made.problems


def test_e3_names_are_read_without_case_and_final_dot() -> None:
    policy, problems = decoded(sources=SOURCES, hosts=["API.example.org.", "*.Example.org"], ports=TLS)
    assert problems == ()
    assert policy == EgressPolicy(
        namespace="shop", name="p", api_version="weft.dev/v1alpha1", sources=("buyer",),
        hosts=("api.example.org", "*.example.org"), ports=(EgressPort(number=443, protocol=EgressProtocol.TLS),),
    )  # fmt: skip


def test_e7_matches_are_references_to_route_groups() -> None:
    matches = [{"kind": "HTTPRouteGroup", "name": "reads", "matches": ["get"]}]
    policy, problems = decoded(sources=SOURCES, hosts=["a.test"], ports=HTTP, matches=matches)
    assert problems == ()
    assert policy.matches == (RuleRef(kind="HTTPRouteGroup", name="reads", matches=("get",)),)


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.sources", {"sources": [], "hosts": ["a.test"], "ports": TLS}),
        ("spec.sources", {"hosts": ["a.test"], "ports": TLS}),
        ("spec.sources[0].kind", {"sources": [{"kind": "User", "name": "a"}], "hosts": ["a.test"], "ports": TLS}),
        ("spec.sources[0].namespace", {
            "sources": [{**SOURCES[0], "namespace": "other"}], "hosts": ["a.test"], "ports": TLS}),
        ("spec.ports", {"sources": SOURCES, "hosts": ["a.test"], "ports": []}),
        ("spec.ports[0].protocol", {
            "sources": SOURCES, "hosts": ["a.test"], "ports": [{"number": 1, "protocol": "udp"}]}),
        ("spec.ports[0].number", {"sources": SOURCES, "hosts": ["a.test"], "ports": [{"protocol": "tls"}]}),
        ("spec.ports[0].number", {
            "sources": SOURCES, "hosts": ["a.test"], "ports": [{"number": 15001, "protocol": "tls"}]}),
        ("spec", {"sources": SOURCES, "ports": TLS}),
        ("spec.hosts[0]", {"sources": SOURCES, "hosts": ["*"], "ports": TLS}),
        ("spec.hosts[1]", {"sources": SOURCES, "hosts": ["a.test", "a.*.test"], "ports": TLS}),
        ("spec.hosts[0]", {"sources": SOURCES, "hosts": ["203.0.113.7"], "ports": TLS}),
        ("spec.hosts[0]", {"sources": SOURCES, "hosts": ["a b"], "ports": TLS}),
        ("spec.hosts[0]", {"sources": SOURCES, "hosts": [f"{'a.' * 130}test"], "ports": TLS}),
        ("spec.cidrs[0]", {"sources": SOURCES, "cidrs": ["203.0.113.7"], "ports": TCP}),
        ("spec.cidrs[0]", {"sources": SOURCES, "cidrs": ["203.0.113.7/24"], "ports": TCP}),
        ("spec.cidrs[0]", {"sources": SOURCES, "cidrs": ["203.0.113.0/33"], "ports": TCP}),
        ("spec.ports[0].protocol", {"sources": SOURCES, "hosts": ["a.test"], "cidrs": ["::/0"], "ports": TCP}),
        ("spec.ports[0].protocol", {
            "sources": SOURCES, "hosts": ["a.test"], "ports": TLS,
            "matches": [{"kind": "HTTPRouteGroup", "name": "g"}]}),
        ("spec.matches", {"sources": SOURCES, "hosts": ["a.test"], "ports": HTTP, "matches": []}),
        ("spec.matches[0].kind", {
            "sources": SOURCES, "hosts": ["a.test"], "ports": HTTP, "matches": [{"kind": "TCPRoute", "name": "g"}]}),
        ("spec.host", {"sources": SOURCES, "host": ["a.test"], "hosts": ["b.test"], "ports": TLS}),
    ],
)  # fmt: skip
def test_e9_a_mistake_leaves_nothing_granted_and_its_field_is_named(field: str, spec: dict[str, Any]) -> None:
    policy, problems = decoded(**spec)
    assert policy is None
    assert [problem.field for problem in problems] == [field]


def test_e9_whatever_is_written_is_answered_with_problems() -> None:
    mistakes: list[Any] = [None, 3, "text", [], {}, [None], [3], [[]]]
    for wrong in mistakes:
        for field in ("sources", "hosts", "cidrs", "ports", "matches"):
            sound: dict[str, Any] = {"sources": SOURCES, "hosts": ["a.test"], "ports": HTTP}
            policy, problems = decoded(**(sound | {field: wrong}))
            assert (policy is None) == bool(problems)
    assert decoded()[0] is None
