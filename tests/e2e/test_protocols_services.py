"""Services of every kind, end to end: pods by name, headless, without selector, several on one port, ExternalName.

Each is talked to in every protocol of the matrix; what the protocols do is shown in `test_protocols_matrix`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import protocol_mesh
import world
from local.state import pods
from protocol_mesh import Found, ProtocolMesh, service
from protocol_rows import ROWS, Row
from world import Manifest, manifests, thing

FILE = "services.yaml"


def stateful_set(name: str, replicas: int) -> Manifest:
    """Pods that tell their own name in every protocol."""
    template = world.deployment(
        name, "server", ["sh", "-c", f"exec {sys.executable} {protocol_mesh.SERVER} $(hostname)"], [ROWS[-1].port]
    )["spec"]
    spec = template | {"serviceName": name, "replicas": replicas, "podManagementPolicy": "Parallel"}
    return thing("apps/v1", "StatefulSet", name, spec=spec)


def without_address(made: Manifest) -> Manifest:
    return made | {"spec": made["spec"] | {"clusterIP": "None"}}


def without_selector(made: Manifest) -> Manifest:
    return made | {"spec": {key: value for key, value in made["spec"].items() if key != "selector"}}


def at_addresses(name: str, *endpoints: Mapping[str, Any], family: str = "IPv4") -> Manifest:
    """Somebody's own EndpointSlice for a Service, with every row's port."""
    ports = [{"name": row.port_name, "port": row.port, "protocol": "TCP"} for row in ROWS]
    item = thing(
        "discovery.k8s.io/v1", "EndpointSlice", f"{name}-{family.lower()}",
        addressType=family, endpoints=list(endpoints), ports=ports,
    )  # fmt: skip
    item["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    return item


@pytest.fixture(scope="module")
def found(protocols: ProtocolMesh) -> Iterator[Mapping[str, Found]]:
    """What callers found, by the name of what they called."""
    bare = protocols.pod_address("bare")
    meshed = next(name for name in _pods(protocols) if name.startswith(f"{world.NAMESPACE}/echo-v1-"))
    pod = {"kind": "Pod", "namespace": world.NAMESPACE, "name": meshed.split("/")[1]}
    opposite = service("said-otherwise", {"version": "echo-v2"})
    for port in opposite["spec"]["ports"]:
        port["appProtocol"] = "tcp"
    protocols.write_unsettled(FILE, manifests(
        stateful_set("db", 2),
        without_address(service("db", {"app": "db"})),
        without_address(service("group", {"group": "split"})),
        service("second", {"version": "echo-v1"}),
        opposite,
        thing("v1", "Service", "elsewhere", spec={
            "type": "ExternalName", "externalName": f"echo-v2.{world.NAMESPACE}.svc.cluster.local"}),
        without_selector(service("by-address", {})),
        at_addresses("by-address", {"addresses": [bare]}),
        without_selector(service("of-a-pod", {})),
        at_addresses("of-a-pod", {"addresses": [protocols.pod_address("echo-v2")]}),
        without_selector(service("by-pod", {})),
        at_addresses("by-pod", {"addresses": [protocols.pod_address("echo-v1")], "targetRef": pod}),
    ))  # fmt: skip
    protocols.wait_until(lambda: _ready(protocols, "db-0", "db-1"), "the StatefulSet's pods are ready")
    protocols.settle()
    calls = {
        "db-0": ("client", "db-0.db", "--container"),
        "db-1": ("client", f"db-1.db.{world.NAMESPACE}.svc.cluster.local", "--container"),
        "db": ("client", "db", "--container"),
        "db-0, limited": ("limited", "db-0.db", "--container"),
        "db-0, stranger": ("stranger", "db-0.db", "--container"),
        "second": ("client", "second"),
        "said-otherwise": ("client", "said-otherwise"),
        "echo-v2": ("client", "echo-v2"),
        "elsewhere": ("client", "elsewhere"),
        "by-address": ("client", "by-address"),
        "of-a-pod": ("client", "of-a-pod"),
        "by-pod": ("client", "by-pod"),
        "by-pod, limited": ("limited", "by-pod"),
    }
    with ThreadPoolExecutor(3) as pool:
        talks = {name: pool.submit(protocols.talk, *words) for name, words in calls.items()}
        yield {name: talk.result() for name, talk in talks.items()}
    protocols.remove(FILE)
    protocols.wait_until(lambda: not _ready(protocols, "db-0"), "the StatefulSet is gone")


def _pods(mesh: ProtocolMesh) -> Mapping[str, Mapping[str, Any]]:
    return pods(mesh.name)


def _ready(mesh: ProtocolMesh, *names: str) -> bool:
    known = _pods(mesh)
    return all(known.get(f"{world.NAMESPACE}/{name}", {}).get("ready") for name in names)


def _names(found: Found) -> dict[str, dict[str, int]]:
    return {row: seen["names"] for row, seen in found.items()}


def _all(name: str) -> dict[str, dict[str, int]]:
    return {str(row): {name: 2} for row in ROWS}


def _refusals(found: Found) -> dict[str, str]:
    return {row: seen["refused"] for row, seen in found.items()}


def _refusal(row: Row) -> str:
    if row.speaks == "grpc":
        return "PERMISSION_DENIED"
    return "403" if row.is_http else "closed"


@pytest.mark.parametrize("name", ["db-0", "db-1"])
def test_h5_a_pod_of_a_stateful_set_is_reached_by_its_own_name(found: Mapping[str, Found], name: str) -> None:
    assert _names(found[name]) == _all(name)


def test_h5_the_name_of_a_headless_service_leads_to_its_pods(found: Mapping[str, Found]) -> None:
    for row, names in _names(found["db"]).items():
        assert set(names) <= {"db-0", "db-1"}, row
        assert sum(names.values()) == 2, row


def test_h5_by_pod_name_too_the_server_refuses_what_no_rule_allows(found: Mapping[str, Found]) -> None:
    assert _refusals(found["db-0, limited"]) == {str(row): _refusal(row) for row in ROWS}
    assert _refusals(found["db-0, stranger"]) == {str(row): "closed" for row in ROWS}


def test_two_services_may_lead_to_the_same_pod_and_port(found: Mapping[str, Found]) -> None:
    assert _names(found["second"]) == _all("echo-v1")


def test_h2_where_services_contradict_each_other_each_is_taken_at_its_word_and_judged_by_rules_of_its_kind(
    protocols: ProtocolMesh, found: Mapping[str, Found]
) -> None:
    """The other Service calls all ports TCP; the client's rule for requests opens no connection there (A8, F3)."""
    want = {str(row): {} if row.is_http else {"echo-v2": 2} for row in ROWS}
    assert _names(found["said-otherwise"]) == want
    assert _names(found["echo-v2"]) == _all("echo-v2")
    assert {problem["rule"] for problem in protocols.problems("said-otherwise")} == {"H2"}


def test_an_external_name_that_is_a_service_means_that_service(found: Mapping[str, Found]) -> None:
    assert _names(found["elsewhere"]) == _all("echo-v2")


def test_h4_a_service_without_selector_leads_to_the_addresses_somebody_wrote_down(found: Mapping[str, Found]) -> None:
    assert _names(found["by-address"]) == _all("bare")


def test_h5_an_address_that_is_a_meshed_pods_is_known_for_one(found: Mapping[str, Found]) -> None:
    assert _names(found["of-a-pod"]) == _all("echo-v2")


def test_h5_an_endpoint_that_names_a_meshed_pod_is_under_its_rules(found: Mapping[str, Found]) -> None:
    assert _names(found["by-pod"]) == _all("echo-v1")
    assert _refusals(found["by-pod, limited"]) == {str(row): _refusal(row) for row in ROWS}
