"""Admission: how many new streams are brought up at once when all proxies come back together (rule R77).

Rule: first come, first served, so that early proxies are done early instead of all being done late; nobody waits longer
than a bound, and nobody who dawdles keeps a place longer than another. With fewer streams than places nobody waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """`places`: streams that may be in their first exchange at once."""

    places: int = 64
    held_at_most: timedelta = timedelta(seconds=1)
    """How long a stream may keep its place; then it goes on without one."""
    wait_at_most: timedelta = timedelta(seconds=3)
    """How long a stream may wait for a place; then it goes on without one. Envoy's own patience is 15 s (rule R68)."""


class Place:
    """A place of one stream. Free it once the stream has what it came for; more often does no harm."""

    def __init__(self, places: asyncio.Semaphore | None, seconds: float = 0.0) -> None:
        self._places = places
        self._timer = asyncio.get_running_loop().call_later(seconds, self.free) if places is not None else None

    @property
    def held(self) -> bool:
        """Whether others may be waiting for it."""
        return self._places is not None

    def free(self) -> None:
        """Let the next one in."""
        if self._timer is not None:
            self._timer.cancel()
        if self._places is not None:
            self._places.release()
        self._places = self._timer = None


class Admission:
    """The places of one server."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(settings.places)
        self.waited = 0
        """Streams that found no place free."""
        self.overtaken = 0
        """Streams that were let on without one because they had waited long enough."""

    async def enter(self) -> Place:
        """A place, as soon as there is one; after the longest wait, none, and the stream goes on without."""
        if self._places.locked():
            self.waited += 1
        try:
            async with asyncio.timeout(self._settings.wait_at_most.total_seconds()):
                await self._places.acquire()
        except TimeoutError:
            self.overtaken += 1
            return Place(None)
        return Place(self._places, self._settings.held_at_most.total_seconds())
