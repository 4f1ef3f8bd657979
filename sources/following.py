"""Follows one kind at an API server, through its CRD being installed, upgraded and removed.

Rule: a kind is gone only when the API server says so several times in a row; everything else is trouble, and in
trouble what is known stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import structlog

from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock
from kube.collection import Collection, Key
from kube.discovery import Served, served
from kube.follow import Backoff, Follower, NotServed
from smi.decode import Read
from sources.objects import reader
from sources.upstream import Upstream

log = structlog.get_logger(__name__)

LOOK_SOON: Final = 2.0
"""Seconds between two looks for a kind that is not there."""

LOOK_LATER: Final = 60.0
"""Seconds between two looks for a newer version of a kind that is there."""

SURE_AFTER: Final = 3
"""How often in a row the API server must say that it has no such kind: one that is starting may not know it yet."""

SURE_EVERY: Final = 0.5
"""Seconds between those."""


@dataclass(frozen=True, slots=True)
class KindSource:
    """Where a kind is found. `place` is fixed for Kubernetes' own; others are looked up in `group`.

    `versions` are those that are read, newest first.
    """

    kind: str
    place: Served | None = None
    group: str = ""
    versions: Sequence[str] = ()


class Listener(Protocol):
    """Who gathers what all kinds come to."""

    def changed(self, kind: str, key: Key, found: Read | None) -> None:
        """One object is another now; None: it is gone."""

    def settled(self) -> None:
        """A kind was read for the first time, or is known not to be there."""


class Following:
    """One kind, followed."""

    def __init__(
        self,
        client: Client,
        source: KindSource,
        upstream: Upstream,
        clock: Clock,
        world: Listener,
    ) -> None:
        self._client, self._source, self._upstream, self._clock = client, source, upstream, clock
        self._world = world
        self._place: Served | None = None
        self._collection: Collection[Read] = Collection(self._read, self._told)
        self._reader = reader("", source.kind)
        self._absent = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        backoff = Backoff()
        while True:
            try:
                place = await self._look()
            except (ApiError, ApiUnavailable) as error:
                self._absent = 0
                self.out_of_step(str(error))
                await self._clock.sleep(backoff.seconds())
                continue
            backoff.reset()
            if place is None:
                await self._missing()
            else:
                await self._follow(place)

    def in_step(self) -> None:
        """The kind is what the API server says, or was a moment ago."""
        self._absent = 0
        first = not self._upstream.kinds[self._source.kind].read
        if self._upstream.in_step(self._source.kind):
            log.info("in step again", kind=self._source.kind)
        if first:
            self._world.settled()

    def out_of_step(self, why: str) -> None:
        """An attempt failed; what is known stays."""
        if self._upstream.out_of_step(self._source.kind, why):
            log.warning("not in step, the last state stays in force", kind=self._source.kind, why=why)

    async def _look(self) -> Served | None:
        """Where the kind is served now."""
        source = self._source
        if source.place is not None:
            return source.place
        return await served(self._client, source.group, source.kind, source.versions)

    async def _missing(self) -> None:
        """The API server says that it has no such kind."""
        self._absent += 1
        if self._absent < SURE_AFTER:
            await self._clock.sleep(SURE_EVERY)
            return
        state = self._upstream.kinds[self._source.kind]
        if state.served or not state.read:
            log.info("no such kind in this cluster", kind=self._source.kind)
        self._collection.clear()
        self._upstream.absent(self._source.kind)
        self._world.settled()
        await self._clock.sleep(LOOK_SOON)

    async def _follow(self, place: Served) -> None:
        """Follow the kind at this place, until it is not served there or elsewhere in a newer version."""
        if place != self._place:
            self._place, self._reader = place, reader(place.api_version, self._source.kind)
            self._collection.read_again()
        follower = Follower(self._client, place.path, self._collection, self, self._clock.sleep)
        tasks = [asyncio.create_task(follower.run()), asyncio.create_task(self._until_newer(place))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if isinstance(task.exception(), NotServed):
                self.out_of_step(f"The API server has no {place.path}")
                await self._clock.sleep(SURE_EVERY)
            else:
                task.result()

    async def _until_newer(self, place: Served) -> None:
        """Come back when the kind is served in another version that is to be preferred."""
        while True:
            await self._clock.sleep(LOOK_LATER)
            try:
                found = await self._look()
            except (ApiError, ApiUnavailable):
                continue  # the follower notices for itself
            if found is not None and found != place:
                return

    def _read(self, raw: msgspec.Raw) -> Read:
        return self._reader(raw)

    def _told(self, key: Key, found: Read | None) -> None:
        self._world.changed(self._source.kind, key, found)
