"""An API server that says what a test tells it to. Rule: it knows nothing of Kubernetes; the test's handler decides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from kube.client import Client, ClientSettings

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def write_kubeconfig(path: Path, server: str, user: dict[str, Any]) -> Path:
    """A kubeconfig of one context; YAML is a superset of JSON."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": server}}],
                "users": [{"name": "test", "user": user}],
            }
        )
    )
    return path


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server on loopback that answers every request as the handler says."""
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(folder: Path, handler: Handler, user: dict[str, Any] | None = None) -> AsyncIterator[Client]:
    """A client of such a server."""
    async with serving(handler) as url:
        client = await Client.open(ClientSettings(write_kubeconfig(folder / "config", url, user or {"token": "t"})))
        try:
            yield client
        finally:
            await client.close()
