"""A clock that stands still until a test moves it. Rule: moving it ends when everybody who slept sleeps again."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 10.0
"""Real seconds a test waits for what it woke."""


class FakeClock:
    """Time of day and passing time, both moved by hand."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._passed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def passed(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self._passed + seconds, next(self._order), woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await woken
        except asyncio.CancelledError:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    def set(self, now: datetime) -> None:
        """Set the time of day, as an administrator would: nobody wakes."""
        self._now = now

    async def asleep(self, sleepers: int = 1) -> None:
        """Wait until so many tasks sleep."""
        end = time.monotonic() + PATIENCE
        while len(self._sleepers) < sleepers:
            assert time.monotonic() < end, f"{len(self._sleepers)} tasks sleep, {sleepers} should"
            await asyncio.sleep(0.0005)

    async def advance(self, span: timedelta) -> None:
        """Let time pass; whoever wakes meanwhile is run until it sleeps again."""
        end = self._passed + span.total_seconds()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, sleepers = self._sleepers[0][0], len(self._sleepers)
            self._move(due)
            heapq.heappop(self._sleepers)[2].set_result(None)
            await self.asleep(sleepers)
        self._move(end)

    def skip(self, span: timedelta) -> None:
        """Let time pass at once; whoever is due wakes, and nobody is waited for."""
        self._move(self._passed + span.total_seconds())
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def _move(self, passed: float) -> None:
        self._now += timedelta(seconds=passed - self._passed)
        self._passed = passed
