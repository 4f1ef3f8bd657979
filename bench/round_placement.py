"""Where to compute a round: on the event loop, in a thread, or in a process. Rule: prints what it measured, no more.

`python -m bench.round_placement [services] [endpoints] [identities]`, by default 1,000, 10,000 and 250. While rounds
are computed, a task asks to be woken every millisecond, as a stream with an ACK would be: as late as it is, a proxy is
answered. Publishing, which is always done on the loop, is measured apart.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import uvloop

from bench.mesh_round import address, slice_of, world
from kube.problem import Ref
from mesh.build import Builder
from mesh.settings import MeshSettings
from smi.resources import Anything, Resources
from xds.cache import Cache
from xds.resource import Resource
from xds.snapshot import World
from xds.translate.world import TranslateSettings, Translator

ROUNDS = 40
TICK = 0.001
Compute = Callable[[Resources], World]


async def late(stop: asyncio.Event) -> list[float]:
    """How late each wake-up was, in ms."""
    found: list[float] = []
    while not stop.is_set():
        asked = time.perf_counter()
        await asyncio.sleep(TICK)
        found.append((time.perf_counter() - asked - TICK) * 1e3)
    return found


async def measured(work: Callable[[], Awaitable[object]]) -> tuple[float, list[float]]:
    """Seconds the work took, and how late wake-ups were meanwhile."""
    stop = asyncio.Event()
    ticking = asyncio.create_task(late(stop))
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    await work()
    took = time.perf_counter() - started
    stop.set()
    return took, await ticking


def changed(objects: dict[Ref, Anything], replicas: int, number: int) -> Resources:
    """The same world with one endpoint of one service ready or not."""
    index = number * 7 % 100
    item = slice_of(
        f"ns{index % 50}", f"s{index}", [address(index, each) for each in range(replicas)], number % replicas
    )
    return Resources({**objects, item.ref: item})


async def place(name: str, objects: dict[Ref, Anything], replicas: int, threads: bool) -> None:
    """Measure the first round, then rounds after one endpoint each."""
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())

    def compute(resources: Resources) -> World:
        return translator.translate(builder.build(resources), "bundle")

    async def once(resources: Resources) -> None:
        await asyncio.to_thread(compute, resources) if threads else compute(resources)

    took, lateness = await measured(lambda: once(Resources(objects)))
    print(f"{name}: first round {took * 1e3:.0f} ms, wake-ups late at most {max(lateness):.0f} ms")
    gc.collect()
    gc.freeze()
    times: list[float] = []

    async def rounds() -> None:
        for number in range(ROUNDS):
            resources = changed(objects, replicas, number)
            await asyncio.sleep(0.005)
            started = time.perf_counter()
            await once(resources)
            times.append((time.perf_counter() - started) * 1e3)

    _, lateness = await measured(rounds)
    tell(name, times, lateness)
    gc.unfreeze()


def compile_apart(pipe: Connection, objects: dict[Ref, Anything], replicas: int) -> None:
    """The compiling process: a round for each number it is sent; its answer is every Resource not sent before."""
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())
    known: set[Resource] = set()
    while (number := pipe.recv()) is not None:
        resources = Resources(objects) if number < 0 else changed(objects, replicas, number)
        made = translator.translate(builder.build(resources), "bundle")
        named = {id(each): each for role in made.roles.values() for each in role.resources.values()}
        now = {resource for each in named.values() for resource in each.values()}
        pipe.send_bytes(pickle.dumps(list(now - known), protocol=5))
        if number < 0:
            gc.collect()
            gc.freeze()
        known = now


async def apart(objects: dict[Ref, Anything], replicas: int) -> None:
    """Measure the same with a process that compiles. Putting its Resources into a World is not in it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=compile_apart, args=(there, objects, replicas), daemon=True)
    child.start()
    sizes: list[int] = []

    def exchange(number: int) -> None:
        here.send(number)
        data = here.recv_bytes()
        sizes.append(len(data))
        pickle.loads(data)  # our own child made it

    took, lateness = await measured(lambda: asyncio.to_thread(exchange, -1))
    print(
        f"process: first round {took * 1e3:.0f} ms, {sizes[0] >> 10} KiB; wake-ups late at most {max(lateness):.0f} ms"
    )
    times: list[float] = []

    async def rounds() -> None:
        for number in range(ROUNDS):
            await asyncio.sleep(0.005)
            started = time.perf_counter()
            await asyncio.to_thread(exchange, number)
            times.append((time.perf_counter() - started) * 1e3)

    _, lateness = await measured(rounds)
    tell("process", times, lateness)
    here.send(None)
    await asyncio.to_thread(child.join)


def tell(name: str, times: list[float], lateness: list[float]) -> None:
    late_by = sorted(lateness)
    p99 = late_by[len(late_by) * 99 // 100]
    print(
        f"{name}: one endpoint: round p50 {statistics.median(times):.1f} ms, max {max(times):.1f} ms; wake-ups late "
        f"p50 {statistics.median(late_by):.2f} ms, p99 {p99:.1f} ms, max {late_by[-1]:.1f} ms"
    )


def publishing(objects: dict[Ref, Anything], replicas: int) -> None:
    """Measure what a publication costs the loop."""
    builder, translator, cache = Builder(MeshSettings()), Translator(TranslateSettings()), Cache()
    times: list[float] = []
    for number in range(ROUNDS):
        world = translator.translate(builder.build(changed(objects, replicas, number)), "bundle")
        started = time.perf_counter()
        cache.publish(world)
        times.append((time.perf_counter() - started) * 1e3)
    print(f"publish: first {times[0]:.1f} ms, one endpoint p50 {statistics.median(times[1:]):.2f} ms")


async def main() -> None:
    services, endpoints, identities = (int(each) for each in (sys.argv[1:] or ("1000", "10000", "250")))
    objects = world(services, endpoints, identities)
    publishing(objects, endpoints // services)
    for _ in range(2):
        await place("loop", objects, endpoints // services, threads=False)
        await place("thread", objects, endpoints // services, threads=True)
        switch = sys.getswitchinterval()
        sys.setswitchinterval(0.001)
        await place("thread, switching every 1 ms", objects, endpoints // services, threads=True)
        sys.setswitchinterval(switch)
        await apart(objects, endpoints // services)


if __name__ == "__main__":
    uvloop.run(main())
