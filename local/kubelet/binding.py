"""Binds pods that no node has to this one, where no scheduler does it.

Rule: only what names the default scheduler, and only what the pod itself lets run here: its nodeSelector, the required
part of its node affinity, its gates. Taints, resources and the affinity between pods are not looked at.
Source: Kubernetes page "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kube.client import ApiError, ApiUnavailable, Client
from kube.objects import RawDocument

DEFAULT_SCHEDULER = "default-scheduler"

Labels = Mapping[str, str]


def fits(pod: RawDocument, node: str, labels: Labels) -> bool:
    """Whether we may bind this pod to a node of this name and these labels."""
    spec = pod["spec"]
    if spec.get("nodeName") or spec.get("schedulingGates") or pod["metadata"].get("deletionTimestamp"):
        return False
    if spec.get("schedulerName", DEFAULT_SCHEDULER) != DEFAULT_SCHEDULER:
        return False
    chosen = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in chosen.items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = (required or {}).get("nodeSelectorTerms") or ()
    return required is None or any(_matches(term, node, labels) for term in terms)


async def bind(client: Client, pod: RawDocument, node: str) -> None:
    """Bind a pod; one that was bound or is gone meanwhile is left as it is. Raises ApiError and ApiUnavailable."""
    metadata = pod["metadata"]
    body = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
    try:
        await client.request("POST", path, body=body)
    except ApiError as error:
        if error.code not in {404, 409}:
            raise


async def bind_all(
    client: Client, pods: Iterable[RawDocument], node: str, labels: Labels, tell: Callable[[str, str, str], Any]
) -> bool:
    """Bind what fits; whether something has to be tried again. `tell` is given a pod's name, a word and a sentence."""
    again = False
    for pod in pods:
        if not fits(pod, node, labels):
            continue
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        try:
            await bind(client, pod, node)
        except ApiUnavailable:
            again = True
        except ApiError as error:
            tell(f"Pod {name}", "not bound", error.message)
            again = True
    return again


def _matches(term: RawDocument, node: str, labels: Labels) -> bool:
    """One nodeSelectorTerm; an empty one selects nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(
        _holds(each, {"metadata.name": node}) for each in fields
    )


def _holds(expression: RawDocument, labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    found = labels.get(key)
    answers: dict[str, Callable[[], bool]] = {
        "In": lambda: found in values,
        "NotIn": lambda: found not in values,
        "Exists": lambda: found is not None,
        "DoesNotExist": lambda: found is None,
        "Gt": lambda: _number(found) is not None and int(found or 0) > int(values[0]),
        "Lt": lambda: _number(found) is not None and int(found or 0) < int(values[0]),
    }
    return operator in answers and answers[operator]()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None
