"""At most one replica holds the Lease, another follows when it ends, and clocks need not agree."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from api_server import ApiServer
from fake_clock import START, FakeClock
from kube.client import Client
from kube.lease import Leadership, LeaseSettings

PATIENCE = 10.0
"""Real seconds a test waits for what must happen."""


async def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.005)


class Replica:
    """A candidate with a clock of its own, and what it did as the holder."""

    def __init__(self, client: Client, namespace: str, name: str, clock: FakeClock) -> None:
        self.clock = clock
        self.leadership = Leadership(client, LeaseSettings(namespace=namespace, identity=name), clock, lambda: 0.0)
        self.working = 0
        self.begun = 0
        self.task = asyncio.create_task(self.leadership.run(self._work))

    async def _work(self) -> None:
        self.working += 1
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def leads(self) -> None:
        await until(lambda: self.working == 1, "it leads")

    async def looks(self, times: int = 1) -> None:
        """Let it look at the Lease again: each look ends in a sleep."""
        for _ in range(times):
            await self.clock.asleep()
            before = self.leadership.looks
            self.clock.skip(timedelta(seconds=2))
            await until(lambda before=before: self.leadership.looks > before, "it looked")  # type: ignore[misc]


@pytest.fixture
async def replica(client: Client, namespace: str) -> AsyncIterator[Callable[..., Replica]]:
    made: list[Replica] = []

    def make(name: str, clock: FakeClock | None = None) -> Replica:
        made.append(Replica(client, namespace, name, clock or FakeClock()))
        return made[-1]

    yield make
    for each in made:
        await each.stop()


Make = Callable[..., Replica]


async def lease(client: Client, namespace: str) -> dict[str, object]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/weft-leader"
    spec: dict[str, object] = (await client.request("GET", path))["spec"]
    return spec


async def test_of_two_that_begin_at_once_one_leads(client: Client, namespace: str, replica: Make) -> None:
    both = [replica("a"), replica("b")]
    await until(lambda: sum(each.working for each in both) == 1, "one leads")
    follower = next(each for each in both if not each.working)
    await follower.looks(3)
    assert [each.begun for each in both].count(1) == 1
    holder = next(each for each in both if each.working)
    assert follower.leadership.holder == holder.leadership.holder == (await lease(client, namespace))["holderIdentity"]


async def test_when_the_holder_is_killed_another_follows_after_the_duration_and_not_before(
    client: Client, namespace: str, replica: Make
) -> None:
    killed = replica("killed")
    await killed.leads()
    # Its clock stands still from here on: it renews nothing, as if the machine had died.
    heir = replica("heir")
    await heir.looks(7)
    assert heir.begun == 0, "14 s are less than the duration"
    await heir.looks(1)
    await heir.leads()
    spec = await lease(client, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("heir", 1)


async def test_a_holder_whose_lease_was_taken_stops_at_its_next_look(replica: Make) -> None:
    frozen = replica("frozen")
    await frozen.leads()
    heir = replica("heir")
    await heir.looks(8)
    await heir.leads()
    await frozen.looks(1)
    await until(lambda: frozen.working == 0, "it stopped")
    assert not frozen.leadership.leading
    assert heir.working == 1


async def test_a_holder_that_ends_gives_the_lease_back_and_the_next_need_not_wait(replica: Make) -> None:
    first = replica("first")
    await first.leads()
    second = replica("second")
    await second.looks(1)
    await first.stop()
    assert first.working == 0
    await second.looks(1)
    await second.leads()


async def test_clocks_that_are_hours_apart_change_nothing(replica: Make) -> None:
    late = replica("late", FakeClock(START - timedelta(hours=5)))
    await late.leads()
    early = replica("early", FakeClock(START + timedelta(hours=5)))
    for _ in range(10):
        await late.looks(1)
        await early.looks(1)
    assert (late.working, early.begun) == (1, 0)


async def test_while_the_api_server_is_away_the_holder_stops_before_anybody_may_follow(
    api_server: ApiServer, replica: Make
) -> None:
    only = replica("only")
    await only.leads()
    await asyncio.to_thread(api_server.go_away)
    try:
        await only.clock.asleep()
        only.clock.skip(timedelta(seconds=10))
        await until(lambda: only.working == 0, "it stopped")
    finally:
        await asyncio.to_thread(api_server.come_back)
    only.clock.skip(timedelta(seconds=30))
    await only.leads()


async def test_a_lease_that_somebody_deletes_is_made_anew(client: Client, namespace: str, replica: Make) -> None:
    only = replica("only")
    await only.leads()
    await client.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/weft-leader")
    await only.looks(1)
    assert (await lease(client, namespace))["holderIdentity"] == "only"
    assert only.begun == 1
