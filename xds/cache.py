"""The Cache: the last published World as Views, and which streams must hear of a change.

Rule: a role's streams share one View, and roles with equal content share its ResourceSets. "Did it change" is asked
once for each set, "does it concern me" once for each Interest, never for each stream. A World that can't be served is
refused as a whole and the last one stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from mesh.model import Identity, PodId
from xds.audience import Audience, Wake, Watch
from xds.resource import SECRET, TYPES
from xds.resourceset import ResourceSet
from xds.snapshot import Named, Snapshot, World
from xds.view import View

_ALL_TYPES: Final = frozenset(TYPES)
Key = TypeVar("Key")


class Cache:
    """What is served, and to whom. Use it from one event loop's thread only."""

    def __init__(self) -> None:
        self.wakeups = 0
        """How many streams were woken by all publications so far."""
        self.seen: float | None = None
        """While a World is published: when the oldest change in it was seen, in `time.monotonic`'s seconds."""
        self._world: World | None = None
        self._audiences: dict[str, Audience] = {}
        """By role: every one of the World, and those that are gone from it while streams keep their last View."""
        self._secrets: dict[Identity, Named] = {}
        self._roles_of: dict[Identity, list[str]] = {}
        self._watches: dict[PodId, set[Watch]] = {}
        self._by_identity: dict[Identity, set[Watch]] = {}
        self._sets = SharedSets()

    @property
    def ready(self) -> bool:
        """Whether a World was ever published. Before that nobody is answered (rule R9)."""
        return self._world is not None

    def publish(self, world: World, seen: float | None = None) -> None:
        """Serve this World from now on and wake the streams whose answer changed. `seen` is for their measurements.

        Raises ValueError where a resource stands under a wrong name or type (rules R46, R47); nothing changes then.
        """
        self.seen = seen
        try:
            self._publish(world)
        finally:
            self.seen = None

    def _publish(self, world: World) -> None:
        last = self._world.roles if self._world is not None else {}
        news = {
            role: self._next_view(role, snapshot)
            for role, snapshot in world.roles.items()
            if last.get(role) is not snapshot
        }
        before, self._world = self._world, world
        for role, view in news.items():
            self._show(role, view)
        gone = self._audiences.keys() - world.roles.keys()
        for role in [role for role in gone if not self._audiences[role].watches]:
            del self._audiences[role]
        if news or gone:
            self._roles_of = self._sorted_roles()
        if before is None or before.proxies is not world.proxies or last.keys() != world.roles.keys():
            self._move()

    def publish_secrets(self, identity: Identity, named: Named) -> None:
        """Serve these secrets to the identity's streams; of identities without a stream nothing is kept."""
        if identity not in self._by_identity:
            return
        self._secrets[identity] = named
        self._refresh_secrets(identity)

    def has_secrets(self, identity: Identity) -> bool:
        """Whether the identity's secrets are known, so that its next stream need not wait for them."""
        return identity in self._secrets

    def view(self, pod: PodId) -> View | None:
        """What this pod's proxy should have, None where no such pod is meshed."""
        audience = self._audience(pod)
        return audience.view if audience is not None else None

    def watch(self, pod: PodId, identity: Identity, wake: Wake) -> Watch:
        """A place for a new stream. Its `view` is there at once if the pod is known; `wake` tells of later ones.

        It wakes for what it was told to `want`, and for all types when its pod becomes known or another role's.
        """
        watch = Watch(pod, identity, wake)
        self._watches.setdefault(pod, set()).add(watch)
        self._by_identity.setdefault(identity, set()).add(watch)
        watch.move(self._audience(pod))
        return watch

    def leave(self, watch: Watch) -> None:
        """The stream is gone; with the identity's last one its secrets are forgotten."""
        _discard(self._watches, watch.pod, watch)
        _discard(self._by_identity, watch.identity, watch)
        watch.move(None)
        if watch.identity not in self._by_identity:
            self._secrets.pop(watch.identity, None)
            self._refresh_secrets(watch.identity)

    def _audience(self, pod: PodId) -> Audience | None:
        if self._world is None or (role := self._world.proxies.get(pod)) is None:
            return None
        return self._audiences[role] if role in self._world.roles else None

    def _next_view(self, role: str, snapshot: Snapshot) -> View:
        """The role's View; the same one again if nothing changed."""
        audience = self._audiences.get(role)
        before = audience.view if audience is not None else None
        known: Mapping[str, ResourceSet] = before.sets if before is not None else {}
        offered = {**snapshot.resources, SECRET: self._all_secrets(snapshot)}
        sets = {url: self._sets.refreshed(url, known.get(url), offered.get(url, {})) for url in TYPES}
        same = before is not None and all(sets[url] is known.get(url) for url in TYPES)
        if before is not None and same and before.identity == snapshot.identity:
            return before
        return View(role, snapshot.identity, sets)

    def _all_secrets(self, snapshot: Snapshot) -> Named:
        """The identity's own secrets, and those of the role, which say whom each of its ports lets in."""
        return {**snapshot.resources.get(SECRET, {}), **self._secrets.get(snapshot.identity, {})}

    def _refresh_secrets(self, identity: Identity) -> None:
        """Bring the Views of all roles of this identity to the secrets it has now."""
        roles = self._world.roles if self._world is not None else {}
        for role in self._roles_of.get(identity, ()):
            view = self._audiences[role].view
            # A pod that is gone from the World may live on for a while, and its certificate with it.
            own = self._secrets.get(identity, {})
            named = self._all_secrets(roles[role]) if role in roles else {**view.sets[SECRET].named, **own}
            secrets = self._sets.refreshed(SECRET, view.sets[SECRET], named)
            if secrets is not view.sets[SECRET]:
                self._show(role, replace(view, sets={**view.sets, SECRET: secrets}))

    def _sorted_roles(self) -> dict[Identity, list[str]]:
        found: defaultdict[Identity, list[str]] = defaultdict(list)
        for role, audience in self._audiences.items():
            found[audience.view.identity].append(role)
        return found

    def _show(self, role: str, view: View) -> None:
        """Give the role's streams this View and wake those it concerns."""
        audience = self._audiences.get(role)
        if audience is None:
            self._audiences[role] = Audience(view)
            return
        before, audience.view = audience.view, view
        if before.identity != view.identity:
            # Its streams belong to somebody else now, and each has to see that.
            concerned = dict.fromkeys(audience.watches, _ALL_TYPES)
        else:
            concerned = audience.concerned({
                url: frozenset(view.sets[url].differing(before.sets[url]))
                for url in TYPES
                if view.sets[url] is not before.sets[url]
            })  # fmt: skip
        for watch, changed in concerned.items():
            self.wakeups += watch.wake(view, changed)

    def _move(self) -> None:
        """Bring streams to the audience of their pod's role: pods become known, or change their role."""
        for pod, watches in self._watches.items():
            audience = self._audience(pod)
            if audience is None:
                continue
            for watch in watches:
                if watch.audience is not audience:
                    watch.move(audience)
                    self.wakeups += watch.wake(audience.view, _ALL_TYPES)


class SharedSets:
    """The ResourceSets that are in use, by content: equal ones are one object, whichever role they are of."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, int, int], ResourceSet] = WeakValueDictionary()
        self._given: WeakValueDictionary[tuple[str, int], ResourceSet] = WeakValueDictionary()

    def refreshed(self, type_url: str, before: ResourceSet | None, named: Named) -> ResourceSet:
        """The set as it was if nothing in it changed, else the set of this content that others have, else a new one.

        Raises ValueError where a resource stands under a name or type that is not its own.
        """
        if before is not None and before.named is named:
            return before
        # Most roles are given the very same mapping; a set keeps it alive, hence its address is nobody else's.
        found = self._given.get((type_url, id(named)))
        fresh = ResourceSet(type_url, named) if found is None else found
        news = fresh.differing(before) if before is not None else tuple(named)
        # Equal Resources are the same objects (the Translator's rule), so their addresses tell contents apart.
        key = (type_url, len(named), fresh.mark(before))
        if found is None:
            found = self._known.get(key)
        if found is not None and (found is before or found.named is named or found.named == named):
            if before is not None:
                found.inherit(before)
            return found
        for name in news:
            resource = named.get(name)
            if resource is not None and (resource.name != name or resource.type_url != type_url):
                raise ValueError(f"{resource!r} stands under {name!r} of {type_url}")
        if before is not None and not news:
            return before
        if before is not None:
            fresh.inherit(before)
        self._known[key] = self._given[type_url, id(named)] = fresh
        return fresh


def _discard(index: dict[Key, set[Watch]], key: Key, watch: Watch) -> None:
    watches = index.get(key)
    if watches is not None:
        watches.discard(watch)
        if not watches:
            del index[key]
