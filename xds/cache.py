"""The Cache: the last published World as Views, and which streams must hear of a change.

Rule: a role's streams share one View; what did not change keeps its ResourceSet, so "did it change" is asked once per
role and type, never per stream. A World that can't be served is refused as a whole and the last one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from mesh.model import Identity, PodId
from xds.resource import SECRET, TYPES
from xds.resourceset import ResourceSet
from xds.snapshot import Named, Snapshot, World
from xds.view import View

Wake = Callable[[View, frozenset[str]], bool]
"""Told the new View and the types that differ from the last one; says whether the stream has anything to do for it."""
_ALL_TYPES: Final = frozenset(TYPES)
Key = TypeVar("Key")


@dataclass(slots=True, eq=False)
class Watch:
    """One stream's place in the Cache. `view` is None until its pod is known, and stays when the pod is gone again."""

    pod: PodId
    identity: Identity
    wake: Wake
    view: View | None = None


class Cache:
    """What is served, and to whom. Use it from one event loop's thread only."""

    def __init__(self) -> None:
        self.wakeups = 0
        """How many streams were woken by all publications so far."""
        self._world: World | None = None
        self._views: dict[str, View] = {}
        self._secrets: dict[Identity, Named] = {}
        self._watches: dict[PodId, set[Watch]] = {}
        self._by_role: dict[str, set[Watch]] = {}
        self._by_identity: dict[Identity, set[Watch]] = {}

    @property
    def ready(self) -> bool:
        """Whether a World was ever published. Before that nobody is answered (rule R9)."""
        return self._world is not None

    def publish(self, world: World) -> None:
        """Serve this World from now on and wake the streams whose answer changed.

        Raises ValueError where a resource stands under a wrong name or type (rules R46, R47); nothing changes then.
        """
        views: dict[str, View] = {}
        changes: dict[str, frozenset[str]] = {}
        for role, snapshot in world.roles.items():
            views[role], changes[role] = self._next_view(role, snapshot)
        self._world, self._views = world, views
        for role, changed in changes.items():
            if changed:
                self._wake(self._by_role.get(role, ()), views[role], changed)
        self._move(world.proxies)

    def publish_secrets(self, identity: Identity, named: Named) -> None:
        """Serve these secrets to the identity's streams; of identities without a stream nothing is kept."""
        if identity not in self._by_identity:
            return
        self._secrets[identity] = named
        for role, view in self._views.items():
            if view.identity == identity:
                self._refresh_secrets(role, view)

    def has_secrets(self, identity: Identity) -> bool:
        """Whether the identity's secrets are known, so that its next stream need not wait for them."""
        return identity in self._secrets

    def view(self, pod: PodId) -> View | None:
        """What this pod's proxy should have, None where no such pod is meshed."""
        role = self._world.proxies.get(pod) if self._world is not None else None
        return self._views.get(role) if role is not None else None

    def watch(self, pod: PodId, identity: Identity, wake: Wake) -> Watch:
        """A place for a new stream. Its `view` is there at once if the pod is known; `wake` tells of later ones."""
        watch = Watch(pod, identity, wake)
        self._watches.setdefault(pod, set()).add(watch)
        self._by_identity.setdefault(identity, set()).add(watch)
        self._assign(watch, self.view(pod))
        return watch

    def leave(self, watch: Watch) -> None:
        """The stream is gone; with the identity's last one its secrets are forgotten."""
        _discard(self._watches, watch.pod, watch)
        _discard(self._by_identity, watch.identity, watch)
        if watch.view is not None:
            _discard(self._by_role, watch.view.role, watch)
        if watch.identity not in self._by_identity:
            self._secrets.pop(watch.identity, None)

    def _next_view(self, role: str, snapshot: Snapshot) -> tuple[View, frozenset[str]]:
        """The role's View and the types that changed; the same View again if nothing did."""
        before = self._views.get(role)
        known: Mapping[str, ResourceSet] = before.sets if before is not None else {}
        offered = {**snapshot.resources, SECRET: self._all_secrets(snapshot)}
        sets = {url: _refreshed(url, known.get(url), offered.get(url, {})) for url in TYPES}
        changed = frozenset(url for url in TYPES if sets[url] is not known.get(url))
        if before is not None and not changed and before.identity == snapshot.identity:
            return before, changed
        return View(role, snapshot.identity, sets), changed or _ALL_TYPES

    def _all_secrets(self, snapshot: Snapshot) -> Named:
        """The identity's own secrets, and those of the role, which say whom each of its ports lets in."""
        return {**snapshot.resources.get(SECRET, {}), **self._secrets.get(snapshot.identity, {})}

    def _refresh_secrets(self, role: str, view: View) -> None:
        assert self._world is not None  # noqa: S101 - there are no views without a World
        before = view.sets[SECRET]
        secrets = _refreshed(SECRET, before, self._all_secrets(self._world.roles[role]))
        if secrets is not before:
            self._views[role] = replace(view, sets={**view.sets, SECRET: secrets})
            self._wake(self._by_role.get(role, ()), self._views[role], frozenset({SECRET}))

    def _move(self, proxies: Mapping[PodId, str]) -> None:
        """Bring streams to the View of their pod's role: pods become known, or change their role."""
        for pod, watches in self._watches.items():
            role = proxies.get(pod)
            view = self._views.get(role) if role is not None else None
            if view is None:
                continue
            for watch in watches:
                if watch.view is None or watch.view.role != role:
                    self._assign(watch, view)
                    self.wakeups += watch.wake(view, _ALL_TYPES)

    def _assign(self, watch: Watch, view: View | None) -> None:
        if watch.view is not None:
            _discard(self._by_role, watch.view.role, watch)
        watch.view = view
        if view is not None:
            self._by_role.setdefault(view.role, set()).add(watch)

    def _wake(self, watches: Iterable[Watch], view: View, changed: frozenset[str]) -> None:
        for watch in watches:
            watch.view = view
            self.wakeups += watch.wake(view, changed)


def _refreshed(type_url: str, before: ResourceSet | None, named: Named) -> ResourceSet:
    """The set as it was if nothing in it changed, else a new one."""
    if before is not None and before.named is named:
        return before
    for name, resource in named.items():
        if resource.name != name or resource.type_url != type_url:
            raise ValueError(f"{resource!r} stands under {name!r} of {type_url}")
    fresh = ResourceSet(type_url, named)
    return before if before is not None and not fresh.differing(before) else fresh


def _discard(index: dict[Key, set[Watch]], key: Key, watch: Watch) -> None:
    watches = index.get(key)
    if watches is not None:
        watches.discard(watch)
        if not watches:
            del index[key]
