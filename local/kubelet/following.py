"""What a node reads of its API server: a kind, or some of its objects, kept at what the server says.

Rule: it only ever reads; what can't be read counts as not there, and what is known stays while the server is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from kube.client import Client
from kube.clock import Clock
from kube.collection import Collection, Key
from kube.follow import Follower
from kube.objects import RawDocument
from local.podspec import without_nulls

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upstream:
    """The API server, the time, and who is told a sentence when the server is away, and when it is back."""

    client: Client
    clock: Clock
    tell: Callable[[str, str], None]


class Followed(dict[Key, T]):
    """Objects by namespace and name; `whole` is set once all were read."""

    def __init__(
        self, upstream: Upstream, path: str, read: Callable[[RawDocument], T], changed: Callable[[Key], None],
        selector: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self.whole = asyncio.Event()
        self._upstream = upstream
        self._path = path
        self._read = read
        self._changed = changed
        self._away = False
        collection: Collection[T | None] = Collection(self._document, self._told)
        self._follower = Follower(upstream.client, path, collection, self, upstream.clock.sleep, selector=selector)

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._follower.run()

    def in_step(self) -> None:
        """The objects are what the server says, or said a moment ago."""
        if self._away:
            self._upstream.tell("back", self._path)
        self._away = False
        self.whole.set()

    def out_of_step(self, why: str) -> None:
        """What is known stays."""
        if not self._away:
            self._upstream.tell("waiting", why)
        self._away = True

    def _document(self, raw: msgspec.Raw) -> T | None:
        try:
            document: Any = without_nulls(msgspec.json.decode(raw))
            return self._read(document)
        except (msgspec.ValidationError, RecursionError):
            return None

    def _told(self, key: Key, found: T | None) -> None:
        if found is None:
            self.pop(key, None)
        else:
            self[key] = found
        self._changed(key)
