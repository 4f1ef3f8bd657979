"""What `weft check` looks at in a cluster where Weft is not installed yet: would it work, and would it be alone.

Rule: nothing is written, and what can't be looked at is a line that says so, never a failure of the others.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from controlplane.check import Line
from controlplane.install.chart import RELEASE
from controlplane.install.release import CRD_PATH
from kube.client import ApiError

OLDEST: Final = (1, 27)
"""The oldest Kubernetes the chart takes (its kubeVersion)."""

SMI_GROUPS: Final = ("split.smi-spec.io", "access.smi-spec.io", "specs.smi-spec.io")

ADMISSION: Final = "admissionregistration.k8s.io"
RBAC: Final = "rbac.authorization.k8s.io"

CREATED: Final = (
    ("", "namespaces", False),
    ("", "serviceaccounts", True),
    ("", "services", True),
    ("", "secrets", True),
    ("apps", "deployments", True),
    ("policy", "poddisruptionbudgets", True),
    ("networking.k8s.io", "networkpolicies", True),
    ("scheduling.k8s.io", "priorityclasses", False),
    ("apiextensions.k8s.io", "customresourcedefinitions", False),
    ("apiregistration.k8s.io", "apiservices", False),
    (ADMISSION, "mutatingwebhookconfigurations", False),
    (ADMISSION, "validatingwebhookconfigurations", False),
    (RBAC, "clusterroles", False),
    (RBAC, "clusterrolebindings", False),
    (RBAC, "roles", True),
    (RBAC, "rolebindings", True),
)
"""What an install with the chart's defaults creates: API group, resource, whether it lives in the namespace."""

_OTHERS: Final = {
    "istio-": "Istio",
    "linkerd-": "Linkerd",
    "osm-": "Open Service Mesh",
    "kuma-": "Kuma",
    "consul-": "Consul",
}
"""What names of other meshes' webhook configurations begin with."""


class Asks(Protocol):
    """As much of kube.client.Client as is needed."""

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] = ..., body: object = None,
        headers: Mapping[str, str] = ...,
    ) -> Any:  # fmt: skip
        """The decoded answer. Raises ApiError and ApiUnavailable."""


async def before(client: Asks, namespace: str) -> AsyncIterator[Line]:
    """All lines. Raises ApiUnavailable where no API server answers."""
    yield _version(await client.request("GET", "/version"))
    async for line in _permissions(client, namespace):
        yield line
    for look in (_other_weft, _crds, _other_meshes):
        try:
            yield await look(client, namespace)
        except ApiError as error:
            yield Line(False, f"It can't be looked up whether something is in the way: {error.message}")


def _version(answer: Mapping[str, Any]) -> Line:
    numbers = [re.match(r"\d*", str(answer.get(key, "")))[0] for key in ("major", "minor")]  # type: ignore[index]
    version = tuple(int(number or 0) for number in numbers)
    return Line(
        version >= OLDEST,
        f"The API server answers; it is Kubernetes {answer.get('gitVersion', 'of an unknown version')}",
        f"Weft needs {OLDEST[0]}.{OLDEST[1]} or newer",
    )


async def _permissions(client: Asks, namespace: str) -> AsyncIterator[Line]:
    refused = [what for what in CREATED if not await _allowed(client, namespace, *what)]
    if not refused:
        yield Line(True, "You may create everything an install needs")
    for group, resource, namespaced in refused:
        where = f" in {namespace}" if namespaced else ""
        yield Line(
            False,
            f"You may not create {resource}{f'.{group}' if group else ''}{where}",
            "ask for it, or let somebody install who may; `weft manifest` prints what would be applied",
        )


async def _allowed(client: Asks, namespace: str, group: str, resource: str, namespaced: bool) -> bool:
    asked = {"verb": "create", "group": group, "resource": resource} | ({"namespace": namespace} if namespaced else {})
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool((await client.request("POST", path, body=review))["status"].get("allowed"))


async def _other_weft(client: Asks, namespace: str) -> Line:
    selector = {"labelSelector": "app.kubernetes.io/name=weft,app.kubernetes.io/component=control-plane"}
    found = await client.request("GET", "/apis/apps/v1/deployments", query=selector)
    elsewhere = [place for item in found["items"] if (place := item["metadata"]["namespace"]) != namespace]
    return Line(
        not elsewhere,
        f"Weft is installed in {elsewhere[0]} already" if elsewhere else "No other Weft is in this cluster",
        "a cluster has one; upgrade that one with --namespace, or uninstall it first",
    )


async def _crds(client: Asks, namespace: str) -> Line:
    items = (await client.request("GET", CRD_PATH))["items"]
    smi = [item for item in items if item["spec"]["group"] in SMI_GROUPS]
    strangers = sorted(item["metadata"]["name"] for item in smi if not _ours(item["metadata"], namespace))
    hint = (
        "delete them if their mesh is gone, else install with --set crds.install=false and the versions they serve; "
        "to let this release take them over, see docs/kubernetes.md"
    )
    if strangers:
        return Line(False, f"These SMI CRDs belong to somebody else: {', '.join(strangers)}", hint)
    found = "those of an earlier install are taken over" if smi else "there are none yet"
    return Line(True, f"The SMI CRDs can be installed; {found}")


def _ours(metadata: Mapping[str, Any], namespace: str) -> bool:
    """Whether Helm lets our release adopt it."""
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    owner = (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace"))
    return owner == (RELEASE, namespace) and labels.get("app.kubernetes.io/managed-by") == "Helm"


async def _other_meshes(client: Asks, _namespace: str) -> Line:
    path = f"/apis/{ADMISSION}/v1/mutatingwebhookconfigurations"
    names = [item["metadata"]["name"] for item in (await client.request("GET", path))["items"]]
    meshes = sorted({mesh for name in names for start, mesh in _OTHERS.items() if name.startswith(start)})
    if not meshes:
        return Line(True, "No other mesh injects sidecars here")
    also = f"{' and '.join(meshes)} injects sidecars here too; a pod that has one is left alone by Weft"
    return Line(True, also)
