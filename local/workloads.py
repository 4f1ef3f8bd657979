"""From Deployments, StatefulSets and Pods to the pods that should run: names, revisions, and the injector's output.

Rule: pure. The same manifests always give the same pods with the same names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kube.objects import RawDocument
from kube.problem import Problem, Ref
from local.manifests import Document, Manifests
from local.podspec import Container, PodDocument, read_pod

WORKLOADS = ("Deployment", "StatefulSet", "Pod")

Inject = Callable[[RawDocument, Mapping[str, str]], RawDocument]
"""A pod and its namespace's labels in, the pod as it shall run out."""


def untouched(pod: RawDocument, namespace_labels: Mapping[str, str]) -> RawDocument:
    """The pod as it is: no injection."""
    del namespace_labels
    return pod


MOST_REPLICAS = 250
"""Pods of one workload; more are not made on one machine."""

RULE = "local"
"""The rule that Problems of the local cluster carry."""


@dataclass(frozen=True, slots=True, order=True)
class PodKey:
    """Names a pod of this machine."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PodPlan:
    """One pod that should run.

    `owner` is the object it comes from, `revision` a hash of what it runs, `ordinal` its number among its siblings,
    `raw` the document after injection, `pod` the same decoded, `folder` the folder of the file it was written in.
    """

    key: PodKey
    owner: Ref
    revision: str
    ordinal: int
    raw: RawDocument
    pod: PodDocument
    folder: Path
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """The pods that should run, and why others can't."""

    pods: tuple[PodPlan, ...] = ()
    problems: tuple[Problem, ...] = ()


def wanted_pods(manifests: Manifests, inject: Inject, last: Wanted) -> Wanted:
    """What should run. A workload that can't run here is a Problem, takes no other with it, and stays as it was."""
    labels = manifests.namespace_labels()
    pods: list[PodPlan] = []
    problems: list[Problem] = []
    for document in manifests.of(*WORKLOADS):
        found = _workload(document, labels.get(document.namespace, {}), inject)
        if isinstance(found, Problem):
            problems.append(found)
            pods += [plan for plan in last.pods if plan.owner == found.object]
        else:
            pods += found
    return Wanted(tuple(pods), tuple(problems))


def pod_documents(workload: RawDocument) -> list[RawDocument]:
    """The pods of one workload, before injection. Deployments name theirs after a hash of the template."""
    kind, metadata, spec = workload["kind"], workload["metadata"], workload.get("spec") or {}
    if kind == "Pod":
        return [{**workload, "spec": {"serviceAccountName": "default", **spec}}]
    template = spec.get("template") or {}
    revision = fingerprint(template)
    names = _names(kind, metadata["name"], min(int(spec.get("replicas", 1)), MOST_REPLICAS), revision)
    return [_pod(workload, template, name) for name in names]


def fingerprint(value: Any) -> str:
    """Ten hexadecimal digits that change when the document does."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:10]


def _workload(document: Document, labels: Mapping[str, str], inject: Inject) -> list[PodPlan] | Problem:
    owner = Ref(document.kind, document.namespace, document.name)
    try:
        plans = list(_plans(document, owner, labels, inject))
    except msgspec.ValidationError as error:
        return Problem(owner, "", f"{error}; none of its pods runs on this machine", RULE)
    except (TypeError, ValueError, AttributeError) as error:
        return Problem(owner, "spec", f"this can't be read as a pod ({error}); none of its pods runs here", RULE)
    return next((problem for plan in plans for problem in _not_runnable(owner, plan.pod)), plans)


def _plans(document: Document, owner: Ref, labels: Mapping[str, str], inject: Inject) -> Iterator[PodPlan]:
    parallel = document.kind != "StatefulSet" or document.raw["spec"].get("podManagementPolicy") == "Parallel"
    for ordinal, pod in enumerate(pod_documents(document.raw)):
        injected = inject(pod, labels)
        # The name and address differ between siblings; what they run does not.
        revision = fingerprint([{**injected["metadata"], "name": ""}, injected["spec"]])
        read = read_pod(injected)
        key = PodKey(document.namespace, read.metadata.name)
        yield PodPlan(key, owner, revision, ordinal, injected, read, document.folder, parallel)


def _not_runnable(owner: Ref, pod: PodDocument) -> Iterator[Problem]:
    where = "spec" if owner.kind == "Pod" else "spec.template.spec"
    for index, container in enumerate(pod.spec.containers):
        field = f"{where}.containers[{index}]"
        if not container.command:
            yield Problem(
                owner, f"{field}.command",
                f"container {container.name} has no command; images are not used on this machine, so it can't run here"
                " until it says what to run",
                RULE,
            )  # fmt: skip
        if any(probe and probe.grpc is not None for probe in _probes(container)):
            yield Problem(
                owner, field, "grpc probes are not asked on this machine; use httpGet, tcpSocket or exec", RULE
            )


def _probes(container: Container) -> tuple[Any, ...]:
    return container.startup_probe, container.readiness_probe, container.liveness_probe


def _names(kind: str, name: str, replicas: int, revision: str) -> list[str]:
    if kind == "StatefulSet":
        return [f"{name}-{ordinal}" for ordinal in range(replicas)]
    return [f"{name}-{revision}-{fingerprint([name, revision, ordinal])[:5]}" for ordinal in range(replicas)]


def _pod(workload: RawDocument, template: RawDocument, name: str) -> RawDocument:
    metadata = dict(template.get("metadata") or {})
    spec = {"serviceAccountName": "default", **(template.get("spec") or {})}
    metadata |= {"name": name, "namespace": workload["metadata"]["namespace"]}
    if workload["kind"] == "StatefulSet":
        metadata["labels"] = {**(metadata.get("labels") or {}), "statefulset.kubernetes.io/pod-name": name}
        spec |= {"hostname": name, "subdomain": (workload.get("spec") or {}).get("serviceName", "")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
