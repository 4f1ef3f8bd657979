"""The SMI kinds in an API server: every version is served, stored as the newest, and comes back as it went in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from custom_kind import CRDS
from raw_api import APPLY, MERGE, RawApi
from smi.convert import convert
from smi.decode import read
from smi.definitions import DEFINITIONS
from smi.kinds import TrafficTarget
from smi_cluster import PLURALS, SmiCluster, installed, shipped, smi_cluster

GROUPED = {definition.kind: definition for definition in DEFINITIONS}
NUMBERS = itertools.count(1)
ACCOUNT = {"kind": "ServiceAccount", "name": "api", "namespace": "shop"}
PORTED = {**ACCOUNT, "port": "80"}
SOURCES = [{"kind": "ServiceAccount", "name": "web"}]
RULES = [{"kind": "HTTPRouteGroup", "name": "routes", "matches": ["a"]}, {"kind": "TCPRoute", "name": "ports"}]
MATCHES = [{"name": "a", "pathRegex": "/a", "methods": ["GET"]}, {"name": "b"}]
HEADED = [{"name": "a", "headers": {"host": "x"}}, {"name": "b", "headers": [{"x": "1"}, {"y": "2"}]}]
BETA = [{"apiGroup": "specs.smi-spec.io", "kind": "HTTPRouteGroup", "name": "beta"}]


def backends(*weights: object) -> dict[str, Any]:
    shares = [{"service": f"web-{index}", "weight": weight} for index, weight in enumerate(weights)]
    return {"service": "web", "backends": shares}


WRITTEN: list[tuple[str, str, dict[str, Any]]] = [
    ("TrafficSplit", "v1alpha1", {"spec": backends("0", "100")}),
    ("TrafficSplit", "v1alpha1", {"spec": backends("500m", "1", 2)}),
    ("TrafficSplit", "v1alpha2", {"spec": backends(10, 90)}),
    ("TrafficSplit", "v1alpha3", {"spec": {**backends(10, 90), "matches": BETA}}),
    ("TrafficSplit", "v1alpha4", {"spec": {**backends(10, 90), "matches": BETA}}),
    ("TrafficTarget", "v1alpha1", {"destination": {**ACCOUNT, "port": 80}, "sources": SOURCES, "specs": RULES}),
    ("TrafficTarget", "v1alpha2", {"spec": {"destination": {**ACCOUNT, "port": "80"}, "sources": SOURCES}}),
    ("TrafficTarget", "v1alpha2", {"spec": {"destination": ACCOUNT}}),
    ("TrafficTarget", "v1alpha3", {"spec": {"destination": ACCOUNT, "sources": SOURCES, "rules": RULES}}),
    ("TrafficTarget", "v1alpha3", {"spec": {"destination": PORTED, "sources": SOURCES, "rules": RULES}}),
    ("TrafficTarget", "v1alpha4", {"spec": {"destination": PORTED, "sources": SOURCES, "rules": RULES}}),
    ("TrafficTarget", "v1alpha4", {"spec": {"destination": ACCOUNT, "sources": SOURCES, "rules": RULES}}),
    ("HTTPRouteGroup", "v1alpha1", {"matches": MATCHES}),
    ("HTTPRouteGroup", "v1alpha2", {"matches": HEADED}),
    ("HTTPRouteGroup", "v1alpha3", {"spec": {"matches": HEADED}}),
    ("HTTPRouteGroup", "v1alpha4", {"spec": {"matches": MATCHES}}),
    ("HTTPRouteGroup", "v1alpha4", {"matches": HEADED}),
    ("TCPRoute", "v1alpha1", {}),
    ("TCPRoute", "v1alpha2", {}),
    ("TCPRoute", "v1alpha3", {"spec": {}}),
    ("TCPRoute", "v1alpha4", {"spec": {"matches": {"ports": []}}}),
    ("TCPRoute", "v1alpha4", {"spec": {"matches": {"name": "db", "ports": [3306, "6446"]}}}),
    ("UDPRoute", "v1alpha4", {"spec": {"matches": {"ports": [53]}}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster(api: RawApi, shared_namespace: str) -> Iterator[SmiCluster]:
    with smi_cluster(api, shared_namespace) as made:
        yield made


def document(cluster: SmiCluster, kind: str, version: str, **body: Any) -> dict[str, Any]:
    """A document with a name of its own, and the namespace of the test wherever it names one."""
    api_version = f"{PLURALS[kind][0]}/{version}"
    metadata = {"name": f"x-{next(NUMBERS)}", "namespace": cluster.namespace}
    raw = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
    made: dict[str, Any] = _in(raw, cluster.namespace)
    return made


def _in(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {key: namespace if item == "shop" else _in(item, namespace) for key, item in value.items()}
    return [_in(item, namespace) for item in value] if isinstance(value, list) else value


def versions(kind: str) -> tuple[str, ...]:
    """All versions of a kind that are served here, drafts too."""
    return (*GROUPED[kind].versions, *GROUPED[kind].drafts)


def body(raw: dict[str, Any]) -> dict[str, Any]:
    """What a person wrote, besides the head."""
    return {key: value for key, value in raw.items() if key not in {"apiVersion", "kind", "metadata"}}


@pytest.mark.parametrize(("kind", "version", "written"), WRITTEN)
def test_v2_every_version_comes_back_as_it_was_written(
    cluster: SmiCluster, kind: str, version: str, written: dict[str, Any]
) -> None:
    raw = document(cluster, kind, version, **written)
    created = cluster.create(raw, fieldValidation="Strict").expect(201)
    assert body(created) == body(raw)
    assert "annotations" not in created["metadata"]
    for other in versions(kind):
        shown = cluster.read(kind, other, raw["metadata"]["name"])
        wanted = convert(raw, f"{PLURALS[kind][0]}/{other}")
        assert isinstance(wanted, dict)
        assert body(shown) == body(wanted)
        assert shown["metadata"].get("annotations") == wanted["metadata"].get("annotations")
        assert shown["metadata"]["uid"] == created["metadata"]["uid"]


@pytest.mark.parametrize(("kind", "version", "written"), WRITTEN)
def test_v2_writing_back_what_was_read_in_any_version_changes_nothing(
    cluster: SmiCluster, kind: str, version: str, written: dict[str, Any]
) -> None:
    raw = document(cluster, kind, version, **written)
    name = cluster.create(raw).expect(201)["metadata"]["name"]
    for other in versions(kind):
        shown = cluster.read(kind, other, name)
        cluster.api("PUT", cluster.path(kind, other, name), shown, fieldValidation="Strict").expect(200)
    again = cluster.read(kind, version, name)
    assert body(again) == body(raw)
    assert again["metadata"]["generation"] == 1


def test_lists_and_watches_of_an_old_version_show_all_objects(cluster: SmiCluster) -> None:
    names = set()
    for version, weight in (("v1alpha1", "1"), ("v1alpha2", 1), ("v1alpha4", 1)):
        raw = document(cluster, "TrafficSplit", version, spec=backends(weight))
        names.add(cluster.create(raw).expect(201)["metadata"]["name"])
    path = cluster.path("TrafficSplit", "v1alpha1")
    listed = cluster.api("GET", path).expect(200)
    found = {item["metadata"]["name"]: item for item in listed["items"] if item["metadata"]["name"] in names}
    assert set(found) == names
    assert {item["apiVersion"] for item in found.values()} == {"split.smi-spec.io/v1alpha1"}
    assert {item["spec"]["backends"][0]["weight"] for item in found.values()} == {"1"}
    raw = document(cluster, "TrafficSplit", "v1alpha4", spec=backends(7))
    with cluster.api.watch(path, resourceVersion=listed["metadata"]["resourceVersion"]) as events:
        cluster.create(raw).expect(201)
        event = next(event for event in events if event["object"]["metadata"]["name"] == raw["metadata"]["name"])
    assert event["object"]["spec"]["backends"][0]["weight"] == "7"


def test_v7_the_port_of_an_old_target_is_enforced_as_it_is_stored(cluster: SmiCluster) -> None:
    spec = {"destination": {**ACCOUNT, "port": 8080}, "sources": SOURCES, "rules": RULES}
    raw = document(cluster, "TrafficTarget", "v1alpha2", spec=spec)
    name = cluster.create(raw).expect(201)["metadata"]["name"]
    path = cluster.path("TrafficTarget", "v1alpha3", name)
    added = {"kind": "ServiceAccount", "name": "another"}
    cluster.api("PATCH", path, {"spec": {"sources": [*SOURCES, added]}}, content_type=MERGE).expect(200)
    stored = read(cluster.read("TrafficTarget", "v1alpha3", name)).object
    assert isinstance(stored, TrafficTarget)
    assert (stored.destination.port, len(stored.sources)) == (8080, 2)
    assert cluster.read("TrafficTarget", "v1alpha2", name)["spec"]["destination"]["port"] == 8080


def test_v8_a_tcp_route_without_a_body_is_read_as_all_ports_in_the_newest_version(cluster: SmiCluster) -> None:
    for version in ("v1alpha1", "v1alpha2", "v1alpha3"):
        written: dict[str, Any] = {"spec": {}} if version == "v1alpha3" else {}
        raw = document(cluster, "TCPRoute", version, **written)
        cluster.create(raw).expect(201)
        assert body(cluster.read("TCPRoute", "v1alpha4", raw["metadata"]["name"])) == {
            "spec": {"matches": {"ports": []}}
        }


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"])
def test_server_side_apply_works_in_every_version(cluster: SmiCluster, version: str) -> None:
    weights: tuple[object, object] = ("1", "500m") if version == "v1alpha1" else (1, 2)
    raw = document(cluster, "TrafficSplit", version, spec=backends(*weights))
    path = cluster.path("TrafficSplit", version, raw["metadata"]["name"])

    def apply(wanted: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = cluster.api(
            "PATCH", path, wanted, content_type=APPLY, fieldManager="tester", fieldValidation="Strict"
        ).expect(200, 201)
        return made

    first = apply(raw)
    assert body(first) == body(raw)
    assert apply(raw)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    raw["spec"]["backends"] = raw["spec"]["backends"][:1]
    assert body(apply(raw)) == body(raw)


def test_v1_only_the_newest_version_is_stored(cluster: SmiCluster) -> None:
    for definition in DEFINITIONS:
        crd = cluster.api("GET", f"{CRDS}/{definition.name}").expect(200)
        assert crd["status"]["storedVersions"] == [definition.versions[-1]]


def test_v9_short_names_are_served(cluster: SmiCluster) -> None:
    for definition in DEFINITIONS:
        for version in definition.versions:
            found = cluster.api("GET", f"/apis/{definition.group}/{version}").expect(200)["resources"]
            mine = next(item for item in found if item["name"] == definition.plural)
            assert mine["shortNames"] == [definition.short]


def test_the_definitions_can_be_installed_before_the_webhook_is_there(api: RawApi, namespace: str) -> None:
    """In groups of their own, beside the installed ones."""
    crds = []
    for crd in shipped():
        group = f"before.{crd['spec']['group']}"
        crd["spec"]["group"], crd["metadata"]["name"] = group, f"{crd['spec']['names']['plural']}.{group}"
        crds.append(crd)
    with installed(api, crds):
        path = f"/apis/before.split.smi-spec.io/v1alpha4/namespaces/{namespace}/trafficsplits"
        raw = {"apiVersion": "before.split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "a"}}
        api("POST", path, {**raw, "spec": backends(1)}).expect(201)
        old = api("GET", f"/apis/before.split.smi-spec.io/v1alpha1/namespaces/{namespace}/trafficsplits/a")
        assert old.code == 500
        assert "weft-webhook" in old.message
