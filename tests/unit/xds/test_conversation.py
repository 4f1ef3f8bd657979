"""The order in which streams are moved on."""

from __future__ import annotations

import asyncio
from typing import Any

from xds.conversation import Turns


class Stream:
    """Stands where a Conversation does."""

    def __init__(self, moved: list[Stream], *, fails: bool = False) -> None:
        self._moved = moved
        self._fails = fails

    def move(self) -> None:
        """Notes that it was its turn."""
        self._moved.append(self)
        if self._fails:
            raise RuntimeError("this one can't")


async def several_turns() -> None:
    """To write down a failure may take longer than one turn of the event loop may."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_stream_that_fails_in_its_turn_holds_up_nobody() -> None:
    turns: Any = Turns()
    moved: list[Stream] = []
    broken, sound = Stream(moved, fails=True), Stream(moved)
    turns.take(broken)
    turns.take(sound)
    await several_turns()
    assert moved == [broken, sound]
    turns.take(sound)
    await several_turns()
    assert moved == [broken, sound, sound]
