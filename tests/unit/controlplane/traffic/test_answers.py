"""Counts put together by resource: owners of pods, Services, splits, edges, and who was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import mesh_objects as o
from controlplane.traffic import exposition
from controlplane.traffic.answers import Answers, Row
from controlplane.traffic.facts import Counts, Traffic
from controlplane.traffic.inventory import inventory, targets
from controlplane.traffic.kinds import KINDS, Resource, kind_of
from controlplane.traffic.view import rows_view
from kube.objects import OwnerReference, Pod
from mesh.model import PodId
from sidecar_counts import connections, requests, sent, served
from smi.resources import Resources

HASH = "7d4b9c6d57"
WEB, FRONT, DAEMON = f"web-{HASH}-x2x4z", f"front-{HASH}-b5b5b", "agent-q7q7q"
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)


def owned(name: str, kind: str, owner: str, app: str) -> Pod:
    made = o.pod(name, app=app, account=app)
    labels = {"app": app, "pod-template-hash": HASH}
    meta = msgspec.structs.replace(
        made.metadata, labels=labels, owner_references=(OwnerReference(kind, owner, controller=True),)
    )
    return msgspec.structs.replace(made, metadata=meta)


def world() -> Resources:
    on_node = msgspec.structs.replace(o.entry(WEB), node_name="node-1")
    return o.resources(
        owned(WEB, "ReplicaSet", f"web-{HASH}", "web"),
        owned(FRONT, "ReplicaSet", f"front-{HASH}", "front"),
        owned(DAEMON, "DaemonSet", "agent", "agent"),
        o.pod("plain-1", app="web", meshed=False),
        o.service("web", ip="10.96.0.9"), o.slice_of("web", on_node, o.entry("plain-1")),
        o.service("web-v2"), o.split("canary", "web", ("web", 90), ("web-v2", 10)),
    )  # fmt: skip


def answers(**told: str) -> Answers:
    """What these sidecars told, by the word for their pod."""
    pods = {"web": WEB, "front": FRONT, "agent": DAEMON}
    counts: dict[object, Counts] = {}
    still: dict[object, float] = {}
    for word, text in told.items():
        for raw in exposition.read(PodId("shop", pods.get(word, word.replace("_", "-"))), text).raws.values():
            counts[raw.series] = raw.counts()
            if raw.counters:
                still[raw.series] = raw.counters["opened"] - raw.counters["closed"]
    return Answers(Traffic(UNTIL - timedelta(seconds=30), UNTIL, counts, still), inventory(world()))  # type: ignore[arg-type]


def totals(rows: list[Row]) -> dict[str, tuple[float, float]]:
    return {row.resource.name: (row.successes, row.failures) for row in rows}


def pairs(rows: list[Row]) -> list[tuple[str, str, str, float]]:
    return [
        (row.peer.name if row.peer else "", "to" if row.incoming else "from", row.resource.name, row.counts.requests)
        for row in rows
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("pods", WEB),
        ("replicasets", f"web-{HASH}"),
        ("deployments", "web"),
        ("namespaces", "shop"),
        ("nodes", "node-1"),
    ],
)
def test_m1_what_a_pod_served_counts_for_all_its_owners(kind: str, name: str) -> None:
    found = totals(answers(web=f"{served(7)}\n{served(2, code='503')}\n{served(1, code='404')}").resources(kind))
    assert found[name] == (8, 2)


def test_m1_resources_without_requests_are_told_of_if_a_sidecar_is_theirs() -> None:
    told = answers(agent=served(3))
    assert totals(told.resources("daemonsets")) == {"agent": (3, 0)}
    assert totals(told.resources("deployments")) == {"front": (0, 0), "web": (0, 0)}
    assert told.resources("jobs") == []


def test_m1_a_service_is_told_what_callers_sent_it_after_the_split() -> None:
    told = answers(front=f"{sent(90, 'web', asked='web')}\n{sent(8, 'web-v2', asked='web')}\n{sent(5, 'web-v2')}")
    assert totals(told.resources("services")) == {"web": (90, 0), "web-v2": (13, 0)}


def test_m1_a_split_is_told_by_backend_with_weight_and_share() -> None:
    told = answers(front=f"{sent(75, 'web', asked='web')}\n{sent(25, 'web-v2', asked='web')}\n{sent(5, 'web-v2')}")
    rows = rows_view(told, told.resources("trafficsplits"))["rows"]
    assert [(row["name"], row["backend"], row["requests"]) for row in rows] == [
        ("canary", {"apex": "web", "name": "web", "weight": 90, "share": 0.75}, 75),
        ("canary", {"apex": "web", "name": "web-v2", "weight": 10, "share": 0.25}, 25),
    ]
    callers = told.edges_of(Resource("trafficsplits", "shop", "canary"))
    assert {(row.peer.name if row.peer else "", row.backend.name if row.backend else "") for row in callers} == {
        ("front", "web"), ("front", "web-v2")
    }  # fmt: skip


def test_m1_edges_are_between_workloads_as_callers_saw_them() -> None:
    told = answers(front=f"{sent(9, 'web')}\n{sent(2, 'agent', service='web')}", web=served(9))
    assert pairs(told.edges("deployments")) == [("front", "to", "agent", 2), ("front", "to", "web", 9)]
    assert pairs(told.edges("services")) == [("front", "to", "web", 11)]
    assert pairs(told.edges("namespaces")) == [("shop", "to", "shop", 11)]
    assert pairs(told.edges_of(Resource("deployments", "shop", "web"))) == [("front", "to", "web", 9)]
    assert pairs(told.edges_of(Resource("deployments", "shop", "front"))) == [
        ("agent", "from", "front", 2), ("web", "from", "front", 9)
    ]  # fmt: skip


def test_m1_who_called_one_pod_is_told_by_service_account() -> None:
    (row,) = answers(web=f"{served(9, by='front')}\n{served(1, by='front', code='500')}").edges_of(
        Resource("pods", "shop", WEB)
    )
    assert row.peer == Resource("serviceaccounts", "shop", "front")
    assert (row.successes, row.failures) == (9, 1)


def test_what_the_callers_own_sidecar_refused_stands_with_the_service_of_that_address() -> None:
    refused = requests(
        4, code="403", reporter="source", destination_service="10.96.0.9:80", requested_service="10.96.0.9:80"
    )
    told = answers(front=refused)
    assert pairs(told.edges("services")) == [("front", "to", "web", 4)]
    assert pairs(told.edges("deployments")) == [("front", "to", "web", 4)]
    assert told.edges("services")[0].codes == {"403": 4}


def test_a_pod_that_is_gone_counts_for_what_its_name_tells() -> None:
    told = answers(**{f"old_{HASH}_x2x4z": served(6)})
    assert totals(told.resources("deployments"))["old"] == (6, 0)
    assert totals(told.resources("namespaces"))["shop"] == (6, 0)


def test_connections_are_told_open_and_counted() -> None:
    told = answers(front=connections(5, 2, reporter="source", destination_service="web.shop.svc.cluster.local"))
    (row,) = [row for row in told.resources("services") if row.resource.name == "web"]
    assert (row.open, row.counts.opened, row.counts.requests) == (3, 5, 0)


def test_pods_are_counted_with_and_without_a_sidecar() -> None:
    known = inventory(world())
    assert known.pods[Resource("services", "shop", "web")] == (1, 2)
    assert known.pods[Resource("namespaces", "", "shop")] == (3, 4)


def test_only_running_pods_with_a_sidecar_and_an_address_are_asked() -> None:
    ended = o.pod("ended-1")
    ended = msgspec.structs.replace(ended, status=msgspec.structs.replace(ended.status, phase="Succeeded"))
    there = o.resources(o.pod("web-1", ip="10.0.0.3"), o.pod("plain-1", meshed=False), o.pod("new-1", ip=""), ended)
    assert [(target.pod.name, target.address) for target in targets(there)] == [("web-1", "10.0.0.3")]


def test_a_local_pod_without_an_owner_belongs_to_the_deployment_of_its_name() -> None:
    known = inventory(o.resources(o.pod(WEB), o.deployment("web"), o.pod(FRONT)))
    assert known.workload_of(PodId("shop", WEB)) == Resource("deployments", "shop", "web")
    assert known.workload_of(PodId("shop", FRONT)) == Resource("pods", "shop", FRONT)


@pytest.mark.parametrize(
    ("word", "plural"), [("deploy", "deployments"), ("TrafficSplit", "trafficsplits"), ("ns", "namespaces")]
)
def test_kinds_go_by_plural_name_and_short_word(word: str, plural: str) -> None:
    assert kind_of(word) is KINDS[plural]


def test_m1_every_kind_of_the_specification_is_told() -> None:
    assert set(KINDS) == {
        "namespaces", "nodes", "pods", "replicationcontrollers", "services", "daemonsets", "deployments", "replicasets",
        "statefulsets", "jobs", "trafficsplits",
    }  # fmt: skip
