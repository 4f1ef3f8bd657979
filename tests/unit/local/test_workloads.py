"""From documents to pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kube.problem import Problem, Ref
from local.injection import untouched
from local.manifests import Document, Manifests
from local.workloads import Wanted, wanted_pods
from webhook.inject import Injection, NamespaceView

FILE = Path("/m/web.yaml")


def document(kind: str, name: str, spec: Any, **metadata: Any) -> Document:
    return Document({"kind": kind, "metadata": {"name": name, "namespace": "a", **metadata}, "spec": spec}, Path("/m"))


def template(**container: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "app", "command": ["x"], **container}]}}}


def wanted(*documents: Document, last: Wanted | None = None) -> Wanted:
    return wanted_pods(Manifests({FILE: documents}), untouched, last or Wanted())


def test_pods_of_a_deployment_are_named_after_its_template() -> None:
    first = wanted(document("Deployment", "web", {"replicas": 2, **template()})).pods
    more = wanted(document("Deployment", "web", {"replicas": 3, **template()})).pods
    other = wanted(document("Deployment", "web", {"replicas": 2, **template(command=["y"])})).pods
    assert {pod.key for pod in first} < {pod.key for pod in more}
    assert not {pod.key for pod in first} & {pod.key for pod in other}
    assert len({pod.revision for pod in (*first, *more)}) == 1


def test_pods_of_a_stateful_set_have_ordinals() -> None:
    pods = wanted(document("StatefulSet", "db", {"replicas": 2, "serviceName": "db", **template()})).pods
    assert [(pod.key.name, pod.pod.spec.hostname, pod.pod.spec.subdomain) for pod in pods] == [
        ("db-0", "db-0", "db"),
        ("db-1", "db-1", "db"),
    ]


def test_no_replicas_means_none() -> None:
    assert wanted(document("Deployment", "web", {"replicas": 0, **template()})).pods == ()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (template(command=[]), "has no command"),
        (template(command="x"), "Expected `array`"),
        (template(readinessProbe={"grpc": {"port": 1}}), "grpc probes"),
        ({"replicas": "many", **template()}, "invalid literal"),
        ({"template": ["x"]}, "can't be read"),
        ({}, "containers"),
    ],
)
def test_a_mistake_is_a_problem_and_the_workload_stays_as_it_was(spec: Any, says: str) -> None:
    good = wanted(document("Deployment", "web", template()), document("Deployment", "other", template()))
    found = wanted(document("Deployment", "web", spec), document("Deployment", "other", template()), last=good)
    assert [(problem.object, says in problem.message) for problem in found.problems] == [
        (Ref("Deployment", "a", "web"), True)
    ]
    assert {pod.key for pod in found.pods} == {pod.key for pod in good.pods}


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"containers": [{"name": "../x", "command": ["x"]}]}, "containers[0].name"),
        ({"volumes": [{"name": "../../x", "emptyDir": {}}]}, "volumes[0].name"),
        ({"hostname": "x\n10.0.0.1 web"}, "hostname"),
        ({"initContainers": [{"name": "a/b", "command": ["x"]}]}, "initContainers[0].name"),
        (
            template(volumeMounts=[{"name": "v", "mountPath": "/run/v", "subPath": "../../ca"}])["template"]["spec"],
            "containers[0].volumeMounts[0].subPath",
        ),
    ],
)
def test_no_name_in_a_pod_leads_out_of_its_own_files(extra: dict[str, Any], field: str) -> None:
    spec = {"template": {"spec": {**template()["template"]["spec"], **extra}}}
    found = wanted(document("Deployment", "web", spec))
    assert found.pods == ()
    assert [problem.field for problem in found.problems] == [f"spec.template.spec.{field}"]


def test_a_pod_the_injector_refuses_does_not_run() -> None:
    def refuse(pod: dict[str, Any], namespace: NamespaceView) -> Injection:
        mistake = Problem(Ref("Pod", namespace.name, "?"), "spec.containers[0].name", "no", "inject")
        return Injection(pod, "refused", problems=(mistake,))

    manifests = Manifests({FILE: (document("Deployment", "web", {"replicas": 2, **template()}),)})
    found = wanted_pods(manifests, refuse, Wanted())
    assert found.pods == ()
    assert [(problem.object.kind, problem.field) for problem in found.problems] == [
        ("Deployment", "spec.template.spec.containers[0].name")
    ]


def test_the_injector_is_told_the_namespaces_labels() -> None:
    seen: list[NamespaceView] = []

    def look(pod: dict[str, Any], namespace: NamespaceView) -> Injection:
        seen.append(namespace)
        return Injection(pod, "")

    space = Document(
        {"kind": "Namespace", "metadata": {"name": "a", "namespace": "default", "labels": {"x": "y"}}}, FILE
    )
    wanted_pods(Manifests({FILE: (space, document("Deployment", "web", template()))}), look, Wanted())
    assert seen == [NamespaceView("a", {"x": "y"})]
