"""All objects of one kind as an API server tells of them: a list, then events, then perhaps another list.

Rule: no I/O, and an object is gone only when the server said so or left it out of a complete list. While a list is
being read, what was known before stays.

Order: within one kind resourceVersions are integers that grow (Kubernetes API concepts, "Resource versions"; KEP-5504,
stable in 1.35, true of etcd before). What is not newer than what is known is an echo and is dropped. Where they are
no integers, equal ones are echoes and the last word counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from kube.shallow import decoded

T = TypeVar("T")

Key = tuple[str, str]
"""Namespace and name."""

GRAVES: Final = 1000
"""How many deletions are remembered, so that an older word about what is gone does not bring it back."""

LONGEST_VERSION: Final = 64
"""Digits of a number that is taken for one; etcd's have 19 at most, and Python reads no more than 4,300."""


class HeadMeta(msgspec.Struct, frozen=True, rename="camel"):
    """What tells one state of an object from another."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Head(msgspec.Struct, frozen=True):
    """The part of a document that is read first; often it is enough."""

    metadata: HeadMeta = HeadMeta()


_HEAD: Final = msgspec.json.Decoder(Head)


class Collection(Generic[T]):
    """Keeps `T`, what `read` makes of an object's JSON, and tells `changed` of every difference; None means gone."""

    def __init__(self, read: Callable[[msgspec.Raw], T], changed: Callable[[Key, T | None], None]) -> None:
        self._read = read
        self._changed = changed
        self._held: dict[Key, tuple[str, T]] = {}
        self._fresh: dict[Key, tuple[str, T]] = {}
        self._graves: dict[Key, str] = {}
        self._listed = ""
        self.echoes = 0
        """Events that told nothing new: duplicates, and those that came after a newer one."""

    def __len__(self) -> int:
        return len(self._held)

    def begin(self) -> None:
        """A list begins; one that was not finished is dropped."""
        self._fresh = {}

    def listed(self, raw: msgspec.Raw) -> None:
        """One item of the list that was begun. Raises msgspec.DecodeError when it is no JSON object with a name."""
        head = decoded(_HEAD, raw).metadata
        key = head.namespace, head.name
        known = self._held.get(key)
        same = known is not None and bool(head.resource_version) and known[0] == head.resource_version
        fresh = known if known is not None and same else (head.resource_version, self._reused(known, self._read(raw)))
        self._fresh[key] = fresh

    def complete(self, version: str) -> None:
        """The list is whole, and it is the world at this resourceVersion."""
        before, self._held, self._fresh = self._held, self._fresh, {}
        self._listed = version
        self._graves.clear()
        for key in before.keys() - self._held.keys():
            self._changed(key, None)
        for key, (_, item) in self._held.items():
            if key not in before or before[key][1] is not item:
                self._changed(key, item)

    def event(self, kind: str, raw: msgspec.Raw) -> str:
        """One event `ADDED`, `MODIFIED` or `DELETED`. The object's resourceVersion; raises as `listed` does."""
        head = decoded(_HEAD, raw).metadata
        key, version = (head.namespace, head.name), head.resource_version
        known = self._held.get(key)
        last = known[0] if known else self._graves.get(key, self._listed)
        if last and not _newer(version, last):
            self.echoes += 1
        elif kind == "DELETED":
            self._bury(key, version)
        else:
            item = self._reused(known, self._read(raw))
            self._held[key] = version, item
            if known is None or known[1] is not item:
                self._changed(key, item)
        return version

    def clear(self) -> None:
        """The kind itself is gone, and its objects with it."""
        held, self._held, self._fresh, self._listed = self._held, {}, {}, ""
        self._graves.clear()
        for key in held:
            self._changed(key, None)

    def read_again(self) -> None:
        """From the next list on everything is read anew, since it will come in another form."""
        self._held = {key: ("", item) for key, (_, item) in self._held.items()}

    def _bury(self, key: Key, version: str) -> None:
        self._graves[key] = version
        if len(self._graves) > GRAVES:
            del self._graves[next(iter(self._graves))]
        if self._held.pop(key, None) is not None:
            self._changed(key, None)

    @staticmethod
    def _reused(known: tuple[str, T] | None, item: T) -> T:
        """The known object where it is equal: all later comparisons then cost nothing."""
        return known[1] if known is not None and known[1] == item else item


def newest(one: str, other: str) -> str:
    """The later of two resourceVersions of a kind; where that can't be told, the second."""
    return one if other and one and not _newer(other, one) else other or one


def _newer(version: str, than: str) -> bool:
    if version.isdecimal() and than.isdecimal() and max(len(version), len(than)) <= LONGEST_VERSION:
        return int(version) > int(than)
    return version != than
