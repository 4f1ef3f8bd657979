"""Whether somebody is on the control plane's own machine, or in its pod, which `kubectl port-forward` leads into.

Rule: an address of loopback or a Unix socket, and no page of another site: a browser names the host it was led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from fastapi import HTTPException, Request

from controlplane.client import ASKING

ALLOWED: Final = "weft.allowed"
"""Set in a request's scope where a token and the cluster's rights let its bearer do this, wherever that is."""

Scope = Mapping[str, Any]


def is_here(scope: Scope) -> bool:
    """Whether the connection comes from loopback or a Unix socket."""
    client = scope.get("client")
    return client is None or not client[0] or _is_loopback(client[0])


def names_us(scope: Scope) -> bool:
    """Whether the Host header is an address or `localhost`, so that no name was made to lead here (DNS rebinding).

    No browser opens a Unix socket.
    """
    client = scope.get("client")
    if client is None or not client[0]:
        return True
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name in {"", "localhost"}
    return True


def check_here(request: Request, told: str) -> None:
    """Raises HTTPException, with the sentence `told`, for somebody elsewhere who has no right to be answered there.

    Where nobody shows a token, a header that no web page can send shows that it is no web page.
    """
    if request.scope.get(ALLOWED):
        return
    if not is_here(request.scope):
        raise HTTPException(403, told)
    if ASKING not in request.headers:
        raise HTTPException(403, f"such a request carries the header {ASKING}, which no web page can send")


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
