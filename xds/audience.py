"""Who listens: the streams of one role, sorted by what they want, so that a change finds those it concerns.

Rule: streams with equal Interests are one entry, so a change is tested once for all of them; who is not concerned costs
nothing, not even an update: streams read the View of their audience when they next have something to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mesh.model import Identity, PodId
from xds.interest import Interest
from xds.view import View

Wake = Callable[[View, frozenset[str]], bool]
"""Told the new View and the types in which something changed that the stream wants; says whether the stream wakes."""
Changes = Mapping[str, Iterable[str]]
"""Type URL → names that are new, changed or gone."""


@dataclass(slots=True, eq=False)
class Watch:
    """One stream's place in the Cache. It has no audience until its pod is known, and keeps it when the pod is gone."""

    pod: PodId
    identity: Identity
    wake: Wake
    audience: Audience | None = None
    interests: dict[str, Interest] = field(default_factory=dict)
    """Type URL → what the stream wants of it. Change it by `want`."""

    @property
    def view(self) -> View | None:
        """What the stream's proxy should have right now."""
        return self.audience.view if self.audience is not None else None

    def want(self, type_url: str, interest: Interest) -> None:
        """From now on the stream is woken by changes of this, and of nothing else of the type."""
        if self.audience is not None:
            self.audience.remove(self, type_url)
            self.audience.add(self, type_url, interest)
        self.interests[type_url] = interest

    def move(self, audience: Audience | None) -> None:
        """Listen there from now on."""
        for type_url, interest in self.interests.items():
            if self.audience is not None:
                self.audience.remove(self, type_url)
            if audience is not None:
                audience.add(self, type_url, interest)
        if self.audience is not None:
            self.audience.watches.discard(self)
        if audience is not None:
            audience.watches.add(self)
        self.audience = audience


class Audience:
    """The streams of one role, and the View that they share."""

    __slots__ = ("_wanting", "view", "watches")

    def __init__(self, view: View) -> None:
        self.view = view
        self.watches: set[Watch] = set()
        self._wanting: dict[str, dict[Interest, set[Watch]]] = {}

    def add(self, watch: Watch, type_url: str, interest: Interest) -> None:
        """The stream wants this of the type."""
        self._wanting.setdefault(type_url, {}).setdefault(interest, set()).add(watch)

    def remove(self, watch: Watch, type_url: str) -> None:
        """The stream wants no longer what it wanted of the type."""
        interest = watch.interests.get(type_url)
        wanting = self._wanting.get(type_url, {})
        if interest is None or interest not in wanting:
            return
        wanting[interest].discard(watch)
        if not wanting[interest]:
            del wanting[interest]

    def concerned(self, changes: Changes) -> dict[Watch, frozenset[str]]:
        """The streams that want something of what changed, with the types in which they do."""
        found: dict[Watch, frozenset[str]] = {}
        for type_url, names in changes.items():
            one = frozenset({type_url})
            for interest, watches in self._wanting.get(type_url, {}).items():
                if interest.wildcard or not interest.names.isdisjoint(names):
                    found.update((watch, found.get(watch, one) | one) for watch in watches)
        return found
