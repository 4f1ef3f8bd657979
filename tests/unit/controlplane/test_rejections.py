"""What an Envoy refuses is told on the object a person can mend: the Service, its split, or else the proxy's pod."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.duties.reasons import OTHERWISE, REASONS, reason
from controlplane.duties.rejections import rejections
from kube.problem import Problem, Ref
from mesh.model import Destination, Mesh, PortId, Protocol, Route, ServiceId
from xds.status import ProxyStatus, State, TypeStatus

ROOT = Path(__file__).parents[3]
CATALOG = PortId(ServiceId("shop", "catalog"), 80)
SERVICE, SPLIT = Ref("Service", "shop", "catalog"), Ref("TrafficSplit", "shop", "canary")
ROUTES = (Route((), (), str(SPLIT)), Route((), (), "Service shop/catalog"))
MESH = Mesh(destinations={CATALOG: Destination(CATALOG, (), Protocol.HTTP, ROUTES, ())})


def refusing(kind: str, *names: str, node: str = "shop/web-1", state: State = State.REJECTED) -> ProxyStatus:
    status = TypeStatus(state, "", "", "it is too long", names, -1, 1, 1)
    return ProxyStatus(node, 0.0, "delta", "spiffe://cluster.local/ns/shop/sa/web", True, {kind: status})


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("Cluster", "shop/catalog/80", {SERVICE}),
        ("Cluster", "shop/catalog/80/tcp", {SERVICE}),
        ("Cluster", "shop/catalog/80/http2", {SERVICE}),
        ("ClusterLoadAssignment", "shop/catalog/80", {SERVICE}),
        ("Listener", "outbound/shop/catalog/80", {SERVICE}),
        ("RouteConfiguration", "outbound/shop/catalog/80", {SERVICE, SPLIT}),
        ("RouteConfiguration", "inbound/8080", {Ref("Pod", "shop", "web-1")}),
        ("Cluster", "shop/gone/80", {Ref("Pod", "shop", "web-1")}),
        ("Listener", "", {Ref("Pod", "shop", "web-1")}),
    ],
)
def test_a_resource_leads_to_the_objects_it_was_made_of(kind: str, name: str, told: set[Ref]) -> None:
    found = dict(rejections([refusing(kind, *([name] if name else []))], MESH))
    assert found.keys() == told
    assert {said.note for said in found.values()} == {
        f"Envoy refused {kind} {name}".rstrip() + " and goes on with what it had: it is too long"
    }


def test_many_proxies_that_refuse_the_same_are_one_thing_to_tell() -> None:
    proxies = [refusing("Cluster", "shop/catalog/80", node=f"shop/web-{number}") for number in range(50)]
    assert len(set(rejections(proxies, MESH))) == 1


@pytest.mark.parametrize("state", [state for state in State if state is not State.REJECTED])
def test_nothing_is_told_of_proxies_that_refuse_nothing(state: State) -> None:
    assert list(rejections([refusing("Cluster", "shop/catalog/80", state=state)], MESH)) == []


def test_every_rule_that_problems_name_has_its_reason() -> None:
    code = [
        path.read_text() for package in ("kube", "smi", "sources", "mesh") for path in (ROOT / package).glob("*.py")
    ]
    rules = {rule for text in code for rule in re.findall(r'[ (]"([VTAFH]\d+|decode|ports)"[,)]', text)}
    assert {"T6", "A9", "F2", "decode"} < rules
    assert rules <= REASONS.keys()


def test_reasons_are_single_words_and_a_new_rule_has_one_too() -> None:
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", word) for word in (*REASONS.values(), OTHERWISE))
    assert reason(Problem(SPLIT, "", "x", "T6")) == "BackendLeftOut"
    assert reason(Problem(SPLIT, "", "x", "new rule")) == OTHERWISE
