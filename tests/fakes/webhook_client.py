"""Calls webhooks as an API server does: POST over TLS, to a URL or to what is behind a Service.

Rule: whatever goes wrong is a `CallError` with a sentence; a webhook never breaks the server that calls it.
Source: admissionregistration.k8s.io/v1 WebhookClientConfig; Kubernetes page "Dynamic Admission Control".
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.storage import Object, Store

SERVICES = ("", "services")
SLICES = ("discovery.k8s.io", "endpointslices")


class CallError(Exception):
    """The webhook could not be reached, or gave no answer that can be used."""


@dataclass(frozen=True)
class Target:
    """Where to connect, what the certificate has to say, and what the call is named in messages."""

    host: str
    port: int
    server_name: str
    path: str
    url: str


async def call(store: Store, config: Mapping[str, Any], review: Object, seconds: float) -> Object:
    """Send a review; the decoded answer."""
    url, path = _shown(config, seconds)
    target = _target(store, config, url, path)
    try:
        content = await asyncio.wait_for(
            asyncio.to_thread(_post, target, config.get("caBundle"), review, seconds), seconds
        )
    except TimeoutError:
        raise CallError(f'Post "{url}": context deadline exceeded') from None
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or str(error)
        raise CallError(f'Post "{url}": tls: failed to verify certificate: x509: {why}') from None
    except (OSError, http.client.HTTPException) as error:
        why = "connect: connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
        raise CallError(f'Post "{url}": dial tcp {target.host}:{target.port}: {why}') from None
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise CallError(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(answer, dict):
        raise CallError("couldn't get version/kind; json parse error: the answer is no object")
    return answer


def _shown(config: Mapping[str, Any], seconds: float) -> tuple[str, str]:
    """The URL as messages show it, and the path."""
    if url := config.get("url"):
        path = urlsplit(url).path or "/"
    else:
        service = config["service"]
        path = service.get("path") or "/"
        url = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}{path}"
    return f"{url}?timeout={seconds:g}s", f"{path}?timeout={seconds:g}s"


def _target(store: Store, config: Mapping[str, Any], shown: str, path: str) -> Target:
    if url := config.get("url"):
        parts = urlsplit(url)
        host = parts.hostname or ""
        return Target(host, parts.port or 443, host, path, shown)
    service = config["service"]
    namespace, name, port = service["namespace"], service["name"], service.get("port", 443)
    try:
        host, number = endpoint_of(store, namespace, name, port)
    except LookupError as error:
        raise CallError(f'Post "{shown}": {error.args[0]}') from None
    return Target(host, number, f"{name}.{namespace}.svc", path, shown)


def endpoint_of(store: Store, namespace: str, name: str, port: int) -> tuple[str, int]:
    """A ready endpoint of a Service: address and port."""
    found = store.get(SERVICES, (namespace, name))
    if found is None:
        raise LookupError(f'service "{name}" not found')
    wanted = next((each for each in found.object["spec"].get("ports") or () if each["port"] == port), None)
    if wanted is None:
        raise LookupError(f'no service port {port} found for service "{name}"')
    for stored in store.all(SLICES, namespace):
        labels = stored.object["metadata"].get("labels") or {}
        if labels.get("kubernetes.io/service-name") != name:
            continue
        numbers = [
            each["port"] for each in stored.object.get("ports") or () if each.get("name", "") == wanted.get("name", "")
        ]
        for endpoint in stored.object.get("endpoints") or ():
            if numbers and (endpoint.get("conditions") or {}).get("ready") is not False:
                return endpoint["addresses"][0], numbers[0]
    raise LookupError(f'no endpoints available for service "{name}"')


def _post(target: Target, bundle: str | None, review: Object, seconds: float) -> bytes:
    roots = base64.b64decode(bundle).decode() if bundle else None
    context = ssl.create_default_context(cadata=roots)
    plain = socket.create_connection((target.host, target.port), seconds)
    with plain, context.wrap_socket(plain, server_hostname=target.server_name) as wrapped:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=seconds)
        connection.sock = wrapped
        head = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        connection.request("POST", target.path, json.dumps(review).encode(), head)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200:
        raise CallError(_refused(answer.status, content))
    return content


def _refused(code: int, content: bytes) -> str:
    """What a client of Kubernetes makes of an HTTP code."""
    known = {
        400: "the server rejected our request for an unknown reason",
        404: "the server could not find the requested resource",
        503: "the server is currently unable to handle the request",
    }
    said = json.dumps(content.decode(errors="replace").strip())
    return known.get(code, f"an error on the server ({said}) has prevented the request from succeeding")
