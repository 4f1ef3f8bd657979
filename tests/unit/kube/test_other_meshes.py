"""Other meshes' marks are read as those meshes read them."""

from __future__ import annotations

import pytest

from kube.other_meshes import ISTIO_NAMESPACE, ISTIO_POD, KUMA, LINKERD, OSM, OSM_MESH, Marked, mark_of_another_mesh

NOTHING = Marked()


def annotated(name: str, value: str) -> Marked:
    return Marked(annotations={name: value})


def osm(value: str | None) -> Marked:
    return Marked({OSM_MESH: "osm"}, {} if value is None else {OSM: value})


def label(name: str, value: str) -> Marked:
    return Marked(labels={name: value})


@pytest.mark.parametrize(
    ("namespace", "pod", "mark"),
    [
        (NOTHING, NOTHING, None),
        (osm("enabled"), NOTHING, OSM),
        (osm("yes"), NOTHING, OSM),
        (osm(None), NOTHING, None),
        (osm(None), annotated(OSM, "true"), OSM),
        (osm("enabled"), annotated(OSM, "no"), None),
        (osm("enabled"), annotated(OSM, "perhaps"), OSM),
        (NOTHING, annotated(OSM, "enabled"), None),
        (annotated(LINKERD, "enabled"), NOTHING, LINKERD),
        (annotated(LINKERD, "enabled"), annotated(LINKERD, "disabled"), None),
        (NOTHING, annotated(LINKERD, "ingress"), LINKERD),
        (annotated(LINKERD, "disabled"), NOTHING, None),
        (label(LINKERD, "enabled"), NOTHING, None),
        (label(ISTIO_NAMESPACE, "enabled"), NOTHING, ISTIO_NAMESPACE),
        (label(ISTIO_NAMESPACE, "enabled"), label(ISTIO_POD, "false"), None),
        (label(ISTIO_NAMESPACE, "enabled"), annotated(ISTIO_POD, "false"), None),
        (NOTHING, label(ISTIO_POD, "true"), ISTIO_NAMESPACE),
        (label(ISTIO_NAMESPACE, "disabled"), NOTHING, None),
        (label(KUMA, "enabled"), NOTHING, KUMA),
        (annotated(KUMA, "enabled"), NOTHING, KUMA),
        (label(KUMA, "enabled"), label(KUMA, "disabled"), None),
        (NOTHING, label(KUMA, "true"), KUMA),
    ],
)
def test_the_pods_mark_goes_before_the_namespaces(namespace: Marked, pod: Marked, mark: str | None) -> None:
    assert mark_of_another_mesh(namespace, pod) == mark


def test_one_mesh_does_not_speak_for_another() -> None:
    pod = annotated(LINKERD, "disabled")
    assert mark_of_another_mesh(label(ISTIO_NAMESPACE, "enabled"), pod) == ISTIO_NAMESPACE
