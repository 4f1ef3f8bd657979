"""IdentityBinding as it is read: whom it names, and what makes it name nobody (rule F4)."""

from __future__ import annotations

from typing import Any

import pytest

from kube.problem import Severity
from smi.decode import Read, read
from smi.kinds import IdentityBinding, LabelRequirement

LABELS = {"matchLabels": {"app": "web"}}


def binding(schemes: object) -> Read:
    metadata = {"name": "callers", "namespace": "shop"}
    return read({
        "apiVersion": "access.smi-spec.io/v1alpha4", "kind": "IdentityBinding", "metadata": metadata,
        "spec": {"schemes": schemes},
    })  # fmt: skip


def test_the_example_of_the_specification_without_what_excludes_it() -> None:
    found = binding({
        "podLabelSelector": {
            "matchLabels": {"app": "service-a"}, "matchExpressions": [{"key": "beta", "operator": "Exists"}]
        },
        "spiffeIdentities": ["cluster.local/ns/default/sa/service-a"],
    })  # fmt: skip
    assert found.problems == ()
    assert found.object == IdentityBinding(
        namespace="shop",
        name="callers",
        api_version="access.smi-spec.io/v1alpha4",
        spiffe_identities=("cluster.local/ns/default/sa/service-a",),
        pod_selector=(
            LabelRequirement(key="app", operator="In", values=("service-a",)),
            LabelRequirement(key="beta", operator="Exists"),
        ),
    )


@pytest.mark.parametrize(
    ("schemes", "field"),
    [
        ({"podLabelSelector": LABELS, "serviceAccount": "web"}, "spec.schemes.podLabelSelector"),
        ({"podLabelSelector": {}}, "spec.schemes.podLabelSelector"),
        ({"podLabelSelector": {"matchLabels": {}, "matchExpressions": []}}, "spec.schemes.podLabelSelector"),
        ({"podLabelSelector": {"matchlabels": {"app": "web"}}}, "spec.schemes.podLabelSelector.matchlabels"),
        ({"podLabelSelector": {"matchLabels": {"app": 1}}}, "spec.schemes.podLabelSelector.matchLabels.app"),
        ({"podLabelSelector": []}, "spec.schemes.podLabelSelector"),
        ({}, "spec.schemes"),
        (None, "spec.schemes"),
        ({"spiffeIdentities": []}, "spec.schemes"),
        ({"spiffeIdentities": "a"}, "spec.schemes.spiffeIdentities"),
        ({"spiffeIdentities": ["a", 1]}, "spec.schemes.spiffeIdentities[1]"),
        ({"serviceAccount": "web/../api"}, "spec.schemes.serviceAccount"),
        ({"serviceAccount": ["web"]}, "spec.schemes.serviceAccount"),
    ],
)
def test_f4_a_binding_with_a_mistake_names_nobody_and_says_where(schemes: object, field: str) -> None:
    found = binding(schemes)
    assert found.object is None
    assert field in {problem.field for problem in found.problems}
    assert {problem.rule for problem in found.problems} == {"F4"}


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "app", "operator": "in", "values": ["web"]},
        {"key": "app", "operator": "In", "values": []},
        {"key": "app", "operator": "In"},
        {"key": "app", "operator": "Exists", "values": ["web"]},
        {"key": "app", "operator": "In", "values": [1]},
        {"key": "", "operator": "Exists"},
        {"operator": "Exists"},
        {"key": "app", "operator": "Exists", "value": "web"},
        "app in (web)",
    ],
)
def test_f4_a_requirement_that_cannot_be_read_never_widens_the_selector(expression: Any) -> None:
    found = binding({"podLabelSelector": {**LABELS, "matchExpressions": [expression]}, "spiffeIdentities": ["a"]})
    assert found.object is None
    assert found.problems


def test_a_scheme_nobody_knows_is_left_out_and_the_others_stand() -> None:
    found = binding({"serviceAccount": "web", "jwt": {"issuer": "me"}})
    assert isinstance(found.object, IdentityBinding)
    assert found.object.service_account == "web"
    assert [(problem.field, problem.severity) for problem in found.problems] == [("spec.schemes.jwt", Severity.WARNING)]


@pytest.mark.parametrize(
    ("operator", "values", "labels", "holds"),
    [
        ("In", ("a", "b"), {"x": "b"}, True),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {}, True),
        ("NotIn", ("a",), {"x": "a"}, False),
        ("Exists", (), {"x": ""}, True),
        ("Exists", (), {"y": "a"}, False),
        ("DoesNotExist", (), {}, True),
        ("DoesNotExist", (), {"x": "a"}, False),
    ],
)
def test_requirements_hold_as_kubernetes_has_them(
    operator: str, values: tuple[str, ...], labels: dict[str, str], holds: bool
) -> None:
    assert LabelRequirement(key="x", operator=operator, values=values).holds(labels) is holds
