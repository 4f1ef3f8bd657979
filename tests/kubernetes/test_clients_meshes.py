"""Manifests as users of other SMI meshes have them: accepted as kubectl sends them, and meaning what they say.

Each is of our own writing, in the style of that mesh's guides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from raw_api import APPLY, MERGE, RawApi
from smi.decode import read
from smi.definitions import DEFINITIONS
from smi.kinds import HTTPRouteGroup, SmiObject, TCPRoute, TrafficSplit, TrafficTarget
from smi_cluster import SmiCluster, smi_cluster

STORED = {definition.kind: definition.stored for definition in DEFINITIONS}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

OPEN_SERVICE_MESH = """
kind: TrafficTarget
apiVersion: access.smi-spec.io/v1alpha3
metadata: {name: reader-calls-library, namespace: NS}
spec:
  destination: {kind: ServiceAccount, name: library, namespace: NS}
  rules:
  - kind: HTTPRouteGroup
    name: library-routes
    matches: [borrow, list]
  - kind: TCPRoute
    name: library-port
  sources:
  - {kind: ServiceAccount, name: reader, namespace: reading}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: library-routes, namespace: NS}
spec:
  matches:
  - name: list
    pathRegex: /books
    methods: [GET]
    headers:
    - "user-agent": ".*-client/*.*"
    - "client-app": "reader"
  - name: borrow
    pathRegex: ".*borrow.*new"
    methods: [POST]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: library-port, namespace: NS}
spec:
  matches:
    ports: [14001]
---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: library-split, namespace: NS}
spec:
  service: library.NS
  backends:
  - {service: library-v1, weight: 75}
  - {service: library-v2, weight: 25}
"""

LINKERD = """
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: books-faults, namespace: NS}
spec:
  service: books
  backends:
  - {service: books, weight: 900m}
  - {service: error-injector, weight: 100m}
"""

CONSUL = """
apiVersion: specs.smi-spec.io/v1alpha1
kind: TCPRoute
metadata: {name: counter-tcp, namespace: NS}
---
kind: TrafficTarget
apiVersion: access.smi-spec.io/v1alpha1
metadata: {name: counter-callers, namespace: NS}
destination: {kind: ServiceAccount, name: counter, namespace: NS}
sources:
- {kind: ServiceAccount, name: board, namespace: NS}
specs:
- {kind: TCPRoute, name: counter-tcp}
"""

TRAEFIK_MESH = """
apiVersion: specs.smi-spec.io/v1alpha1
kind: HTTPRouteGroup
metadata: {name: everything, namespace: NS}
matches:
- {name: all, pathRegex: ".*", methods: ["*"]}
---
kind: TrafficTarget
apiVersion: access.smi-spec.io/v1alpha1
metadata: {name: who-may, namespace: NS}
destination: {kind: ServiceAccount, name: server, namespace: NS, port: "80"}
specs:
- kind: HTTPRouteGroup
  name: everything
  matches: [all]
sources:
- {kind: ServiceAccount, name: client, namespace: NS}
---
apiVersion: specs.smi-spec.io/v1alpha3
kind: HTTPRouteGroup
metadata: {name: paths, namespace: NS}
spec:
  matches:
  - {name: one, pathRegex: /one, methods: [GET]}
"""

ISTIO_ADAPTER = """
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: ratings-split, namespace: NS}
spec:
  service: ratings
  backends:
  - service: ratings-v1
    weight: 500m
  - service: ratings-v2
    weight: 1
---
apiVersion: split.smi-spec.io/v1alpha3
kind: TrafficSplit
metadata: {name: ratings-testers, namespace: NS}
spec:
  service: ratings
  matches:
  - {kind: HTTPRouteGroup, name: testers, apiGroup: specs.smi-spec.io}
  backends:
  - {service: ratings-v1, weight: 0}
  - {service: ratings-v2, weight: 100}
---
apiVersion: specs.smi-spec.io/v1alpha3
kind: HTTPRouteGroup
metadata: {name: testers, namespace: NS}
matches:
- name: firefox
  headers:
    user-agent: ".*Firefox.*"
"""

STYLES = {
    "open-service-mesh": OPEN_SERVICE_MESH,
    "linkerd": LINKERD,
    "consul": CONSUL,
    "traefik-mesh": TRAEFIK_MESH,
    "istio-adapter": ISTIO_ADAPTER,
}


@pytest.fixture(scope="module")
def cluster(api: RawApi, shared_namespace: str) -> Iterator[SmiCluster]:
    with smi_cluster(api, shared_namespace) as made:
        yield made


def documents(cluster: SmiCluster, style: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(STYLES[style].replace("NS", cluster.namespace)))


def path(cluster: SmiCluster, raw: dict[str, Any]) -> str:
    return cluster.path(raw["kind"], raw["apiVersion"].rpartition("/")[2], raw["metadata"]["name"])


def apply(cluster: SmiCluster, raw: dict[str, Any], **query: str) -> Any:
    """`kubectl apply --server-side`."""
    options = {"fieldManager": "kubectl", "fieldValidation": "Strict", **query}
    answer = cluster.api("PATCH", path(cluster, raw), raw, content_type=APPLY, **options)  # type: ignore[arg-type]
    assert answer.warnings == ()
    return answer.expect(200, 201)


@pytest.fixture(scope="module")
def read_back(cluster: SmiCluster) -> dict[str, SmiObject]:
    """What the control plane reads of all styles, by name."""
    found = {}
    for style in STYLES:
        for raw in documents(cluster, style):
            apply(cluster, raw)
            stored = read(cluster.read(raw["kind"], STORED[raw["kind"]], raw["metadata"]["name"]))
            assert isinstance(stored.object, SmiObject), stored.problems
            found[raw["metadata"]["name"]] = stored.object
    return found


def split(found: SmiObject) -> tuple[str, dict[str, int], list[str]]:
    assert isinstance(found, TrafficSplit)
    shares = {backend.service: backend.weight for backend in found.backends}
    return found.service, shares, [group.name for group in found.matches]


def test_open_service_mesh(read_back: dict[str, SmiObject]) -> None:
    target, group = read_back["reader-calls-library"], read_back["library-routes"]
    assert isinstance(target, TrafficTarget)
    assert [(source.namespace, source.name) for source in target.sources] == [("reading", "reader")]
    assert [(rule.kind, rule.matches) for rule in target.rules] == [
        ("HTTPRouteGroup", ("borrow", "list")),
        ("TCPRoute", None),
    ]
    assert isinstance(group, HTTPRouteGroup)
    listing = next(match for match in group.matches if match.name == "list")
    assert {header.name: header.regex for header in listing.headers} == {
        "user-agent": ".*-client/*.*",
        "client-app": "reader",
    }
    port = read_back["library-port"]
    assert isinstance(port, TCPRoute)
    assert port.ports == (14001,)
    root, shares, _ = split(read_back["library-split"])
    assert root == f"library.{target.namespace}"
    assert shares == {"library-v1": 75, "library-v2": 25}


def test_linkerd(read_back: dict[str, SmiObject]) -> None:
    assert split(read_back["books-faults"]) == ("books", {"books": 900, "error-injector": 100}, [])


def test_consul(read_back: dict[str, SmiObject]) -> None:
    target, route = read_back["counter-callers"], read_back["counter-tcp"]
    assert isinstance(target, TrafficTarget)
    assert (target.destination.name, target.destination.port) == ("counter", None)
    assert [(rule.kind, rule.name) for rule in target.rules] == [("TCPRoute", "counter-tcp")]
    assert isinstance(route, TCPRoute)
    assert route.ports == ()


def test_traefik_mesh(read_back: dict[str, SmiObject]) -> None:
    target, group = read_back["who-may"], read_back["everything"]
    assert isinstance(target, TrafficTarget)
    assert target.destination.port == 80
    assert isinstance(group, HTTPRouteGroup)
    assert [(match.path_regex, match.methods) for match in group.matches] == [(".*", frozenset())]


def test_the_adapter_of_istio(read_back: dict[str, SmiObject]) -> None:
    assert split(read_back["ratings-split"]) == ("ratings", {"ratings-v1": 500, "ratings-v2": 1000}, [])
    assert split(read_back["ratings-testers"]) == ("ratings", {"ratings-v1": 0, "ratings-v2": 100}, ["testers"])
    group = read_back["testers"]
    assert isinstance(group, HTTPRouteGroup)
    assert [header.name for match in group.matches for header in match.headers] == ["user-agent"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.usefixtures("read_back")
def test_applying_again_changes_nothing(cluster: SmiCluster, style: str) -> None:
    for raw in documents(cluster, style):
        before = cluster.api("GET", path(cluster, raw)).expect(200)["metadata"]["resourceVersion"]
        assert apply(cluster, raw)["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize("style", STYLES)
def test_the_client_side_apply_of_kubectl_finds_what_it_applied(cluster: SmiCluster, style: str) -> None:
    """It keeps what it sent in an annotation, and later patches what differs from the object it finds."""
    for raw in documents(cluster, style):
        raw["metadata"]["name"] += "-client"
        raw["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(raw)}
        created = cluster.create(raw, fieldValidation="Strict", fieldManager="kubectl-client-side-apply").expect(201)
        found = cluster.api("GET", path(cluster, raw)).expect(200)
        assert {key: found[key] for key in raw if key != "metadata"} == {
            key: raw[key] for key in raw if key != "metadata"
        }
        assert found["metadata"]["annotations"] == raw["metadata"]["annotations"]
        relabelled = {"metadata": {"labels": {"team": "a"}}}
        patched = cluster.api("PATCH", path(cluster, raw), relabelled, content_type=MERGE).expect(200)
        assert patched["metadata"]["generation"] == created["metadata"]["generation"]
