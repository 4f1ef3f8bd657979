"""From Deployments, StatefulSets and Pods to the pods that should run: names, revisions, and the injector's output.

Rule: pure. The same manifests always give the same pods with the same names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from kube.names import label_fault
from kube.objects import RawDocument
from kube.problem import Problem, Ref
from local.manifests import Document, Manifests
from local.podspec import Container, PodDocument, read_pod
from webhook.inject import Injection, NamespaceView

WORKLOADS = ("Deployment", "StatefulSet", "Pod")

Inject = Callable[[RawDocument, NamespaceView], Injection]
"""A pod and its namespace in, the pod as it shall run out."""

MOST_REPLICAS = 250
"""Pods of one workload; more are not made on one machine."""

_LETTERS = str.maketrans("013ae", "ghjkm")
"""Hexadecimal digits as the letters that Kubernetes names pods with, by which a workload is told (`kube.workload`)."""

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
    `raw` the document after injection, `pod` the same decoded, `folder` where its containers start. `uid` is empty
    where no API server has given it one.
    """

    key: PodKey
    owner: Ref
    revision: str
    ordinal: int
    raw: RawDocument
    pod: PodDocument
    folder: Path
    parallel: bool = True
    uid: str = ""


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
        namespace = NamespaceView(document.namespace, labels.get(document.namespace, {}))
        found, mistakes = _workload(document, namespace, inject)
        problems += mistakes
        pods += [plan for plan in last.pods if plan.owner == document.ref] if mistakes else found
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


def _workload(document: Document, namespace: NamespaceView, inject: Inject) -> tuple[list[PodPlan], list[Problem]]:
    owner = document.ref
    try:
        injections = [inject(pod, namespace) for pod in pod_documents(document.raw)]
        # Siblings have the same mistakes: those of the first are told.
        refused = [_of_owner(problem, owner) for injection in injections[:1] for problem in injection.problems]
        plans = [] if refused else list(_plans(document, injections))
    except (msgspec.ValidationError, TypeError, ValueError, AttributeError, KeyError) as error:
        return [], [Problem(owner, "", f"it can't be read as a pod ({error}); it does not run on this machine", RULE)]
    return plans, refused or [problem for plan in plans[:1] for problem in not_runnable(owner, plan.pod)]


def _of_owner(problem: Problem, owner: Ref) -> Problem:
    field = problem.field if owner.kind == "Pod" or not problem.field else f"spec.template.{problem.field}"
    return replace(problem, object=owner, field=field)


def _plans(document: Document, injections: Iterable[Injection]) -> Iterator[PodPlan]:
    parallel = document.kind != "StatefulSet" or document.raw["spec"].get("podManagementPolicy") == "Parallel"
    for ordinal, injection in enumerate(injections):
        injected = injection.pod
        # The name and address differ between siblings; what they run does not.
        revision = fingerprint([{**injected["metadata"], "name": ""}, injected["spec"]])
        read = read_pod(injected)
        key = PodKey(document.namespace, read.metadata.name)
        yield PodPlan(key, document.ref, revision, ordinal, injected, read, document.folder, parallel)


def not_runnable(owner: Ref, pod: PodDocument) -> Iterator[Problem]:
    """Why a pod of this owner can't run on this machine; nothing where it can."""
    where = "spec" if owner.kind == "Pod" else "spec.template.spec"
    for field, fault in _misnamed(pod):
        yield Problem(owner, f"{where}.{field}", f"{fault}; it does not run on this machine", RULE)
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


def _misnamed(pod: PodDocument) -> Iterator[tuple[str, str]]:
    """What becomes the name of a file or a host here and can't be one: its field, and why."""
    spec = pod.spec
    named = [(f"volumes[{index}].name", volume.name) for index, volume in enumerate(spec.volumes)]
    named += [(field, text) for field, text in (("hostname", spec.hostname), ("subdomain", spec.subdomain)) if text]
    for group, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            named.append((f"{group}[{index}].name", container.name))
            for number, mount in enumerate(container.volume_mounts):
                if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
                    yield f"{group}[{index}].volumeMounts[{number}].subPath", "a subPath stays inside its volume"
    yield from ((field, fault) for field, text in named if (fault := label_fault(text)))


def _probes(container: Container) -> tuple[Any, ...]:
    return container.startup_probe, container.readiness_probe, container.liveness_probe


def _names(kind: str, name: str, replicas: int, revision: str) -> list[str]:
    if kind == "StatefulSet":
        return [f"{name}-{ordinal}" for ordinal in range(replicas)]
    endings = [fingerprint([name, revision, ordinal])[:5] for ordinal in range(replicas)]
    return [f"{name}-{f'{revision}-{ending}'.translate(_LETTERS)}" for ending in endings]


def _pod(workload: RawDocument, template: RawDocument, name: str) -> RawDocument:
    metadata = dict(template.get("metadata") or {})
    spec = {"serviceAccountName": "default", **(template.get("spec") or {})}
    metadata |= {"name": name, "namespace": workload["metadata"]["namespace"]}
    if workload["kind"] == "StatefulSet":
        metadata["labels"] = {**(metadata.get("labels") or {}), "statefulset.kubernetes.io/pod-name": name}
        spec |= {"hostname": name, "subdomain": (workload.get("spec") or {}).get("serviceName", "")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
