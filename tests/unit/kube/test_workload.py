"""Names of pods say what made them, as far as Kubernetes' own ways of naming go."""

from __future__ import annotations

import pytest

from kube.workload import UNKNOWN, WorkloadName, workload_of


@pytest.mark.parametrize(
    ("pod", "kind", "name"),
    [
        ("web-7d4b9c6d57-x2x4z", "Deployment", "web"),
        ("web-primary-7d4b9c6d57-x2x4z", "Deployment", "web-primary"),
        ("db-0", "StatefulSet", "db"),
        ("db-replica-12", "StatefulSet", "db-replica"),
        ("node-agent-5xkzq", "Pod", "node-agent"),
        ("backup-28391040-zx8k4", "Pod", "backup-28391040"),
        ("storefront", "Pod", "storefront"),
        ("my-backend-worker", "Pod", "my-backend-worker"),
        ("db-01", "Pod", "db-01"),
    ],
)
def test_a_pods_name_tells_its_workload(pod: str, kind: str, name: str) -> None:
    assert workload_of(pod) == WorkloadName(kind, name)


def test_a_pod_without_a_name_yet_is_told_by_what_it_will_begin_with() -> None:
    assert workload_of("", "web-7d4b9c6d57-") == WorkloadName("Deployment", "web")


def test_a_pod_that_nobody_names_is_unknown() -> None:
    assert workload_of("") is UNKNOWN
