"""The latest Resources, and a way to wait for newer ones.

Rule: no fixed delay. A consumer that waits is woken at once; while it works, any number of replacements become one.
"""

from __future__ import annotations

import asyncio
import time

from smi.resources import Resources


class Store:
    """Written by one source, read by one consumer, both on the same event loop."""

    def __init__(self) -> None:
        self._current: Resources | None = None
        self._newer = asyncio.Event()
        self._waiting_since: float | None = None
        self.seen = time.monotonic()
        """When the oldest change among those taken last was put here, in `time.monotonic`'s seconds."""

    @property
    def current(self) -> Resources:
        """What was put here last; nothing at first."""
        return self._current or Resources()

    def replace(self, resources: Resources) -> bool:
        """Put newer Resources here. False, and nobody is woken, if they are equal to the current ones.

        The first are always newer, even if there is nothing in them: then that is known.
        """
        if resources == self._current:
            return False
        self._current = resources
        self._wake()
        return True

    def again(self) -> None:
        """Have the consumer take what there is once more: something else has changed that its result depends on."""
        if self._current is not None:
            self._wake()

    async def settled(self) -> Resources:
        """The newest Resources, as soon as there are any newer than those taken last."""
        await self._newer.wait()
        self._newer.clear()
        self.seen, self._waiting_since = self._waiting_since or self.seen, None
        return self.current

    def _wake(self) -> None:
        self._waiting_since = self._waiting_since or time.monotonic()
        self._newer.set()
