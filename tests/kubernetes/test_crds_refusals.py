"""What an API server with our definitions and our webhook refuses, warns of, prunes and lets through."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from raw_api import MERGE, RawApi
from smi_cluster import PLURALS, UNCHECKED, SmiCluster, smi_cluster

NUMBERS = itertools.count(1)
ACCOUNT = {"kind": "ServiceAccount", "name": "api"}
SOURCES = [{"kind": "ServiceAccount", "name": "web"}]
RULES = [{"kind": "TCPRoute", "name": "ports"}]


@pytest.fixture(scope="module")
def cluster(api: RawApi, shared_namespace: str) -> Iterator[SmiCluster]:
    with smi_cluster(api, shared_namespace) as made:
        yield made


def document(kind: str, version: str, **body: Any) -> dict[str, Any]:
    head = {"apiVersion": f"{PLURALS[kind][0]}/{version}", "kind": kind, "metadata": {"name": f"x-{next(NUMBERS)}"}}
    return {**head, **body}


def split(version: str, weight: object, **spec: Any) -> dict[str, Any]:
    backends = [{"service": "web", "weight": weight}]
    return document("TrafficSplit", version, spec={"service": "web", "backends": backends, **spec})


def target(version: str, **changed: Any) -> dict[str, Any]:
    return document(
        "TrafficTarget", version, spec={"destination": ACCOUNT, "sources": SOURCES, "rules": RULES, **changed}
    )


def group(**match: Any) -> dict[str, Any]:
    return document("HTTPRouteGroup", "v1alpha4", spec={"matches": [{"name": "m", **match}]})


def policy(**changed: Any) -> dict[str, Any]:
    spec = {"sources": SOURCES, "hosts": ["api.example.org"], "ports": [{"number": 443, "protocol": "tls"}], **changed}
    return document("EgressPolicy", "v1alpha1", spec=spec)


REFUSED = [
    ("spec.backends[0].weight", split("v1alpha2", 0.5)),
    ("spec.backends[0].weight", split("v1alpha3", -1)),
    ("spec.backends[0].weight", split("v1alpha4", "50")),
    ("spec.backends[0].weight", split("v1alpha1", "many")),
    ("spec.backends[0].weight", split("v1alpha1", "-500m")),
    ("spec.backends", document("TrafficSplit", "v1alpha4", spec={"service": "web"})),
    ("spec.service", split("v1alpha2", 1, service="web.elsewhere")),
    ("spec.matches[0]", split("v1alpha4", 1, matches=[{"kind": "TCPRoute", "name": "x"}])),
    ("spec.destination.namespace", target("v1alpha3", destination={**ACCOUNT, "namespace": "elsewhere"})),
    ("destination.namespace", document("TrafficTarget", "v1alpha1", destination={**ACCOUNT, "namespace": "elsewhere"},
                                       sources=SOURCES, specs=RULES)),
    ("spec.sources", target("v1alpha3", sources=[])),
    ("spec.rules", target("v1alpha3", rules=[])),
    ("spec.destination.port", target("v1alpha2", destination={**ACCOUNT, "port": 70000})),
    ("spec.destination.port", target("v1alpha2", destination={**ACCOUNT, "port": "70000"})),
    ("spec.matches[0].pathRegex", group(pathRegex="(")),
    ("spec.matches[0].headers[0].x", group(headers=[{"x": "("}])),
    ("spec.matches[0].headers", group(headers="x")),
    ("spec.matches[0].methods[0]", group(methods=["no method"])),
    ("spec.matches.ports[0]", document("TCPRoute", "v1alpha4", spec={"matches": {"ports": [0]}})),
    ("spec.matches.ports[0]", document("UDPRoute", "v1alpha4", spec={"matches": {"ports": ["dns"]}})),
    ("spec.sources", policy(sources=[])),
    ("spec.hosts[0]", policy(hosts=["*"])),
    ("spec.cidrs[0]", policy(cidrs=["203.0.113.7/24"])),
    ("spec.ports[0].protocol", policy(ports=[{"number": 443, "protocol": "quic"}])),
    ("spec", policy(hosts=[])),
]  # fmt: skip


@pytest.mark.parametrize(("path", "raw"), REFUSED)
def test_an_invalid_object_is_refused_with_the_name_of_its_field(
    cluster: SmiCluster, path: str, raw: dict[str, Any]
) -> None:
    answer = cluster.create(raw)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert path in {cause["field"] for cause in answer.causes}
    assert path in answer.message
    assert cluster.api("GET", cluster.path(raw["kind"], "v1alpha3", raw["metadata"]["name"])).code == 404


@pytest.mark.parametrize(
    ("word", "raw"),
    [
        ("spec.rules", target("v1alpha2", rules=[])),
        ("spec.sources[0].kind", target("v1alpha3", sources=[{"kind": "Group", "name": "web"}])),
        ("spec.backends", split("v1alpha4", 0)),
        ("IdentityBinding", document("IdentityBinding", "v1alpha4", spec={"schemes": {"serviceAccount": "api"}})),
    ],
)
def test_what_only_looks_wrong_is_stored_with_a_warning(cluster: SmiCluster, word: str, raw: dict[str, Any]) -> None:
    answer = cluster.create(raw)
    answer.expect(201)
    assert [warning for warning in answer.warnings if word in warning]


def test_a_dry_run_is_judged_and_stores_nothing(cluster: SmiCluster) -> None:
    raw = split("v1alpha4", 1)
    cluster.create(raw, dryRun="All").expect(201)
    cluster.create(split("v1alpha4", 1, service="web.elsewhere"), dryRun="All").expect(422)
    assert cluster.api("GET", cluster.path("TrafficSplit", "v1alpha4", raw["metadata"]["name"])).code == 404


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha4"])
def test_an_object_that_is_wrong_already_can_be_labelled_and_deleted(cluster: SmiCluster, version: str) -> None:
    weight = "1" if version == "v1alpha1" else 1
    raw = split(version, weight, service="web.elsewhere")
    raw["metadata"] |= {"labels": {UNCHECKED: "yes"}, "finalizers": ["weft.test/keep"]}
    name = cluster.create(raw).expect(201)["metadata"]["name"]
    path = cluster.path("TrafficSplit", version, name)
    relabelled = {"metadata": {"labels": {UNCHECKED: None, "team": "a"}}}
    answer = cluster.api("PATCH", path, relabelled, content_type=MERGE)
    answer.expect(200)
    assert [warning for warning in answer.warnings if "spec.service" in warning]
    worse = {"spec": {"service": "api.elsewhere"}}
    assert cluster.api("PATCH", path, worse, content_type=MERGE).code == 422
    cluster.api("DELETE", path).expect(200)
    cluster.api("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE).expect(200)
    assert cluster.api("GET", path).code == 404


def test_v9_unknown_fields_are_pruned_with_a_warning_and_refused_by_kubectl(cluster: SmiCluster) -> None:
    raw = split("v1alpha4", 1, wieght=3)
    assert cluster.create(raw, fieldValidation="Strict").code == 400
    answer = cluster.create(raw)
    assert set(answer.expect(201)["spec"]) == {"service", "backends"}
    assert [warning for warning in answer.warnings if "spec.wieght" in warning]


@pytest.mark.parametrize("version", ["v1alpha2", "v1alpha3", "v1alpha4"])
@pytest.mark.parametrize("weight", [0.5, -1, "50", "500m", True])
def test_v5_a_weight_that_is_no_whole_number_is_refused_with_its_path(
    cluster: SmiCluster, version: str, weight: object
) -> None:
    answer = cluster.create(split(version, weight))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert "spec.backends[0].weight" in {cause["field"] for cause in answer.causes}


def test_v9_a_port_that_old_clients_write_into_access_v1alpha3_is_kept(cluster: SmiCluster) -> None:
    """As the conformance tests of SMI write it, and look for it afterwards."""
    raw = target("v1alpha3", destination={**ACCOUNT, "port": "9091"})
    answer = cluster.create(raw, fieldValidation="Strict")
    assert answer.expect(201)["spec"]["destination"]["port"] == "9091"
    assert [warning for warning in answer.warnings if "limited to port 9091 all the same" in warning]


def test_v6_headers_keep_their_shape(cluster: SmiCluster) -> None:
    for headers in ({"x-user": ".*", "host": "a"}, [{"x-user": ".*"}, {"host": "a"}]):
        raw = group(headers=headers)
        assert cluster.create(raw, fieldValidation="Strict").expect(201)["spec"]["matches"][0]["headers"] == headers


def test_a_conversion_that_fails_names_the_object(cluster: SmiCluster) -> None:
    raw = split("v1alpha1", "9E")
    raw["spec"]["backends"].append({"service": "other", "weight": "1m"})
    raw["metadata"]["labels"] = {UNCHECKED: "yes"}
    answer = cluster.create(raw)
    assert answer.code == 500
    assert f"TrafficSplit {cluster.namespace}/{raw['metadata']['name']}: spec.backends:" in answer.message
