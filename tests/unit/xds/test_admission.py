"""When all come at once: first come, first served, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from xds.admission import Admission, AdmissionSettings, Place
from xds.resource import CLUSTER, LISTENER
from xds_client import resource
from xds_lab import NODE, Lab, world_of


def admission(places: int, held: float = 60, wait: float = 60) -> Admission:
    return Admission(AdmissionSettings(places, timedelta(seconds=held), timedelta(seconds=wait)))


async def test_r77_with_places_free_nobody_waits() -> None:
    few = admission(2)
    assert (await few.enter()).held
    assert (await few.enter()).held
    assert (few.waited, few.overtaken) == (0, 0)


async def test_r77_places_go_to_those_who_came_first() -> None:
    few = admission(2)
    order: list[int] = []

    async def one(number: int) -> None:
        place = await few.enter()
        order.append(number)
        await asyncio.sleep(0.001)
        place.free()
        place.free()

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))
    assert few.waited == 18


async def test_r77_nobody_waits_longer_than_the_bound() -> None:
    few = admission(1, wait=0.05)
    first = await few.enter()
    late = await asyncio.wait_for(few.enter(), 2)
    assert first.held
    assert not late.held
    assert few.overtaken == 1


async def test_r77_who_dawdles_loses_the_place() -> None:
    few = admission(1, held=0.05)
    first = await few.enter()
    second = await asyncio.wait_for(few.enter(), 2)
    assert not first.held
    assert second.held


async def test_r77_a_stream_that_leaves_the_queue_leaves_no_gap() -> None:
    few = admission(1)
    first = await few.enter()
    waiting = [asyncio.create_task(few.enter()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    first.free()
    place: Place = await asyncio.wait_for(waiting[1], 2)
    assert place.held


async def test_r77_a_storm_of_streams_is_brought_up_in_turn() -> None:
    settings = AdmissionSettings(places=1, held_at_most=timedelta(seconds=30), wait_at_most=timedelta(seconds=30))
    async with Lab(admission=settings) as lab:
        lab.cache.publish(world_of(resource(CLUSTER, "a"), resource(LISTENER, "l")))
        async with lab.client() as one, lab.client() as two:
            await one.say(CLUSTER, node=NODE)
            await one.read()
            await two.say(CLUSTER, node=NODE)
            waiting = asyncio.create_task(two.read(seconds=20))
            await asyncio.sleep(0.2)
            assert not waiting.done()  # the first has not asked for its listeners yet
            assert lab.server.admission.waited == 1
            await one.say(LISTENER)
            await one.read()
            assert (await waiting).type_url == CLUSTER  # at once, when the first one is up
            await two.say(LISTENER)
            assert (await two.read()).type_url == LISTENER
