"""What `weft check` looks at of the SMI metrics API: does the API server reach it, and trust it.

Rule: nothing is written. An API server that can't ask us counts, for it can't finish deleting namespaces meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from controlplane.check import Line
from controlplane.install.before import Asks
from controlplane.metrics_api.paths import GROUP, VERSIONS
from kube.client import ApiError
from proxy import ports

SERVICE: Final = "weft"
REGISTERED: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
WITHOUT: Final = "`weft upgrade --set metricsApi.enabled=false` does without; `weft stat` goes on"


async def metrics_api(client: Asks, namespace: str) -> AsyncIterator[Line]:
    """A line where all is well or the API is switched off, else one for each version that has a fault."""
    found = {version: await _registered(client, version) for version in VERSIONS}
    if not any(found.values()):
        yield Line(True, "The SMI metrics API is switched off")
        return
    faults = [await _fault(client, namespace, version, item) for version, item in found.items()]
    if not any(faults):
        yield Line(True, "The API server reaches the SMI metrics API")
    for fault in filter(None, faults):
        yield fault


async def _registered(client: Asks, version: str) -> Any:
    try:
        return await client.request("GET", f"{REGISTERED}/{version}.{GROUP}")
    except ApiError as error:
        if error.code == 404:
            return None
        raise


async def _fault(client: Asks, namespace: str, version: str, item: Mapping[str, Any] | None) -> Line | None:
    """What is wrong with a version, if anything is."""
    name = f"apiservice/{version}.{GROUP}"
    if item is None:
        return Line(False, f"{name} is missing", "`weft upgrade` puts it back")
    service = item["spec"].get("service") or {}
    if (service.get("namespace"), service.get("name")) != (namespace, SERVICE):
        called = "/".join(filter(None, (service.get("namespace"), service.get("name")))) or "the API server itself"
        hint = f"remove what installed it and run `weft upgrade`; {WITHOUT}"
        return Line(False, f"{name} is served by {called}, not by Weft in {namespace}", hint)
    if not item["spec"].get("caBundle"):
        hint = (
            "the replica of the control plane that holds the Lease weft-leader sets it; "
            f"`kubectl -n {namespace} logs deployment/weft` says why it did not"
        )
        return Line(False, f"{name} has no caBundle yet", hint)
    if why := await _unreached(client, version, item):
        hint = (
            f"look whether pods of the control plane are ready, and whether a firewall or NetworkPolicy keeps the API "
            f"server from their port {ports.METRICS_API}; until then namespaces can't be deleted. {WITHOUT}"
        )
        return Line(False, f"{name} is not available: {why}", hint)
    return None


async def _unreached(client: Asks, version: str, item: Mapping[str, Any]) -> str:
    """Why the API server can't ask us, as it says itself; empty where it can."""
    for condition in (item.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Available" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "it does not say why")
    try:
        await client.request("GET", f"/apis/{GROUP}/{version}")
    except ApiError as error:
        return error.message
    return ""
