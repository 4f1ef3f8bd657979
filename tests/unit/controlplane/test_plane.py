"""The running control plane: what it waits for, what it says meanwhile, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster_world import when
from controlplane.app import control_plane
from controlplane.plane import ControlPlane
from controlplane.settings import ControlPlaneSettings
from fake_clock import START, FakeClock
from kube.objects import Meta, Namespace
from kube.problem import Problem
from smi.resources import Resources
from sources.store import Store
from sources.upstream import KindState, Upstream

WORLD = Resources({(item := Namespace(Meta(name="shop"), "Namespace", "v1")).ref: item})


class Slow:
    """A source that knows everything when the test says so."""

    def __init__(self) -> None:
        self.known = asyncio.Event()

    async def run(self, store: Store) -> None:
        await self.known.wait()
        store.replace(WORLD)
        await asyncio.Event().wait()

    def placed(self, problem: Problem) -> Problem:
        return problem


def plane_of(folder: Path, source: Slow | None = None, **settings: Any) -> ControlPlane:
    made = control_plane(
        ControlPlaneSettings(
            paths=(folder / "manifests",), ca_folder=folder / "ca", xds_address="127.0.0.1", xds_port=0, admin_port=0,
            admin_socket=folder / "admin", **settings,
        )
    )  # fmt: skip
    if source is not None:
        made.source = source
    return made


@asynccontextmanager
async def running(plane: ControlPlane) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(plane.run(stop))
    try:
        yield stop
        stop.set()
        async with asyncio.timeout(20):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(folder: Path, path: str) -> tuple[int, Any]:
    """One request to the admin API on its Unix socket."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(folder / "admin"))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), json.loads(body)


async def test_nobody_is_served_before_everything_is_known_and_that_is_said(tmp_path: Path) -> None:
    source = Slow()
    plane = plane_of(tmp_path, source)
    clock = FakeClock()
    plane.status.upstream = Upstream(clock.now, {"Pod": KindState()})
    async with running(plane):
        await when((tmp_path / "admin").exists)
        assert (await ask(tmp_path, "/healthz"))[0] == 200
        code, said = await ask(tmp_path, "/readyz")
        assert (code, said["ready"], said["waiting"]) == (503, False, ["Pod"])
        plane.status.upstream.in_step("Pod")
        source.known.set()
        await when(lambda: plane.status.ready)
        assert await ask(tmp_path, "/readyz") == (
            200,
            {
                "ready": True,
                "rounds": 1,
                "failures": 0,
                "failure": "",
                "waiting": [],
                "stale_since": None,
                "troubles": {},
            },
        )


async def test_a_server_that_is_away_leaves_it_ready_and_says_since_when(tmp_path: Path) -> None:
    source = Slow()
    source.known.set()
    plane = plane_of(tmp_path, source)
    plane.status.upstream = Upstream(FakeClock().now, {"Pod": KindState()})
    async with running(plane):
        await when(lambda: plane.status.ready)
        plane.status.upstream.in_step("Pod")
        plane.status.upstream.out_of_step("Pod", "no route to host")
        code, said = await ask(tmp_path, "/readyz")
        assert (code, said["stale_since"]) == (200, START.isoformat())
        assert said["troubles"] == {"Pod": "no route to host"}


async def test_it_can_be_stopped_while_it_waits(tmp_path: Path) -> None:
    plane = plane_of(tmp_path, Slow())
    async with running(plane):
        await when((tmp_path / "admin").exists)
    assert plane.status.rounds == 0


async def test_no_round_that_failed_lets_proxies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Slow()
    source.known.set()
    plane = plane_of(tmp_path, source)

    def broken(_mesh: object, _bundle: str) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(plane.pipeline._translator, "translate", broken)
        async with running(plane):
            await when(lambda: plane.status.failures > 0)
            patch.undo()
            assert not plane.status.ready
            plane.store.replace(Resources())
            await when(lambda: plane.status.ready)


async def test_an_empty_folder_is_a_world_too(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    plane = plane_of(tmp_path)
    async with running(plane):
        await when(lambda: plane.status.ready)


async def test_a_port_that_is_taken_is_the_error_a_person_sees(tmp_path: Path) -> None:
    source = Slow()
    source.known.set()
    plane = plane_of(tmp_path, source)

    async def taken() -> None:
        raise OSError("the port is taken")

    plane.parts["listening"] = taken
    with pytest.raises(OSError, match="the port is taken"):
        await plane.run(asyncio.Event())
