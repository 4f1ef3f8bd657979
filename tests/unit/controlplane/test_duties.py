"""Duties of the lease holder are done when something changed or in turn, and a failing one holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from controlplane.duties.duty import Duties, Duty
from fake_clock import FakeClock
from kube.client import ApiUnavailable


class Work:
    """A duty's work, counted; it fails with `failure` while there is one."""

    def __init__(self) -> None:
        self.done = 0
        self.concern = 0
        self.failure: Exception | None = None

    async def carry_out(self) -> None:
        self.done += 1
        if self.failure is not None:
            raise self.failure

    def duty(self, name: str) -> Duty:
        return Duty(name=name, carry_out=self.carry_out, concerns=lambda: self.concern, period=15)


class Performed:
    """Duties being performed, second by second."""

    def __init__(self, duties: Duties, clock: FakeClock, many: int) -> None:
        self.duties = duties
        self.task = asyncio.create_task(duties.perform())
        self._clock = clock
        self._many = many

    async def seconds(self, count: int) -> None:
        for _ in range(count):
            await self._clock.asleep(self._many)
            self._clock.skip(timedelta(seconds=1))
        await self._clock.asleep(self._many)


Perform = Callable[..., Performed]


@pytest.fixture
async def perform() -> AsyncIterator[Perform]:
    made: list[Performed] = []

    def begin(*duties: Duty) -> Performed:
        clock = FakeClock()
        made.append(Performed(Duties(duties, clock), clock, len(duties)))
        return made[-1]

    yield begin
    for each in made:
        each.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each.task


async def test_a_duty_is_done_at_once_then_in_turn(perform: Perform) -> None:
    work = Work()
    performed = perform(work.duty("bundles"))
    await performed.seconds(14)
    assert work.done == 1
    await performed.seconds(2)
    assert work.done == 2
    assert performed.duties.done == {"bundles": 2}


async def test_a_duty_is_done_within_a_second_when_something_changed(perform: Perform) -> None:
    work = Work()
    performed = perform(work.duty("bundles"))
    await performed.seconds(3)
    work.concern = 1
    await performed.seconds(1)
    assert work.done == 2
    await performed.seconds(5)
    assert work.done == 2


@pytest.mark.parametrize("failure", [ApiUnavailable("it is away"), RuntimeError("our own mistake")])
async def test_a_failing_duty_is_tried_again_said_once_and_holds_up_no_other(
    perform: Perform, failure: Exception
) -> None:
    bad, fine = Work(), Work()
    bad.failure = failure
    with capture_logs() as logs:
        performed = perform(bad.duty("bad"), fine.duty("fine"))
        await performed.seconds(4)
    assert bad.done >= 4
    assert fine.done == 1
    assert len([line for line in logs if line["event"] == "duty can't be done now"]) == 1
    assert str(failure) in performed.duties.troubles["bad"]
    bad.failure = None
    await performed.seconds(1)
    assert performed.duties.troubles == {}


async def test_the_end_of_leadership_ends_a_duty_in_the_middle(perform: Perform) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    performed = perform(Duty(name="slow", carry_out=slow, concerns=lambda: 0))
    await begun.wait()
    performed.task.cancel()
    await ended.wait()
