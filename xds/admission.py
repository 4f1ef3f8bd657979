"""Admission: how many new streams are brought up at once when all proxies come back together (rule R77).

Rule: first come, first served, so that early proxies are done early instead of all being done late; nobody waits longer
than a bound, and nobody who dawdles keeps a place longer than another. With fewer streams than places nobody waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
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

    __slots__ = ("_free", "_timer")

    def __init__(self, free: Callable[[], None] | None, seconds: float = 0.0) -> None:
        self._free = free
        self._timer = asyncio.get_running_loop().call_later(seconds, self.free) if free is not None else None

    @property
    def held(self) -> bool:
        """Whether others may be waiting for it."""
        return self._free is not None

    def free(self) -> None:
        """Let the next one in."""
        if self._timer is not None:
            self._timer.cancel()
        free, self._free, self._timer = self._free, None, None
        if free is not None:
            free()


class Admission:
    """The places of one server."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self._free = settings.places
        self._line: deque[asyncio.Future[None]] = deque()
        self.waited = 0
        """Streams that found no place free."""
        self.overtaken = 0
        """Streams that were let on without one because they had waited long enough."""

    def at_once(self) -> Place | None:
        """A place if one is free and nobody waits for it; None: `enter`, and wait."""
        if self._line or not self._free:
            return None
        self._free -= 1
        return self._place()

    async def enter(self) -> Place:
        """A place, as soon as there is one; after the longest wait, none, and the stream goes on without."""
        place = self.at_once()
        if place is not None:
            return place
        self.waited += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self._settings.wait_at_most.total_seconds()):
                await turn
        except TimeoutError:
            if not _granted(turn):
                self.overtaken += 1
                return Place(None)
        except asyncio.CancelledError:
            if _granted(turn):
                self._freed()
            raise
        finally:
            if turn in self._line:
                self._line.remove(turn)
        return self._place()

    def _place(self) -> Place:
        return Place(self._freed, self._settings.held_at_most.total_seconds())

    def _freed(self) -> None:
        """A place is free: it is the first one's who waits."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _granted(turn: asyncio.Future[None]) -> bool:
    """Whether the place came, perhaps in the very moment in which its stream gave up."""
    return turn.done() and not turn.cancelled()
