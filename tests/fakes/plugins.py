"""Admission plugins of the API server itself. Rule: each looks at the attempt and the store, and refuses or fills in.

Source: kubernetes/plugin/pkg/admission/serviceaccount, apiserver/pkg/admission/plugin/namespace/lifecycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes import errors
from tests.fakes.hooks import Attempt
from tests.fakes.storage import Object, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def namespace_lifecycle(api: Api, attempt: Attempt) -> None:
    """Nothing new in a namespace that is absent or going; the system's namespaces stay."""
    kind = attempt.kind
    if kind.key == ("", "namespaces"):
        if attempt.operation == "DELETE" and attempt.name in IMMORTAL:
            raise errors.forbidden("", "namespaces", attempt.name, "this namespace may not be deleted")
        return
    if not kind.namespaced or attempt.operation != "CREATE" or kind.group == "authorization.k8s.io":
        return
    namespace = api.store.get(("", "namespaces"), ("", attempt.namespace))
    if namespace is None:
        raise errors.not_found("", "namespaces", attempt.namespace)
    if namespace.object["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {attempt.namespace} because it is being terminated"
        refused = errors.forbidden(kind.group, kind.plural, attempt.name, why)
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {attempt.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        refused.details["causes"] = [cause]
        raise refused


def service_account(api: Api, attempt: Attempt) -> None:
    """A pod runs as an existing ServiceAccount and mounts its token, unless it says otherwise."""
    if attempt.kind.key != ("", "pods") or attempt.operation != "CREATE" or attempt.subresource:
        return
    pod = attempt.object or {}
    if "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {}):
        return
    spec: Object = copied(pod.get("spec") or {})
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = api.store.get(("", "serviceaccounts"), (attempt.namespace, name))
    if account is None:
        missing = f'error looking up service account {attempt.namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("", "pods", attempt.name, missing)
    automount = spec.get("automountServiceAccountToken", account.object.get("automountServiceAccountToken", True))
    if automount:
        _mount_token(spec, api.suffix())
    if not spec.get("imagePullSecrets") and account.object.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account.object["imagePullSecrets"]
    if spec != pod.get("spec"):
        attempt.object = {**pod, "spec": spec}


def priority_and_tolerations(attempt: Attempt) -> None:
    """The priority of a pod without a class, and how long it stays on a node that is away."""
    if attempt.kind.key != ("", "pods") or attempt.operation != "CREATE" or attempt.subresource:
        return
    pod = attempt.object or {}
    spec: Object = dict(pod.get("spec") or {})
    if not spec.get("priorityClassName"):
        spec["priority"], spec["preemptionPolicy"] = 0, spec.get("preemptionPolicy", "PreemptLowerPriority")
    have = spec.get("tolerations") or []
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if not any(each.get("key") in {key, None} and each.get("effect") in {"NoExecute", None} for each in have)
    ]
    spec["tolerations"] = [*have, *added]
    if not spec["tolerations"]:
        del spec["tolerations"]
    if spec != pod.get("spec"):
        attempt.object = {**pod, "spec": spec}


def _mount_token(spec: Object, suffix: str) -> None:
    volumes: list[Any] = spec.setdefault("volumes", [])
    volume = next((each["name"] for each in volumes if each.get("name", "").startswith("kube-api-access-")), "")
    needs = [
        each
        for each in [*spec.get("initContainers", []), *spec.get("containers", [])]
        if all(mount.get("mountPath") != TOKEN_PATH for mount in each.get("volumeMounts") or [])
    ]
    if not volume and needs:
        volume = f"kube-api-access-{suffix}"
        volumes.append(_token_volume(volume))
    for each in needs:
        each.setdefault("volumeMounts", []).append({"name": volume, "readOnly": True, "mountPath": TOKEN_PATH})
    if not volumes:
        del spec["volumes"]


def _token_volume(name: str) -> Object:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
