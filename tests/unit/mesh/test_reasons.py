"""What is said to decide a mode is what decides it (A1, H3)."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from kube.enrolment import ACCESS, ACCESS_LOG, EGRESS, MTLS
from kube.objects import ContainerPort, Pod
from mesh.reasons import SETTING, PodReasons
from mesh.settings import Access, MeshSettings, Mtls
from mesh_objects import build, inbound, namespace, pod, weft, workload

WORDS: tuple[dict[str, str], ...] = (
    {},
    {"access": "permissive", "mtls": "permissive"},
    {"access": "enforced", "mtls": "wrong"},
)
PORTS: tuple[dict[str, str], ...] = (
    {},
    {"open_ports": "8080", "permissive_ports": "8080"},
    {"enforced_ports": "8080", "strict_ports": "8080"},
    {"enforced_ports": "x", "strict_ports": "x", "open_ports": "8080"},
    {"open_ports": "1, 8080", "enforced_ports": "8080"},
)


def said(words: dict[str, str]) -> Pod:
    made = pod("web-1", ContainerPort(8080))
    return replace(made, metadata=replace(made.metadata, annotations={**made.metadata.annotations, **weft(words)}))


@pytest.mark.parametrize("setting", [Access.ENFORCED, Access.PERMISSIVE])
def test_a1_h3_the_reasons_say_the_modes_that_hold(setting: Access) -> None:
    for of_namespace, of_pod, of_ports in product(WORDS, WORDS, PORTS):
        settings = MeshSettings(access=setting, mtls=Mtls.PERMISSIVE if setting is Access.PERMISSIVE else Mtls.STRICT)
        space, made = namespace(labels=None, **of_namespace), said({**of_pod, **of_ports})
        mesh = build(space, made, settings=settings)
        reasons = PodReasons(made, space, settings)
        assert (reasons.of_port(ACCESS, 8080).value == "permissive") is inbound(mesh, "web-1").open
        assert reasons.of_port(MTLS, 8080).value == inbound(mesh, "web-1").mtls
        assert reasons.mode(MTLS).value == workload(mesh, "web-1").mtls
        assert reasons.mode(EGRESS).value == workload(mesh, "web-1").egress


@pytest.mark.parametrize(
    ("of_namespace", "of_pod", "want"),
    [
        ({}, {}, SETTING),
        ({"access": "permissive"}, {}, "annotation weft.dev/access of Namespace shop"),
        ({"access": "permissive"}, {"access": "enforced"}, "annotation weft.dev/access of Pod shop/web-1"),
        ({}, {"open_ports": "8080", "access": "enforced"}, "annotation weft.dev/open-ports of Pod shop/web-1"),
        ({}, {"enforced_ports": "x", "open_ports": "8080"}, "annotation weft.dev/enforced-ports of Pod shop/web-1"),
    ],
)
def test_a1_the_nearest_object_that_says_so_is_named(
    of_namespace: dict[str, str], of_pod: dict[str, str], want: str
) -> None:
    reasons = PodReasons(said(of_pod), namespace(labels=None, **of_namespace), MeshSettings())
    assert reasons.of_port(ACCESS, 8080).words == want


def test_a_pod_has_no_say_about_egress() -> None:
    reasons = PodReasons(said({"egress": "refused", "access_log": "all"}), None, MeshSettings())
    assert (reasons.mode(EGRESS).value, reasons.mode(EGRESS).words) == ("allowed", SETTING)
    assert reasons.mode(ACCESS_LOG).words == "annotation weft.dev/access-log of Pod shop/web-1"
