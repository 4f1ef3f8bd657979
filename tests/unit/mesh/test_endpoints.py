from __future__ import annotations

import pytest
from msgspec.structs import replace

from kube.objects import EndpointEntry, ServiceSpec
from mesh.model import Endpoint, Mesh, PodId
from mesh_objects import app, build, entry, identity, pod, port, port_id, problems, service, slice_of


def addresses(mesh: Mesh) -> list[str]:
    return [endpoint.address for endpoint in mesh.endpoints[port_id("web")]]


def test_h4_each_endpoint_says_whether_it_is_meshed() -> None:
    mesh = build(
        service("web"),
        pod("web-1"),
        pod("web-2", ip="10.0.0.2", meshed=False),
        slice_of("web", entry("web-1", "10.0.0.1"), entry("web-2", "10.0.0.2"), entry(ip="10.0.0.3")),
    )
    assert mesh.endpoints[port_id("web")] == (
        Endpoint("10.0.0.1", 8080, identity("web"), pod=PodId("shop", "web-1")),
        Endpoint("10.0.0.2", 8080, None, pod=PodId("shop", "web-2")),
        Endpoint("10.0.0.3", 8080, None),
    )


def test_without_a_slice_there_are_no_endpoints() -> None:
    assert build(service("web")).endpoints == {port_id("web"): ()}


@pytest.mark.parametrize(
    ("entries", "want"),
    [
        ([entry(ip="10.0.0.1"), entry(ip="10.0.0.2", ready=False)], ["10.0.0.1"]),
        ([entry(ip="10.0.0.1", ready=None)], ["10.0.0.1"]),
        ([entry(ip="10.0.0.1", ready=False, serving=True, terminating=True)], ["10.0.0.1"]),
        ([entry(ip="10.0.0.1", ready=False, serving=False, terminating=True)], []),
        ([entry(ip="10.0.0.1", ready=False, serving=True, terminating=True), entry(ip="10.0.0.2")], ["10.0.0.2"]),
    ],
)
def test_ready_endpoints_take_traffic_and_leaving_ones_only_while_none_is(
    entries: list[EndpointEntry], want: list[str]
) -> None:
    assert addresses(build(service("web"), slice_of("web", *entries))) == want


def test_a_service_may_publish_endpoints_that_are_not_ready() -> None:
    early = service("web")
    early = replace(early, spec=replace(early.spec, publish_not_ready_addresses=True))
    assert addresses(build(early, slice_of("web", entry(ready=False)))) == ["10.0.0.1"]


def test_several_slices_add_up_without_repeating_an_endpoint() -> None:
    mesh = build(
        service("web"),
        slice_of("web", entry(ip="10.0.0.2"), entry(ip="10.0.0.1"), name="a"),
        slice_of("web", entry(ip="10.0.0.2"), entry(ip="10.0.0.3"), name="b"),
    )
    assert addresses(mesh) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize(("own", "want"), [("10.96.0.1", "10.0.0.1"), ("fd96::1", "fd00::1")])
def test_a_pod_of_two_families_stands_there_once_in_the_services_first_family(own: str, want: str) -> None:
    mesh = build(
        service("web", ip=own),
        slice_of("web", entry("web-1", "10.0.0.1"), name="four"),
        slice_of("web", entry("web-1", "fd00::1"), name="six"),
    )
    assert addresses(mesh) == [want]


def test_whoever_has_an_address_of_the_other_family_only_stands_there_with_it() -> None:
    mesh = build(
        service("web", ip="10.96.0.1"),
        slice_of("web", entry("web-1", "10.0.0.1"), name="four"),
        slice_of("web", entry("web-2", "fd00::2"), entry(ip="fd00::3"), name="six"),
    )
    assert addresses(mesh) == ["10.0.0.1", "fd00::2", "fd00::3"]


def test_ports_are_joined_by_name() -> None:
    mesh = build(
        service("web", port(80, "http"), port(81, "admin")),
        slice_of("web", entry(ip="10.0.0.1"), name="a"),
        slice_of("web", entry(ip="10.0.0.1"), name="b", port="admin", number=9090),
    )
    assert [endpoint.port for number in (80, 81) for endpoint in mesh.endpoints[port_id("web", number)]] == [8080, 9090]


def test_a_service_without_a_selector_is_meshed_by_the_pods_its_endpoints_name() -> None:
    bare = service("web", selector={})
    mesh = build(bare, pod("other-1"), slice_of("web", entry("other-1")))
    assert mesh.backends[port_id("web")].identities == (identity("other"),)
    assert not build(bare, slice_of("web", entry())).backends[port_id("web")].identities


def test_h5_a_meshed_pods_address_is_known_where_an_endpoint_names_no_pod() -> None:
    mesh = build(
        service("web", selector={}), pod("other-1", ip="10.0.0.7"), pod("x-1", space="far", ip="10.0.0.8"),
        slice_of("web", entry(ip="10.0.0.7"), entry(ip="10.0.0.8")),
    )  # fmt: skip
    assert mesh.endpoints[port_id("web")] == (
        Endpoint("10.0.0.7", 8080, identity("other")),
        Endpoint("10.0.0.8", 8080, None),
    )
    assert mesh.backends[port_id("web")].identities == (identity("other"),)


def test_an_endpoint_may_name_a_pod_of_another_namespace() -> None:
    mesh = build(service("web", selector={}), pod("x-1", space="far"), slice_of("web", entry("x-1", space="far")))
    assert mesh.endpoints[port_id("web")][0].identity == identity("x", "far")


def test_f6_what_is_no_address_is_left_out_with_a_problem() -> None:
    mesh = build(app("api"), service("web"), slice_of("web", entry(ip="example.com"), entry(ip="10.0.0.2")))
    assert addresses(mesh) == ["10.0.0.2"]
    [problem] = problems(mesh, "F6")
    assert (problem.object.kind, problem.field) == ("EndpointSlice", "endpoints[0].addresses[0]")


def test_f6_a_service_with_a_bad_address_or_port_keeps_its_other_parts() -> None:
    bad = service("web", port(80), port(99999, "x"), port(80, "again"), ip="10.96.0.999")
    mesh = build(bad, slice_of("web", entry()))
    assert list(mesh.destinations) == [port_id("web")]
    assert mesh.destinations[port_id("web")].addresses == ()
    assert [problem.field for problem in problems(mesh, "F6")] == ["spec.clusterIPs", "spec.ports[1]", "spec.ports[2]"]


def test_f6_an_address_and_port_of_two_services_belongs_to_the_first() -> None:
    mesh = build([service(name, port(number), ip="10.96.0.1") for name, number in [("a", 80), ("b", 80), ("c", 81)]])
    assert [bool(mesh.destinations[port_id(*key)].addresses) for key in [("a", 80), ("b", 80), ("c", 81)]] == [
        True,
        False,
        True,
    ]
    [problem] = problems(mesh, "F6")
    assert (problem.object.name, problem.field) == ("b", "spec.clusterIPs")


def test_udp_ports_are_not_proxied() -> None:
    dns = service("web", replace(port(53, "dns"), protocol="UDP"), replace(port(53, "dns-tcp"), protocol="TCP"))
    assert list(build(dns).destinations) == [port_id("web", 53)]


def test_an_external_name_service_is_no_destination() -> None:
    far = replace(service("web"), spec=ServiceSpec(type="ExternalName", external_name="example.com", ports=(port(),)))
    assert not build(far).destinations


def all_meshed(mesh: Mesh) -> bool:
    return mesh.backends[port_id("web")].all_meshed


def test_h4_a_backend_knows_whether_everybody_behind_it_has_a_sidecar() -> None:
    assert all_meshed(build(service("web"), pod("web-1"), pod("web-2", ip="10.0.0.2")))
    assert not all_meshed(build(service("web"), pod("web-1"), pod("web-2", ip="10.0.0.2", meshed=False)))
    assert not all_meshed(build(service("web")))


def test_h4_endpoints_come_and_go_without_a_change_of_the_backend() -> None:
    """A pod may be listed before or after it is known; an address that is no pod's is somebody without a sidecar."""
    parts = [service("web"), pod("web-1")]
    assert all_meshed(build(*parts, slice_of("web", entry("web-1"), entry("web-9", "10.0.0.9"))))
    assert all_meshed(build(*parts, slice_of("web")))
    assert not all_meshed(build(*parts, slice_of("web", entry("web-1"), entry(ip="10.0.0.9"))))


def test_h4_of_a_service_without_selector_nobody_knows_that_all_have_a_sidecar() -> None:
    assert not all_meshed(build(service("web", selector={}), pod("web-1"), slice_of("web", entry("web-1"))))
