"""Debounce without a floor: idle it acts at once, busy it coalesces, and no storm makes anybody wait for long."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.pipeline import Pipeline
from controlplane.status import Status
from kube.objects import Meta, Namespace, Service
from kube.problem import Problem
from mesh.build import Builder
from mesh.model import Identity, Mesh
from mesh.settings import MeshSettings
from smi.resources import Resources
from sources.folder import FolderSource
from sources.store import Store
from xds.cache import Cache
from xds.peers import NO_PEERS, Peers
from xds.snapshot import World
from xds.translate.settings import TranslateSettings
from xds.translate.world import Translator


def world(*names: str) -> Resources:
    objects = [Namespace(metadata=Meta(name=name), kind="Namespace", api_version="v1") for name in names]
    return Resources({item.ref: item for item in objects})


def as_found(problem: Problem) -> Problem:
    return problem


class Issued:
    def bundle_pem(self) -> bytes:
        return b"bundle"

    @property
    def peers(self) -> Peers:
        return NO_PEERS

    def forget(self, identities: Iterable[Identity]) -> None:
        """There are none."""


@dataclass
class Rounds(Builder):
    """Writes down what each round is about and how long ago its newest object was put into the store."""

    seconds: float = 0.0
    spinning: bool = False
    broken: bool = False
    seen: list[list[str]] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(MeshSettings())
        self.go.set()

    def build(self, resources: Resources) -> Mesh:
        self.seen.append([item.name for item in resources.of(Namespace)])
        self.begun.set()
        assert self.go.wait(10)
        if self.broken:
            raise RuntimeError("a bug of ours")
        end = time.perf_counter() + self.seconds
        while self.spinning and time.perf_counter() < end:
            pass
        time.sleep(max(0.0, end - time.perf_counter()))
        return super().build(resources)


class Watched(Cache):
    """Says when it was given a World."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[float] = []

    def publish(self, world: World, seen: float | None = None) -> None:
        super().publish(world, seen)
        self.published.append(time.perf_counter())


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what threads and tasks bring about."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for says nothing
            await asyncio.sleep(0.0005)


@dataclass
class Running:
    store: Store = field(default_factory=Store)
    rounds: Rounds = field(default_factory=Rounds)
    cache: Watched = field(default_factory=Watched)
    status: Status = field(default_factory=Status)

    async def published(self, count: int) -> None:
        await until(lambda: len(self.cache.published) >= count)


@asynccontextmanager
async def running(seconds: float = 0.0, spinning: bool = False) -> AsyncIterator[Running]:
    made = Running(rounds=Rounds(seconds, spinning))
    translator = Translator(TranslateSettings())
    pipeline = Pipeline(made.store, made.rounds, translator, made.cache, made.status, Issued(), as_found)
    task = asyncio.create_task(pipeline.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_idle_pipeline_acts_at_once() -> None:
    async with running() as made:
        took = []
        for number in range(20):
            started = time.perf_counter()
            made.store.replace(world(f"n{number}"))
            await made.published(number + 1)
            took.append(made.cache.published[-1] - started)
        assert statistics.median(took) < 0.02  # a fixed wait, as others have one of 100 ms, would show


async def test_a_busy_pipeline_makes_one_round_of_all_that_happened_meanwhile() -> None:
    async with running() as made:
        made.rounds.go.clear()
        made.store.replace(world("first"))
        assert await asyncio.to_thread(made.rounds.begun.wait, 10)
        for number in range(50):
            made.store.replace(world(f"n{number}"))
            await asyncio.sleep(0)
        made.rounds.go.set()
        await made.published(2)
        await asyncio.sleep(0.02)
        assert made.rounds.seen == [["first"], ["n49"]]


async def test_under_a_storm_nothing_is_older_than_two_rounds() -> None:
    async with running(seconds=0.02) as made:
        put: dict[str, float] = {}
        end = time.perf_counter() + 0.6
        while time.perf_counter() < end:
            name = f"n{len(put)}"
            put[name] = time.perf_counter()
            made.store.replace(world(name))
            await asyncio.sleep(0.001)
        await made.published(len(made.rounds.seen))
        rounds = list(zip(made.rounds.seen, made.cache.published, strict=False))
        assert 5 < len(rounds) < 0.6 / 0.02 + 2
        for name, at in put.items():
            number = int(name[1:])
            shown = next((when for (seen,), when in rounds if int(seen[1:]) >= number), None)
            assert shown is None or shown - at < 0.25


async def test_a_storm_in_one_place_does_not_hold_up_a_change_in_another() -> None:
    async with running(seconds=0.02) as made:
        stop = asyncio.Event()
        others: list[str] = ["quiet"]

        async def storm() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                made.store.replace(world(f"storm{number}", *others))
                await asyncio.sleep(0.001)

        storming = asyncio.create_task(storm())
        await made.published(3)
        others.append("single")
        at = len(made.rounds.seen)
        await made.published(at + 2)
        stop.set()
        await storming
        assert all("single" in seen for seen in made.rounds.seen[at + 1 :])  # the round under way, and no other


async def test_the_loop_goes_on_while_a_round_is_computed() -> None:
    async with running(seconds=0.5, spinning=True) as made:
        made.store.replace(world("a"))
        turns = 0
        while not made.cache.published:
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 20  # it would be none if the round were computed on the loop


async def test_a_failing_round_is_not_the_last() -> None:
    async with running() as made:
        made.rounds.go.clear()
        made.store.replace(world("a"))
        assert await asyncio.to_thread(made.rounds.begun.wait, 10)
        made.rounds.broken = True
        made.rounds.go.set()
        await until(lambda: made.status.failures == 1)
        made.rounds.broken = False
        made.store.replace(world("b"))
        await made.published(1)
        assert made.status.failure == ""


def service(name: str, port: int) -> str:
    metadata = f"metadata:\n  name: {name}\n  namespace: {name}\n"
    return f"apiVersion: v1\nkind: Service\n{metadata}spec:\n  ports:\n  - port: {port}\n"


async def test_a_file_written_without_end_does_not_hold_up_another_one(tmp_path: Path) -> None:
    storm, quiet = tmp_path / "storm.yaml", tmp_path / "quiet.yaml"
    storm.write_text(service("storm", 1))
    quiet.write_text(service("quiet", 1))
    store, stop = Store(), threading.Event()

    def write() -> None:
        port = 1
        while not stop.is_set():
            port = port % 60_000 + 1
            storm.write_text(service("storm", port))
            time.sleep(0.002)

    def port_of(name: str) -> int:
        found = store.current.get(Service, name, name)
        return found.spec.ports[0].port if found is not None else 0

    following = asyncio.create_task(FolderSource([tmp_path]).run(store))
    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        await until(lambda: port_of("quiet") == 1)
        quiet.write_text(service("quiet", 4242))
        started, before = time.perf_counter(), port_of("storm")
        await until(lambda: port_of("quiet") == 4242 and port_of("storm") != before)
        assert time.perf_counter() - started < 2
    finally:
        stop.set()
        await writing
        following.cancel()
        await asyncio.wait([following])
