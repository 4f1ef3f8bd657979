"""API groups that another server serves: requests are passed on, as the front proxy, with who asks in headers.

Rule: the caller is authorized here first, and what it says of itself in such headers is not passed on. An APIService's
condition `Available` is not kept: whether its server answers shows when it is asked.
Source: Kubernetes page "Configure the Aggregation Layer"; kube-aggregator/pkg/apiserver/handler_proxy.go.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from api_server_keys import Signer
from tests.fakes import errors
from tests.fakes.hooks import User
from tests.fakes.requests import Reply, Request
from tests.fakes.webhook_client import endpoint_of

if TYPE_CHECKING:
    from tests.fakes.api import Api

Object = dict[str, Any]
API_SERVICES = ("apiregistration.k8s.io", "apiservices")
AUTHENTICATION = "extension-apiserver-authentication"
NAME = "front-proxy-client"
SECONDS = 60.0


class Aggregation:
    """Passes on."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._signer = Signer("front-proxy")
        self._pair = self._signer.client(NAME)

    def furnish(self) -> None:
        """Tell those who are asked how the front proxy is known."""
        data = {
            "requestheader-client-ca-file": self._signer.pem.decode(),
            "requestheader-allowed-names": json.dumps([NAME]),
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        self._api.system.create("ConfigMap", {"name": AUTHENTICATION, "namespace": "kube-system"}, data=data)

    def groups(self) -> list[Object]:
        """The groups that others serve, as discovery lists them."""
        found: dict[str, list[Object]] = {}
        for spec in sorted(self._specs(), key=lambda each: -each["versionPriority"]):
            found.setdefault(spec["group"], []).append(spec)
        return [
            {
                "name": group,
                "versions": (versions := [_version(spec) for spec in specs]),
                "preferredVersion": versions[0],
            }
            for group, specs in found.items()
        ]

    def serving(self, path: str) -> Object | None:
        """The spec of the APIService that a path belongs to, if another server serves it."""
        steps = path.strip("/").split("/")
        if steps[0] != "apis" or len(steps) < 3:
            return None
        return next((spec for spec in self._specs() if [spec["group"], spec["version"]] == steps[1:3]), None)

    async def forward(self, user: User, request: Request, spec: Object) -> Reply:
        """The other server's answer."""
        try:
            return await asyncio.to_thread(self._ask, user, request, spec)
        except (OSError, http.client.HTTPException, LookupError) as error:
            raise errors.StatusError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from None

    def _specs(self) -> list[Object]:
        return [item.object["spec"] for item in self._api.store.all(API_SERVICES) if item.object["spec"].get("service")]

    def _ask(self, user: User, request: Request, spec: Object) -> Reply:
        service = spec["service"]
        namespace, name = service["namespace"], service["name"]
        address = endpoint_of(self._api.store, namespace, name, service.get("port", 443))
        path = quote(request.path) + (f"?{urlencode(request.query)}" if request.query else "")
        plain = socket.create_connection(address, SECONDS)
        with plain, self._context(spec).wrap_socket(plain, server_hostname=f"{name}.{namespace}.svc") as wrapped:
            connection = http.client.HTTPConnection(*address, timeout=SECONDS)
            connection.sock = wrapped
            connection.putrequest(request.method, path)
            for key, value in _headers(user, request):
                connection.putheader(key, value)
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            return Reply(answer.status, answer.read(), kind)

    def _context(self, spec: Object) -> ssl.SSLContext:
        bundle = spec.get("caBundle")
        context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode() if bundle else None)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*self._pair.write(Path(folder), "front"))
        return context


def _headers(user: User, request: Request) -> list[tuple[str, str]]:
    about = [("X-Remote-User", user.name), *(("X-Remote-Group", group) for group in user.groups)]
    about += [(f"X-Remote-Extra-{quote(key)}", value) for key, values in user.extra.items() for value in values]
    return [("Accept", request.headers.get("accept", "application/json")), ("Connection", "close"), *about]


def _version(spec: Object) -> Object:
    return {"groupVersion": f"{spec['group']}/{spec['version']}", "version": spec["version"]}
