"""The hosts file of a pod."""

from __future__ import annotations

from kube.objects import (
    Container,
    ContainerPort,
    Meta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from local.endpoints import Member, endpoint_slices
from local.names import hosts_file, pod_addresses, service_addresses

WEB = Service(
    Meta(name="web", namespace="a"), "Service", "v1",
    ServiceSpec(selector={"app": "web"}, ports=(ServicePort(80, "http", target_port="http"),), cluster_ip="None"),
)  # fmt: skip


def member(name: str, address: str, *, ready: bool = True, port: int = 8080, terminating: bool = False) -> Member:
    pod = Pod(
        Meta(name=name, namespace="a", labels={"app": "web"}), "Pod", "v1",
        PodSpec(containers=(Container("app", (ContainerPort(port, "http"),)),)),
        PodStatus(address, (PodIP(address),), "Running"),
    )  # fmt: skip
    return Member(pod, ready, terminating, hostname=name, subdomain="web")


def test_short_names_are_known_in_the_services_own_namespace_only() -> None:
    addresses = {("a", "web"): ("10.96.0.5",), ("b", "db"): ("10.96.0.6",)}
    lines = hosts_file("a", ("10.0.0.2", "me"), addresses, {}, "cluster.local").splitlines()
    assert "10.0.0.2 me" in lines
    assert "10.96.0.5 web web.a web.a.svc web.a.svc.cluster.local" in lines
    assert "10.96.0.6 db.b db.b.svc db.b.svc.cluster.local" in lines


def test_a_headless_service_means_its_ready_pods_and_each_pod_by_name() -> None:
    slices = endpoint_slices(WEB, [member("web-0", "10.0.0.2"), member("web-1", "10.0.0.3", ready=False)])
    assert service_addresses([WEB], {}, slices, "10.0.0.1", "cluster.local")["a", "web"] == ("10.0.0.2",)
    assert pod_addresses(slices) == {("a", "web", "web-0"): "10.0.0.2", ("a", "web", "web-1"): "10.0.0.3"}
    hosts = hosts_file("b", ("10.0.0.9", "me"), {}, pod_addresses(slices), "cluster.local")
    assert "10.0.0.2 web-0.web.a web-0.web.a.svc web-0.web.a.svc.cluster.local" in hosts


def test_an_external_name_means_what_the_service_means_that_it_names() -> None:
    def external(name: str, target: str) -> Service:
        return Service(
            Meta(name=name, namespace="b"), "Service", "v1", ServiceSpec("ExternalName", external_name=target)
        )

    services = [external("near", "web.a.svc.cluster.local."), external("far", "example.com"), WEB]
    slices = endpoint_slices(WEB, [member("web-0", "10.0.0.2")])
    found = service_addresses(services, {}, slices, "10.0.0.1", "cluster.local")
    assert (found["b", "near"], found["b", "far"]) == (("10.0.0.2",), ())


def test_the_control_plane_is_the_node_itself() -> None:
    assert service_addresses([], {}, [], "10.0.0.1", "cluster.local") == {("weft-system", "weft"): ("10.0.0.1",)}


def test_named_target_ports_may_differ_between_pods() -> None:
    slices = endpoint_slices(WEB, [member("web-0", "10.0.0.2"), member("web-1", "10.0.0.3", port=9090)])
    assert [(item.name, item.ports[0].port, item.endpoints[0].addresses) for item in slices] == [
        ("web-0", 8080, ("10.0.0.2",)),
        ("web-1", 9090, ("10.0.0.3",)),
    ]


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    (found,) = endpoint_slices(WEB, [member("web-0", "10.0.0.2", terminating=True)])
    conditions = found.endpoints[0].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)


def test_a_service_of_another_namespace_or_selector_has_no_such_endpoint() -> None:
    other = Service(Meta(name="web", namespace="b"), "Service", "v1", WEB.spec)
    without = Service(Meta(name="web", namespace="a"), "Service", "v1", ServiceSpec())
    assert endpoint_slices(other, [member("web-0", "10.0.0.2")]) == []
    assert endpoint_slices(without, [member("web-0", "10.0.0.2")]) == []
