"""The subresource `proxy` of pods: requests are passed on to the pod's address, without who asks.

Rule: the caller is authorized here first; the pod is shown neither the caller's name nor the Authorization header, and
its certificate is not checked. Source: kubernetes/pkg/registry/core/pod/rest/subresources.go and strategy.go
(ResourceLocation), apimachinery/pkg/util/proxy/upgradeaware.go.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from tests.fakes import errors
from tests.fakes.requests import Reply, Request

if TYPE_CHECKING:
    from tests.fakes.api import Api

SECONDS = 30.0
PODS = ("", "pods")
KEPT_BACK = frozenset({"authorization", "host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


@dataclass(frozen=True)
class Proxied:
    """`/api/v1/namespaces/NAMESPACE/pods/[SCHEME:]NAME[:PORT]/proxy/PATH`."""

    namespace: str
    asked: str
    scheme: str
    name: str
    port: int
    path: str


def proxied(path: str) -> Proxied | None:
    """The parts, if it is such a path."""
    match path.split("/", 8):
        case ["", "api", "v1", "namespaces", namespace, "pods", asked, "proxy", *rest]:
            parts = asked.split(":")
            scheme, name, port = parts if len(parts) == 3 else ("", *parts) if len(parts) == 2 else ("", asked, "80")
            return Proxied(namespace, asked, scheme or "http", name, int(port), "/" + "".join(rest))
    return None


class PodProxy:
    """Passes on."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def forward(self, request: Request, to: Proxied) -> Reply:
        """The pod's answer."""
        found = (item.object for item in self._api.store.all(PODS))
        named = (to.namespace, to.name)
        pod = next((each for each in found if (each["metadata"]["namespace"], each["metadata"]["name"]) == named), None)
        if pod is None:
            raise errors.not_found("", "pods", to.name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise errors.bad_request("address not allowed")
        try:
            return await asyncio.to_thread(_ask, request, to, address)
        except (OSError, http.client.HTTPException) as error:
            raise errors.StatusError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from None


def _ask(request: Request, to: Proxied, address: str) -> Reply:
    if to.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, to.port, timeout=SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, to.port, timeout=SECONDS)
    path = quote(to.path) + (f"?{urlencode(request.query)}" if request.query else "")
    headers = {name: value for name, value in request.headers.items() if name not in KEPT_BACK}
    try:
        connection.request(request.method, path, body=request.body or None, headers=headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain"))
    finally:
        connection.close()
