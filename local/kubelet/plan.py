"""From a pod of the API server to one that this node can run.

Rule: pure. What the node can't do is refused with a sentence that names the field, before anything of the pod begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kube.objects import RawDocument
from kube.problem import Problem, Ref
from local.podspec import PodDocument, read_pod
from local.workloads import RULE, PodKey, PodPlan, not_runnable


class Refused(Exception):  # noqa: N818 - it names what is wrong with the pod
    """The pod can't run on this node; the text says why, for a person."""


def plan_of(document: RawDocument, folder: Path) -> PodPlan:
    """The pod as it shall run; its containers start in `folder`. Raises Refused."""
    metadata = document["metadata"]
    owner = Ref("Pod", metadata["namespace"], metadata["name"])
    try:
        pod = read_pod(document)
    except msgspec.ValidationError as error:
        raise Refused(f"it can't be read ({error}); it does not run on this node") from error
    problems = [*not_runnable(owner, pod), *_unlike(owner, document)]
    if problems:
        raise Refused("; ".join(f"{each.field}: {each.message}" for each in problems))
    return PodPlan(
        key=PodKey(metadata["namespace"], metadata["name"]),
        owner=owner,
        revision=metadata["uid"],
        ordinal=0,
        raw=document,
        pod=_named(pod),
        folder=folder,
        uid=metadata["uid"],
    )


def _named(pod: PodDocument) -> PodDocument:
    """Kubernetes fills in the account of a pod that names none."""
    if pod.spec.service_account_name:
        return pod
    spec = msgspec.structs.replace(pod.spec, service_account_name="default")
    return msgspec.structs.replace(pod, spec=spec)


def _unlike(owner: Ref, document: RawDocument) -> Iterator[Problem]:
    """What this node would do otherwise than the pod asks."""
    if document["spec"].get("hostNetwork"):
        yield Problem(owner, "spec.hostNetwork", "pods of this node have a network of their own; it does not run", RULE)
