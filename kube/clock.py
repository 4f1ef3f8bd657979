"""Time as an argument. Rule: certificates, leases and Events ask for the time through a Clock, never the system."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Wall-clock time, which may jump either way; passing time, which does not; and waiting."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def passed(self) -> float:
        """Seconds since some moment; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds have passed, however the time of day is set meanwhile."""


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    def passed(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK: Final = SystemClock()
