"""The latest Resources, and a way to wait for newer ones.

Rule: no fixed delay. A consumer that waits is woken at once; while it works, any number of replacements become one.
"""

from __future__ import annotations

import asyncio

from smi.resources import Resources


class Store:
    """Written by one source, read by one consumer, both on the same event loop."""

    def __init__(self) -> None:
        self._current: Resources | None = None
        self._newer = asyncio.Event()

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
        self._newer.set()
        return True

    def again(self) -> None:
        """Have the consumer take what there is once more: something else has changed that its result depends on."""
        if self._current is not None:
            self._newer.set()

    async def settled(self) -> Resources:
        """The newest Resources, as soon as there are any newer than those taken last."""
        await self._newer.wait()
        self._newer.clear()
        return self.current
