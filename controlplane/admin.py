"""The admin API: health, Problems, proxies, and what a proxy is sent. Read-only, but for controlplane.ca_api.

Rule: whatever address it listens on, it answers those on this machine (controlplane.door says who else is told what),
and it never shows key material.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from controlplane.door.doors import plain_door
from controlplane.listening.server import Manner, Server, server_of
from controlplane.status import Status
from controlplane.view import problem_view, proxy_view, readiness_view, snapshot_view
from mesh.model import PodId
from xds.server import ProxyStatus


def admin_api(status: Status, proxies: Callable[[], list[ProxyStatus]], registry: CollectorRegistry) -> FastAPI:
    """The API as an ASGI application; it reads what it is given and changes nothing."""
    api = FastAPI(title="Weft admin API", docs_url=None, redoc_url=None)

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        response.status_code = 200 if status.ready else 503
        return readiness_view(status)

    @api.get("/status")
    async def overview() -> dict[str, Any]:
        return {
            **readiness_view(status),
            "problems": len(status.problems),
            "proxies": len(proxies()),
            "cluster": status.cluster.view() if status.cluster is not None else None,
        }

    @api.get("/problems")
    async def problems() -> list[dict[str, Any]]:
        return [problem_view(problem) for problem in status.problems]

    @api.get("/proxies")
    async def proxy_list() -> list[dict[str, Any]]:
        return [proxy_view(proxy) for proxy in proxies()]

    @api.get("/config/{namespace}/{pod}")
    async def config(namespace: str, pod: str) -> dict[str, Any]:
        role = status.world.proxies.get(PodId(namespace, pod))
        if role is None:
            raise HTTPException(404, f"no meshed pod {namespace}/{pod} is known")
        return snapshot_view(status.world.roles[role])

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return api


def admin_server(api: FastAPI) -> Server:
    """A server for `serve(sockets=…)`, quiet in the log, for those who are on this machine."""
    return server_of(plain_door(api), Manner())


def listen(address: str, port: int, path: Path | None) -> list[socket.socket]:
    """The sockets the admin API is served on: TCP, and a Unix socket that only its owner can open."""
    sockets = [socket.create_server((address, port))]
    if path is not None:
        path.unlink(missing_ok=True)
        unix = socket.socket(socket.AF_UNIX)
        # Nobody else can open it, not even between these lines.
        mask = os.umask(0o177)
        try:
            unix.bind(str(path))
        finally:
            os.umask(mask)
        unix.listen()
        sockets.append(unix)
    return sockets
