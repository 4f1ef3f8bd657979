"""What a cluster would make of manifests."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from kube.enrolment import INJECTED
from kube.objects import (
    Deployment,
    EndpointSlice,
    Meta,
    Namespace,
    Object,
    Pod,
    PodTemplate,
    Service,
    ServicePort,
    ServiceSpec,
    StatefulSet,
    WorkloadSpec,
)
from local.addresses import PodAddresses, cluster_ips
from local.plan import planned
from local.workloads import PodKey
from smi.resources import Resources

SERVICES = IPv4Network("10.96.0.0/16")


def service(name: str, **spec: Any) -> Service:
    made = ServiceSpec(selector={"app": name}, ports=(ServicePort(port=80, target_port=8080),), **spec)
    return Service(Meta(name=name, namespace="a"), "Service", "v1", made)


def resources(*objects: Object) -> Resources:
    return Resources({item.ref: item for item in objects})


def deployment(name: str, replicas: int, kind: type[Deployment | StatefulSet] = Deployment) -> Object:
    template = PodTemplate(metadata=Meta(labels={"app": name}))
    spec = WorkloadSpec(template=template, replicas=replicas, service_name=name)
    return kind(Meta(name=name, namespace="a"), kind.__name__, "apps/v1", spec)


def test_a_deployment_becomes_pods_with_addresses_and_endpoints() -> None:
    made = planned(resources(deployment("web", 2), service("web")))
    pods = made.of(Pod)
    assert len({pod.name for pod in pods}) == 2
    assert {pod.status.pod_ip for pod in pods} == {"10.244.0.2", "10.244.0.3"}
    (found,) = made.of(EndpointSlice)
    assert {entry.addresses[0] for entry in found.endpoints} == {"10.244.0.2", "10.244.0.3"}
    assert [(port.name, port.port) for port in found.ports] == [("", 8080)]


def test_only_pods_of_an_enrolled_namespace_are_meshed() -> None:
    enrolled = Namespace(Meta(name="a", labels={"weft.dev/inject": "enabled"}), "Namespace", "v1")
    (pod,) = planned(resources(deployment("web", 1), enrolled)).of(Pod)
    assert pod.metadata.annotations == {INJECTED: "true"}
    (pod,) = planned(resources(deployment("web", 1))).of(Pod)
    assert pod.metadata.annotations == {}


def test_stateful_pods_are_numbered_and_named_in_their_headless_service() -> None:
    made = planned(resources(deployment("db", 2, StatefulSet), service("db", cluster_ip="None")))
    assert [pod.name for pod in made.of(Pod)] == ["db-0", "db-1"]
    assert made.of(Service)[0].spec.cluster_ip == "None"


def test_the_same_manifests_give_the_same_plan() -> None:
    objects = (deployment("web", 3), service("web"), service("other"))
    assert planned(resources(*objects)) == planned(resources(*reversed(objects)))


def test_what_is_written_stays_as_it_is() -> None:
    written = EndpointSlice(
        Meta(name="web-x", namespace="a", labels={"kubernetes.io/service-name": "web"}), "EndpointSlice", "v1"
    )
    made = planned(resources(deployment("web", 1), service("web"), written))
    assert made.of(EndpointSlice) == [written]


def test_endless_replicas_are_bounded() -> None:
    assert len(planned(resources(deployment("web", 10**9))).of(Pod)) == 250


def test_cluster_ips_follow_from_the_name_whatever_else_exists() -> None:
    alone, _ = cluster_ips([service("web")], SERVICES)
    beside, _ = cluster_ips([service("a"), service("b"), service("web")], SERVICES)
    assert alone["a", "web"] == beside["a", "web"]


def test_a_named_cluster_ip_is_honoured_and_a_wrong_one_is_a_problem() -> None:
    ips, problems = cluster_ips(
        [
            service("x", cluster_ip="10.96.0.7"),
            service("y", cluster_ip="10.96.0.7"),
            service("z", cluster_ip="1.2.3.4"),
        ],
        SERVICES,
    )
    assert ips["a", "x"] == "10.96.0.7"
    assert len(set(ips.values())) == 3
    assert [problem.object.name for problem in problems] == ["y", "z"]
    assert "the address of a/x" in problems[0].message


def test_headless_and_external_services_have_no_address() -> None:
    ips, _ = cluster_ips([service("h", cluster_ip="None"), service("e", type="ExternalName")], SERVICES)
    assert ips == {}


def test_a_pod_address_is_used_again_last() -> None:
    addresses = PodAddresses(IPv4Network("10.0.0.0/29"))
    first = addresses.take(PodKey("a", "x"))
    assert addresses.take(PodKey("a", "x")) == first
    addresses.give_back(PodKey("a", "x"))
    later = [addresses.take(PodKey("a", str(number))) for number in range(5)]
    assert later == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]
