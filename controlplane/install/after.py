"""What `weft check` looks at in a cluster where Weft is installed: do its parts run, and do the others reach them.

Rule: nothing is written; what it asks to be created is a dry run, which proves that the API server reaches the webhook,
and a token for asking the control plane.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from controlplane.check import Line, problems, proxies
from controlplane.door.doors import TOKEN_HEADER
from controlplane.door.tokens import AUDIENCE
from controlplane.install.aggregated import metrics_api
from controlplane.install.before import ADMISSION, SMI_GROUPS, Asks
from controlplane.install.release import CRD_PATH
from kube.client import ApiError
from proxy import ports

DEPLOYMENTS: Final = {"weft": "The control plane", "weft-webhook": "The webhook"}
"""The Deployments of the chart, and what each is for."""

WEBHOOKS: Final = "weft-webhook"
"""The name of both webhook configurations."""

VIEWER: Final = "weft-viewer"
"""The chart's ServiceAccount that may look at everything and change nothing."""
SECONDS: Final = 600
"""How long its token lives, at least what the API server gives."""

UNREACHED: Final = "failed calling webhook"
"""How the API server begins when it got no answer from a webhook."""

LOGS: Final = "`kubectl -n {0} get pods` and `kubectl -n {0} logs deployment/{1}` say why"


async def installed(client: Asks, namespace: str) -> bool:
    """Whether the control plane's Deployment is there."""
    return await _found(client, _deployment(namespace, "weft")) is not None


async def after(client: Asks, namespace: str) -> AsyncIterator[Line]:
    """All lines. Raises ApiUnavailable where no API server answers."""
    yield Line(True, "The API server answers")
    for look in (_deployments, _crds, _bundles, _webhook, metrics_api, _mesh):
        try:
            async for line in look(client, namespace):
                yield line
        except ApiError as error:
            yield Line(False, f"Something could not be looked at: {error.message}")


def _deployment(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


async def _found(client: Asks, path: str) -> Any:
    """The object there; None where there is none."""
    try:
        return await client.request("GET", path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


async def _deployments(client: Asks, namespace: str) -> AsyncIterator[Line]:
    for name, what in DEPLOYMENTS.items():
        found = await _found(client, _deployment(namespace, name))
        if found is None:
            yield Line(False, f"{what} is not installed in {namespace}", "`weft upgrade` puts it back")
            continue
        wanted, status = found["spec"].get("replicas", 1), found.get("status") or {}
        seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        ready = status.get("readyReplicas", 0) if seen else 0
        updated = status.get("updatedReplicas", 0) if seen else 0
        yield Line(
            ready >= wanted and updated >= wanted,
            f"{what} has {ready} of {wanted} replicas ready" + ("" if updated >= wanted else f", {updated} up to date"),
            LOGS.format(namespace, name),
        )


async def _crds(client: Asks, _namespace: str) -> AsyncIterator[Line]:
    items = [item for item in (await client.request("GET", CRD_PATH))["items"] if item["spec"]["group"] in SMI_GROUPS]
    waiting = sorted(item["metadata"]["name"] for item in items if not _established(item))
    if not items:
        yield Line(False, "No SMI CRD is installed", "install them with `weft upgrade --set crds.install=true`")
    elif waiting:
        yield Line(False, f"These CRDs are not served: {', '.join(waiting)}", "kubectl describe crd NAME says why")
    else:
        yield Line(True, f"All {len(items)} SMI CRDs are served")


def _established(crd: Mapping[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


async def _bundles(client: Asks, namespace: str) -> AsyncIterator[Line]:
    """Whether the API server can tell our webhook from another server."""
    missing: list[str] = []
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        found = await _found(client, f"/apis/{ADMISSION}/v1/{kind}/{WEBHOOKS}")
        if found is None:
            yield Line(False, f"{kind}/{WEBHOOKS} is missing", "`weft upgrade` puts it back")
        elif not all(hook["clientConfig"].get("caBundle") for hook in found.get("webhooks") or ()):
            missing.append(f"{kind}/{WEBHOOKS}")
    for item in (await client.request("GET", CRD_PATH))["items"]:
        webhook = (item["spec"].get("conversion") or {}).get("webhook")
        if item["spec"]["group"] not in SMI_GROUPS or not webhook:
            continue
        calls = webhook["clientConfig"]
        if (calls.get("service") or {}).get("namespace") == namespace and not calls.get("caBundle"):
            missing.append(item["metadata"]["name"])
    yield Line(
        not missing,
        f"These have no caBundle yet: {', '.join(missing)}" if missing else "The API server trusts the webhook",
        "the replica of the control plane that holds the Lease weft-leader sets them; "
        + LOGS.format(namespace, "weft"),
    )


async def _webhook(client: Asks, _namespace: str) -> AsyncIterator[Line]:
    """Ask the API server to check, not to make, an object in the oldest version: both webhooks are called."""
    split = {
        "apiVersion": "split.smi-spec.io/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": {"name": "weft-check"},
        "spec": {"service": "weft-check", "backends": [{"service": "weft-check", "weight": "1"}]},
    }
    path = "/apis/split.smi-spec.io/v1alpha1/namespaces/default/trafficsplits"
    hint = "look at the Service and pods of weft-webhook, and whether a firewall keeps the API server from port 9443"
    try:
        await client.request("POST", path, body=split, query={"dryRun": "All"})
    except ApiError as error:
        if UNREACHED in error.message or "conversion webhook" in error.message:
            yield Line(False, f"The API server does not reach the webhook: {error.message}", hint)
        elif error.code == 404:
            return
        elif error.code == 403 and "admission webhook" not in error.message:
            yield Line(False, "Whether the API server reaches the webhook was not tried", error.message)
        else:
            yield Line(True, "The API server reaches the webhook")
        return
    yield Line(True, "The API server reaches the webhook")


async def _mesh(client: Asks, namespace: str) -> AsyncIterator[Line]:
    """Problems and proxies, as the replicas tell them. Each stream is at one replica, the Problems are at all."""
    selector = {"labelSelector": "app.kubernetes.io/name=weft,app.kubernetes.io/component=control-plane"}
    pods = (await client.request("GET", f"/api/v1/namespaces/{namespace}/pods", query=selector))["items"]
    ready = [pod["metadata"]["name"] for pod in pods if _ready(pod)]
    connected: list[dict[str, Any]] = []
    asked = "their token could not be had"
    try:
        shown = {TOKEN_HEADER: f"Bearer {await _token(client, namespace)}"} if ready else {}
        for asked in ready:
            admin = f"/api/v1/namespaces/{namespace}/pods/https:{asked}:{ports.ADMIN_TLS}/proxy"
            connected += await client.request("GET", f"{admin}/proxies", headers=shown)
            if asked == ready[0]:
                for line in problems(await client.request("GET", f"{admin}/problems", headers=shown)):
                    yield line
    except ApiError as error:
        yield Line(
            False,
            f"The control plane's pods could not be asked through the API server ({asked}): {error.message}",
            f"you need `get` on pods/proxy and `create` on serviceaccounts/token of {VIEWER} there; or use "
            "`kubectl port-forward` and `weft check --admin URL`",
        )
        return
    if ready:
        for line in proxies(connected):
            yield line


async def _token(client: Asks, namespace: str) -> str:
    """One of a few minutes for the account that may look, and for nobody but the control plane."""
    spec = {"audiences": [AUDIENCE], "expirationSeconds": SECONDS}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{VIEWER}/token"
    return str((await client.request("POST", path, body=body))["status"]["token"])


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
