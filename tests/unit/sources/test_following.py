"""One kind through installation, upgrade and removal, against a server that does as it is told, in time of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cluster_world import when
from fake_clock import START, FakeClock
from kube.collection import Key
from scripted_api import connected
from smi.decode import Read
from smi.kinds import TrafficSplit
from sources.following import LOOK_LATER, LOOK_SOON, SURE_AFTER, SURE_EVERY, Following, KindSource
from sources.upstream import KindState, Upstream

GROUP = "split.smi-spec.io"
SPLITS = KindSource("TrafficSplit", group=GROUP, versions=("v1alpha4", "v1alpha3"))
PATIENCE = 10.0


class Server:
    """Serves TrafficSplits in some versions, one object in each; a watch stays open until the test cuts it."""

    def __init__(self) -> None:
        self.versions: tuple[str, ...] = ()
        self.broken = False
        self.denials = 0
        self.cut = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.broken:
            return web.json_response({"message": "no"}, status=503)
        parts = request.path.strip("/").split("/")
        known = {
            2: {"versions": [{"version": version} for version in self.versions]} if self.versions else None,
            3: {"resources": [{"name": "trafficsplits", "kind": "TrafficSplit"}]},
            4: {"metadata": {"resourceVersion": "7"}, "items": [self._split()]},
        }[len(parts)]
        if known is None or (len(parts) > 2 and parts[2] not in self.versions):
            self.denials += len(parts) == 2
            return web.json_response({"message": "not found"}, status=404)
        if "watch" not in request.query:
            return web.json_response(known)
        response = web.StreamResponse()
        await response.prepare(request)
        await self.cut.wait()
        return response

    def _split(self) -> dict[str, Any]:
        metadata = {"name": "canary", "namespace": "shop", "resourceVersion": "3"}
        return {"metadata": metadata, "spec": {"service": "web", "backends": [{"service": "web", "weight": 1}]}}


class World:
    """What was told."""

    def __init__(self) -> None:
        self.now: dict[str, Read] = {}
        self.clock = Hasty()
        self.upstream = Upstream(self.clock.now, {"TrafficSplit": KindState()})
        self._news = asyncio.Event()

    def changed(self, kind: str, key: Key, found: Read | None) -> None:
        assert kind == "TrafficSplit"
        if found is None:
            del self.now[key[1]]
        else:
            self.now[key[1]] = found
        self._news.set()

    def settled(self) -> None:
        self._news.set()

    @property
    def state(self) -> KindState:
        return self.upstream.kinds["TrafficSplit"]

    async def until(self, version: str) -> None:
        """Until the object is there as this version says it; empty: until there is none."""
        async with asyncio.timeout(PATIENCE):
            while self._version() != version or not self.state.read:
                self._news.clear()
                await self._news.wait()

    def _version(self) -> str:
        found = self.now["canary"].object if "canary" in self.now else None
        return found.api_version.rpartition("/")[2] if isinstance(found, TrafficSplit) else ""


class Hasty:
    """A clock on which waits are over at once, but for the long one between two looks for a newer version."""

    def __init__(self) -> None:
        self.later = asyncio.Event()
        self.waits: list[float] = []

    def now(self) -> datetime:
        return START

    def passed(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await (self.later.wait() if seconds == LOOK_LATER else asyncio.sleep(0))


@asynccontextmanager
async def following(folder: Path, server: Server) -> AsyncIterator[World]:
    world = World()
    async with connected(folder, server) as client:
        task = asyncio.create_task(Following(client, SPLITS, world.upstream, world.clock, world).run())
        try:
            yield world
        finally:
            task.cancel()
            server.cut.set()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_kind_that_is_not_there_is_nothing_to_wait_for_once_that_is_sure(tmp_path: Path) -> None:
    server = Server()
    async with following(tmp_path, server) as world:
        assert "TrafficSplit" in world.upstream.waiting
        await world.until("")
        assert server.denials >= SURE_AFTER
        assert world.clock.waits[:SURE_AFTER] == [SURE_EVERY] * (SURE_AFTER - 1) + [LOOK_SOON]
        assert "TrafficSplit" not in world.upstream.waiting
        assert not world.state.served


async def test_a_kind_is_read_soon_after_it_was_installed(tmp_path: Path) -> None:
    server = Server()
    async with following(tmp_path, server) as world:
        await world.until("")
        server.versions = ("v1alpha3",)
        await world.until("v1alpha3")
        assert world.state.served
        assert max(world.clock.waits[:-1]) == LOOK_SOON


async def test_a_newer_version_is_preferred_as_soon_as_it_is_seen(tmp_path: Path) -> None:
    server = Server()
    server.versions = ("v1alpha3",)
    async with following(tmp_path, server) as world:
        await world.until("v1alpha3")
        server.versions = ("v1alpha3", "v1alpha4")
        world.clock.later.set()
        await world.until("v1alpha4")


async def test_what_was_read_of_a_kind_is_forgotten_only_when_it_is_sure(tmp_path: Path) -> None:
    server = Server()
    server.versions = ("v1alpha4",)
    async with following(tmp_path, server) as world:
        await world.until("v1alpha4")
        server.versions = ()
        server.cut.set()
        await world.until("")
        assert server.denials >= SURE_AFTER
        await when(lambda: not world.state.served)


async def test_a_server_that_can_not_say_is_trouble_and_nothing_is_forgotten(tmp_path: Path) -> None:
    server = Server()
    server.versions = ("v1alpha4",)
    async with following(tmp_path, server) as world:
        await world.until("v1alpha4")
        server.broken = True
        server.cut.set()
        await when(lambda: bool(world.upstream.troubles))
        assert "canary" in world.now
        assert world.upstream.stale_since == START
        server.cut.clear()
        server.broken = False
        await when(lambda: not world.upstream.troubles)
        assert "canary" in world.now


@pytest.mark.parametrize("read", [True, False])
def test_the_state_of_all_kinds_is_that_of_the_worst(read: bool) -> None:
    clock = FakeClock()
    upstream = Upstream(clock.now, {"Pod": KindState(), "Service": KindState()})
    upstream.in_step("Service")
    if read:
        upstream.in_step("Pod")
    assert upstream.waiting == (() if read else ("Pod",))
    assert upstream.out_of_step("Pod", "first")
    assert not upstream.out_of_step("Pod", "second"), "only the first failure is news"
    assert upstream.troubles == {"Pod": "second"}
    assert upstream.stale_since == START
    assert upstream.in_step("Pod")
    assert upstream.stale_since is None
