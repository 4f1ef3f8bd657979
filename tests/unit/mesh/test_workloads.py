from __future__ import annotations

import pytest
from msgspec.structs import replace

from kube.enrolment import SIDECAR_PORTS
from kube.objects import Container, ContainerPort, PodIP, PodSpec, PodStatus
from kube.problem import Severity
from mesh.model import PodDestination, PodId, Protocol
from mesh.settings import Egress, MeshSettings, Mtls
from mesh_objects import (
    app,
    build,
    deployment,
    enrolled_namespace,
    identity,
    inbound,
    namespace,
    pod,
    port,
    port_id,
    problems,
    service,
    workload,
)
from proxy.ports import RESERVED

POD = PodId("shop", "web-1")


def test_replicas_share_a_role_and_others_do_not() -> None:
    mesh = build(app("web"), pod("web-2", ip="10.0.0.2"), pod("api-1", ip="10.0.0.3"))
    roles = [mesh.proxies[PodId("shop", name)] for name in ("web-1", "web-2", "api-1")]
    assert roles[0] == roles[1] != roles[2]
    assert set(mesh.workloads) == set(roles)


def test_the_role_names_namespace_and_account_and_follows_ports_and_modes() -> None:
    plain = build(pod("web-1")).proxies[POD]
    assert plain.startswith("shop/web/")
    assert build(pod("web-1", ContainerPort(80))).proxies[POD] != plain
    assert build(pod("web-1", mtls="permissive")).proxies[POD] != plain


def test_a2_a_pod_without_an_account_runs_as_default() -> None:
    bare = pod("web-1")
    bare = replace(bare, spec=PodSpec())
    assert workload(build(bare), "web-1").identity == identity("default")


@pytest.mark.parametrize(
    "absent",
    [
        pod("web-1", meshed=False),
        replace(pod("web-1"), status=PodStatus(phase="Succeeded", pod_ip="10.0.0.1")),
        replace(pod("web-1"), status=PodStatus(phase="Failed", pod_ip="10.0.0.1")),
        replace(pod("web-1"), spec=PodSpec(host_network=True)),
    ],
    ids=["not injected", "done", "failed", "host network"],
)
def test_pods_without_a_running_sidecar_have_no_role(absent: object) -> None:
    mesh = build(service("web"), absent)  # type: ignore[arg-type]  # always a pod
    assert not mesh.proxies
    assert not mesh.pods
    assert not mesh.backends[port_id("web")].identities


def test_inbound_ports_are_what_services_send_to_and_containers_declare() -> None:
    mesh = build(
        service("web", port(80, "http", "main"), port(81, "tcp", 5000), port(82, "grpc", 0), port(83, "x", "nothing")),
        pod("web-1", ContainerPort(8080, "main"), ContainerPort(9000, "http-x"), ContainerPort(53, protocol="UDP")),
    )
    found = {item.port: item.protocol for item in workload(mesh, "web-1").ports}
    assert found == {8080: Protocol.HTTP, 5000: Protocol.TCP, 82: Protocol.HTTP2, 9000: Protocol.HTTP}


def test_a_named_target_port_may_differ_between_pods() -> None:
    mesh = build(
        service("web", port(80, "http", "main")),
        pod("web-1", ContainerPort(8080, "main")),
        pod("web-2", ContainerPort(8081, "main")),
    )
    assert [item.port for name in ("web-1", "web-2") for item in workload(mesh, name).ports] == [8080, 8081]


def test_the_sidecars_own_containers_and_ports_are_not_the_apps() -> None:
    bare = pod("web-1")
    containers = (Container("app", (ContainerPort(8080), ContainerPort(15006))),)
    sidecar = (Container("weft-proxy", (ContainerPort(15021), ContainerPort(1234))),)
    mesh = build(replace(bare, spec=PodSpec("web", containers, sidecar)))
    assert [item.port for item in workload(mesh, "web-1").ports] == [8080]
    [problem] = mesh.problems
    assert "15006" in problem.message


def test_the_sidecars_ports_are_those_the_proxy_listens_on() -> None:
    assert SIDECAR_PORTS == RESERVED


def test_h2_contradicting_services_make_the_port_looked_into_with_a_warning() -> None:
    mesh = build(service("a", port(name="http"), selector={"app": "web"}),
                 service("b", port(name="tcp"), selector={"app": "web"}), pod("web-1"))  # fmt: skip
    assert inbound(mesh, "web-1").protocol is Protocol.DETECT
    [problem] = problems(mesh, "H2")
    assert (problem.object.name, problem.field, problem.severity) == ("b", "spec.ports[0]", Severity.WARNING)


def test_h2_a_services_word_counts_before_the_container_ports_name() -> None:
    mesh = build(service("web", port(name="grpc")), pod("web-1", ContainerPort(8080, "http")))
    assert inbound(mesh, "web-1").protocol is Protocol.HTTP2


@pytest.mark.parametrize(
    ("setting", "of_namespace", "of_pod", "want"),
    [
        (Mtls.STRICT, None, None, Mtls.STRICT),
        (Mtls.PERMISSIVE, None, None, Mtls.PERMISSIVE),
        (Mtls.STRICT, "permissive", None, Mtls.PERMISSIVE),
        (Mtls.STRICT, "permissive", "strict", Mtls.STRICT),
        (Mtls.PERMISSIVE, "off", None, Mtls.STRICT),
        (Mtls.PERMISSIVE, None, "off", Mtls.STRICT),
    ],
)
def test_h3_the_nearest_word_on_mtls_counts_and_a_wrong_one_means_strict(
    setting: Mtls, of_namespace: str | None, of_pod: str | None, want: Mtls
) -> None:
    mesh = build(
        service("web"),
        namespace(mtls=of_namespace) if of_namespace else namespace(),
        pod("web-1", mtls=of_pod) if of_pod else pod("web-1"),
        settings=MeshSettings(mtls=setting),
    )
    assert workload(mesh, "web-1").mtls is want
    assert inbound(mesh, "web-1").mtls is want
    assert bool(problems(mesh, "H3")) is ("off" in {of_namespace, of_pod})


def test_h3_single_ports_may_take_plaintext() -> None:
    mesh = build(service("web"), pod("web-1", ContainerPort(9000), permissive_ports="9000, 7000, x, 99999"))
    found = {item.port: item.mtls for item in workload(mesh, "web-1").ports}
    assert found == {8080: Mtls.STRICT, 9000: Mtls.PERMISSIVE, 7000: Mtls.PERMISSIVE}
    assert [problem.object.name for problem in problems(mesh, "H3")] == ["web-1", "web-1"]


@pytest.mark.parametrize(
    ("word", "want"), [(None, Egress.ALLOWED), ("refused", Egress.REFUSED), ("perhaps", Egress.REFUSED)]
)
def test_h6_a_namespace_may_refuse_what_leaves_the_mesh(word: str | None, want: Egress) -> None:
    mesh = build(namespace(egress=word) if word else namespace(), pod("web-1"))
    assert workload(mesh, "web-1").egress is want
    assert bool(problems(mesh, "H6")) is (word == "perhaps")


def test_h2_what_somebody_calls_http_reaches_the_app_as_http1() -> None:
    """Whether or not others contradict: callers' sidecars may have carried it over HTTP/2 (decision 0100)."""
    ports = [ContainerPort(8080), ContainerPort(9000, "http"), ContainerPort(9001), ContainerPort(9002, "http")]
    services = [
        service("web", port(80, "http", target=8080)),
        service("web2", port(80, "tcp-x", target=8080), selector={"app": "web"}),
        service("web3", port(80, "grpc", target=9002), selector={"app": "web"}),
    ]
    found = workload(build(*services, pod("web-1", *ports)), "web-1").ports
    assert {each.port: each.http1 for each in found} == {8080: True, 9000: True, 9001: False, 9002: False}
    assert inbound(build(*services, pod("web-1", *ports)), "web-1", 8080).protocol is Protocol.DETECT


def test_h2_a_role_is_told_apart_by_whether_its_app_is_promised_http1() -> None:
    both = pod("web-1", ContainerPort(8080))
    tcp = service("web2", port(80, "tcp-x", target=8080), selector={"app": "web"})
    roles = {
        build(both, tcp, service("web", port(80, name, target=8080))).proxies[POD] for name in ("http", "anything")
    }
    assert len(roles) == 2


def test_h5_every_inbound_port_is_reachable_by_every_address_of_the_pod() -> None:
    both = replace(
        pod("web-1", ContainerPort(8080), ContainerPort(9000)),
        status=PodStatus("10.0.0.1", (PodIP("10.0.0.1"), PodIP("fd00::1"))),
    )
    assert build(both).pods[POD] == tuple(
        PodDestination(POD, ("10.0.0.1", "fd00::1"), number, identity("web")) for number in (8080, 9000)
    )


def test_h5_a_pod_without_an_address_is_no_destination_yet() -> None:
    mesh = build(pod("web-1", ContainerPort(8080), ip=""))
    assert mesh.proxies
    assert not mesh.pods.get(POD)


def test_h5_headless_services_have_no_address_of_their_own() -> None:
    mesh = build(service("web", ip="None"), pod("web-1"))
    assert mesh.destinations[port_id("web")].addresses == ()
    assert not mesh.meshed_addresses


def test_a_service_scaled_to_zero_keeps_the_identity_its_pods_would_have() -> None:
    mesh = build(enrolled_namespace(), service("web"), deployment("web"))
    assert mesh.backends[port_id("web")].identities == (identity("web"),)
    assert mesh.meshed_addresses


def test_a_deployment_that_is_not_enrolled_makes_no_service_meshed() -> None:
    mesh = build(service("web"), deployment("web"))
    assert not mesh.backends[port_id("web")].identities


def test_pods_that_are_there_count_before_what_a_deployment_would_make() -> None:
    mesh = build(enrolled_namespace(), service("web"), deployment("web"), pod("web-1", meshed=False))
    assert not mesh.backends[port_id("web")].identities


def test_h4_a_service_is_meshed_as_soon_as_one_of_its_pods_is() -> None:
    mesh = build(service("web"), pod("web-1", meshed=False), pod("web-2", ip="10.0.0.2"))
    assert mesh.backends[port_id("web")].identities == (identity("web"),)
