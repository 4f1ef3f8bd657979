"""Where objects live, and a bounded history for watches and pages. Rule: a stored object never changes.

Source: Kubernetes API concepts ("Resource versions", "Efficient detection of changes").
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from tests.fakes.kinds import Key

T = TypeVar("T")
Object = dict[str, Any]
Place = tuple[str, str]  # namespace (empty for cluster-wide kinds), name


@dataclass(frozen=True, eq=False)
class Stored:
    """An object as it was after one write."""

    object: Object
    version: int

    @cached_property
    def bare(self) -> bytes:
        """JSON without kind and apiVersion, as the items of a built-in kind's list are sent."""
        return msgspec.json.encode({key: value for key, value in self.object.items() if key not in TYPE})

    @cached_property
    def typed(self) -> bytes:
        """JSON with kind and apiVersion first."""
        head = msgspec.json.encode({key: self.object[key] for key in TYPE})
        return head[:-1] + b"," + self.bare[1:]


TYPE = ("kind", "apiVersion")


@dataclass(frozen=True, eq=False)
class Event:
    """One write: `before` is None for ADDED; for DELETED `after` has the deletion's resourceVersion."""

    type: str
    after: Stored
    before: Stored | None

    @property
    def version(self) -> int:
        return self.after.version


@dataclass(eq=False)
class Feed:
    """The events one watch has not sent yet."""

    waiting: deque[Event] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    bookmark: bool = False

    def put(self, event: Event) -> None:
        self.waiting.append(event)
        self.woken.set()

    def end(self) -> None:
        """The kind is no longer served, or the server stops."""
        self.ended = True
        self.woken.set()

    def ask_for_bookmark(self) -> None:
        self.bookmark = True
        self.woken.set()


class TooOldError(Exception):
    """History no longer reaches back to the wanted resourceVersion."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest


class StaleError(Exception):
    """The stored object is not the one the writer read."""


class Store:
    """All objects of all kinds."""

    def __init__(self, history: int = 20_000) -> None:
        self.version = 1
        self.feeds: dict[Key, set[Feed]] = {}
        self.listeners: list[Callable[[Key, Event], None]] = []
        self._objects: dict[Key, dict[Place, Stored]] = {}
        self._history: dict[Key, deque[Event]] = {}
        self._oldest: dict[Key, int] = {}
        self._floor = 0
        self._keep = history

    def get(self, key: Key, place: Place) -> Stored | None:
        return self._objects.get(key, {}).get(place)

    def all(self, key: Key, namespace: str = "") -> list[Stored]:
        """Every object of a kind, in the order lists have."""
        found = self._objects.get(key, {})
        return [found[place] for place in sorted(found) if not namespace or place[0] == namespace]

    def items(self) -> Iterator[tuple[Key, Place, Stored]]:
        for key, found in list(self._objects.items()):
            for place, stored in list(found.items()):
                yield key, place, stored

    def oldest(self, key: Key) -> int:
        """The lowest resourceVersion from which a watch misses nothing."""
        return max(self._floor, self._oldest.get(key, 0))

    def since(self, key: Key, version: int) -> list[Event]:
        """The events after `version`; raises TooOldError."""
        if version < self.oldest(key):
            raise TooOldError(self.oldest(key))
        return [event for event in self._history.get(key, ()) if event.version > version]

    def at(self, key: Key, version: int, namespace: str = "") -> list[Stored]:
        """Every object as it was at `version`; raises TooOldError."""
        found = dict(self._objects.get(key, {}))
        for event in reversed(self.since(key, version)):
            place = place_of(event.after.object)
            if event.before is None:
                found.pop(place, None)
            else:
                found[place] = event.before
        return [found[place] for place in sorted(found) if not namespace or place[0] == namespace]

    def create(self, key: Key, wanted: Object) -> Stored:
        """Store a new object; the caller has checked that its place is free."""
        return self._write(key, "ADDED", wanted, None)

    def replace(self, key: Key, wanted: Object, read: Stored) -> Stored:
        """Store the next state of what was `read`; raises StaleError when someone else wrote meanwhile."""
        if self.get(key, place_of(wanted)) is not read:
            raise StaleError
        return self._write(key, "MODIFIED", wanted, read)

    def delete(self, key: Key, read: Stored) -> Stored:
        """Remove what was `read`; raises StaleError."""
        if self.get(key, place_of(read.object)) is not read:
            raise StaleError
        return self._write(key, "DELETED", read.object, read)

    def _write(self, key: Key, kind: str, wanted: Object, before: Stored | None) -> Stored:
        self.version += 1
        wanted = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": str(self.version)}}
        stored = Stored(wanted, self.version)
        objects = self._objects.setdefault(key, {})
        if kind == "DELETED":
            del objects[place_of(wanted)]
        else:
            objects[place_of(wanted)] = stored
        event = Event(kind, stored, before)
        history = self._history.setdefault(key, deque())
        history.append(event)
        while len(history) > self._keep:
            self._oldest[key] = history.popleft().version
        for feed in list(self.feeds.get(key, ())):
            feed.put(event)
        for listener in list(self.listeners):
            listener(key, event)
        return stored

    def compact(self) -> None:
        """Forget all history: watches and pages from before now are answered 410."""
        self._history.clear()
        self._floor = self.version

    def forget(self, key: Key) -> None:
        """A custom kind is gone: end its watches and its history."""
        for feed in list(self.feeds.get(key, ())):
            feed.end()
        self._history.pop(key, None)
        self._oldest[key] = self.version


def place_of(thing: Object) -> Place:
    """Where an object is stored."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def copied(thing: T) -> T:
    """A deep copy of a JSON document, to change."""
    made: T = _copied(thing)
    return made


def _copied(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {name: _copied(value) for name, value in thing.items()}
    return [_copied(value) for value in thing] if isinstance(thing, list) else thing
