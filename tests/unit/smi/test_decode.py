"""Reading any document: which kind it is, in which version, and what becomes of what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from kube.objects import Pod
from kube.problem import Ref
from smi.decode import read


def document(api_version: object, kind: object, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, **fields}


def test_kubernetes_own_kinds_are_read_too() -> None:
    assert isinstance(read(document("v1", "Pod")).object, Pod)


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "ConfigMap"),
        ("apps/v1", "DaemonSet"),
        ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"),
        ("serving.knative.dev/v1", "Service"),
        ("extensions/v1beta1", "Deployment"),
        ("not-smi-spec.io/v1", "X"),
    ],
)
def test_what_is_none_of_the_meshs_business_is_ignored(api_version: str, kind: str) -> None:
    found = read(document(api_version, kind))
    assert found.ignored
    assert found.object is None
    assert found.problems == ()


@pytest.mark.parametrize(
    ("api_version", "kind", "fault"),
    [
        ("split.smi-spec.io/v1alpha5", "TrafficSplit", "has no version 'v1alpha5'"),
        ("split.smi-spec.io/v1", "TrafficSplit", "has no version"),
        ("split.smi-spec.io", "TrafficSplit", "TrafficSplit"),
        ("v1alpha1", "HTTPRouteGroup", "specs.smi-spec.io has"),
        ("specs.smi-spec.io/v1alpha4", "TrafficSplit", "split.smi-spec.io has"),
        ("specs.smi-spec.io/v1alpha3", "UDPRoute", "has no version 'v1alpha3'"),
        ("specs.smi-spec.io/v1alpha4", "GRPCRoute", "no kind 'GRPCRoute'"),
        ("metrics.smi-spec.io/v1alpha1", "TrafficMetrics", "no kind"),
        ("access.smi-spec.io/v1alpha3", "IdentityBinding", "has no version 'v1alpha3'"),
        ("access.smi-spec.io/v1alpha5", "TrafficTarget", "has no version 'v1alpha5'"),
        ("smi-spec.io/v1", "TrafficTarget", "TrafficTarget"),
    ],
)
def test_v1_an_smi_kind_or_version_nobody_knows_is_a_problem(api_version: str, kind: str, fault: str) -> None:
    found = read(document(api_version, kind))
    if api_version.startswith("smi-spec.io"):
        assert found.ignored
        return
    assert found.object is None
    assert not found.ignored
    assert found.ref == Ref(kind, "b", "a")
    (problem,) = found.problems
    assert problem.field == "apiVersion"
    assert fault in problem.message


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"kind": "Pod"},
        {"apiVersion": "v1"},
        document(1, "Pod"),
        document("v1", ["Pod"]),
        document("", "Pod"),
        document("v1", None),
    ],
)
def test_a_document_without_a_kind_is_a_problem(raw: dict[str, Any]) -> None:
    found = read(raw)
    assert found.object is None
    assert found.ref is None
    assert len(found.problems) == 1
    assert str(found.problems[0])


@pytest.mark.parametrize("kind", ["TrafficSplit", "TrafficTarget", "HTTPRouteGroup", "TCPRoute", "UDPRoute"])
@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        (None, "metadata"),
        ([], "metadata"),
        ({"namespace": "b"}, "metadata.name"),
        ({"name": "A", "namespace": "b"}, "metadata.name"),
        ({"name": "a/../b", "namespace": "b"}, "metadata.name"),
        ({"name": "a", "namespace": "b.c"}, "metadata.namespace"),
        ({"name": "a", "namespace": 5}, "metadata.namespace"),
    ],
)
def test_an_smi_object_needs_a_name(kind: str, metadata: object, field: str) -> None:
    group = {"TrafficSplit": "split", "TrafficTarget": "access"}.get(kind, "specs")
    version = "v1alpha3" if group == "access" else "v1alpha4"
    raw = {**document(f"{group}.smi-spec.io/{version}", kind), "metadata": metadata}
    found = read(raw)
    assert found.object is None
    assert [problem.field for problem in found.problems] == [field]
