"""Which pods a node takes for itself."""

from __future__ import annotations

from typing import Any

import pytest

from local.kubelet.binding import fits

LABELS = {"kubernetes.io/os": "linux", "size": "3"}


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": needed}}


def expression(operator: str, *values: str, key: str = "size") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def field(name: str) -> dict[str, Any]:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ({}, True),
        ({"schedulerName": "default-scheduler"}, True),
        ({"schedulerName": "another"}, False),
        ({"nodeName": "there"}, False),
        ({"schedulingGates": [{"name": "wait"}]}, False),
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, False),
        (required(field("here")), True),
        (required(field("there")), False),
        (required({}), False),
        (required(field("there"), expression("Exists")), True),
        (required(expression("In", "2", "3")), True),
        (required(expression("NotIn", "3")), False),
        (required(expression("DoesNotExist")), False),
        (required(expression("Gt", "2")), True),
        (required(expression("Lt", "3")), False),
        (required(expression("Gt", "2", key="absent")), False),
        (required(expression("Unknown")), False),
    ],
)
def test_a_pod_is_taken_that_may_run_here(spec: dict[str, Any], taken: bool) -> None:
    assert fits(pod(**spec), "here", LABELS) is taken


def test_a_pod_that_is_being_deleted_is_not_taken() -> None:
    going = {"metadata": {"name": "web", "namespace": "shop", "deletionTimestamp": "2026-11-21T12:00:00Z"}, "spec": {}}
    assert not fits(going, "here", LABELS)
