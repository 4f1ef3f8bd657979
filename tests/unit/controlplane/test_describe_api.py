"""Descriptions in the admin API: what is there is described, what is not is said in a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from controlplane.admin import admin_server, listen
from controlplane.cli.describe import asked
from controlplane.client import AdminClient, Unreachable
from controlplane.describe.api import describe_routes
from controlplane.describe.scene import UnknownError
from controlplane.status import Status
from mesh.build import Builder
from mesh.settings import MeshSettings
from mesh_objects import app, group, http, match, resources, target
from xds.status import ProxyStatus, State, TypeStatus

WORLD = resources(
    *[*app("client", "10.0.0.1"), *app("web", "10.0.0.2")],
    group("items", match("all", "/items")),
    target("t", "web", rules=[http("items")]),
)
REJECTING = TypeStatus(State.REJECTED, "1", "1", "no such filter", ("inbound",), -1, 1, 1)


def api(proxies: list[ProxyStatus]) -> FastAPI:
    found = FastAPI()
    status = Status(resources=WORLD, mesh=Builder(MeshSettings()).build(WORLD))
    found.include_router(describe_routes(status, lambda: proxies, MeshSettings()))
    return found


@asynccontextmanager
async def served(made: FastAPI, folder: Path) -> AsyncIterator[AdminClient]:
    sockets = listen("127.0.0.1", 0, folder / "admin")
    server = admin_server(made)
    serving = asyncio.create_task(server.serve(sockets=sockets))
    try:
        yield AdminClient(folder / "admin")
    finally:
        server.should_exit = True
        await serving
        for each in sockets:
            each.close()


async def get(client: AdminClient, path: str) -> dict[str, Any]:
    return await asyncio.to_thread(asked, client, path)


async def test_a_running_mesh_answers_about_pods_services_rules_and_single_calls(tmp_path: Path) -> None:
    proxy = ProxyStatus("shop/web-1", 0.0, "delta", "shop/web", True, {"Listener": REJECTING})
    async with served(api([proxy]), tmp_path) as client:
        pod = await get(client, "/describe/pod/shop/web-1")
        assert pod["ports"][0]["callers"][0]["callers"] == ["shop/client"]
        assert pod["sidecar"]["state"] == "rejected"
        assert "no such filter" in pod["sidecar"]["sentence"]
        assert (await get(client, "/describe/pod/shop/client"))["sidecar"]["state"] == "away"
        service = await get(client, "/describe/service/shop/web")
        assert service["workloads"][0]["sidecars"][0]["pod"] == "web-1"
        assert (await get(client, "/authz/shop/web"))["identity"]["name"] == "shop/web"
        verdict = await get(client, "/verdict/shop/web-1?caller=shop/client&path=/items/1")
        assert (verdict["allowed"], verdict["rules"]) == (True, ["TrafficTarget shop/t"])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/describe/pod/shop/nobody", "There is no pod shop/nobody"),
        ("/describe/service/shop/nothing", "There is no Service shop/nothing"),
        ("/verdict/shop/web-1?caller=bob", "is not of the form"),
        ("/verdict/shop/web-1?caller=shop/client&path=/%252", "it is not told here what comes of it"),
    ],
)
async def test_what_can_not_be_answered_is_said_in_a_sentence(tmp_path: Path, path: str, sentence: str) -> None:
    async with served(api([]), tmp_path) as client:
        with pytest.raises(UnknownError, match=sentence):
            await get(client, path)


async def test_a_control_plane_without_descriptions_is_said_to_be_older(tmp_path: Path) -> None:
    async with served(FastAPI(), tmp_path) as client:
        with pytest.raises(Unreachable, match="older than this command"):
            await get(client, "/describe/pod/shop/web-1")
