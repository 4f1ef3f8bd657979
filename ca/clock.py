"""Time as an argument. Rule: nothing in `ca` asks the system for the time but through a Clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Wall-clock time, which may jump either way, and waiting."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds have passed, however the time of day is set meanwhile."""


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK: Final = SystemClock()
