"""Whoever is not woken by a publication has nothing to be sent: waking by name leaves nobody behind.

Several streams of two roles hear of random Worlds through one Cache. Each is pulled when it is woken or its client said
something, as a Session does, and in the end every client holds what its View says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model import PodId
from xds.audience import Watch
from xds.cache import Cache
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import Machine
from xds.requests import RequestReader
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, TYPES, Resource
from xds.snapshot import Snapshot, World
from xds.sotw import SotwMachine
from xds.view import View
from xds.wire import Assembler
from xds_client import IDENTITY, WHOLE, ModelClient, resource

NAMES = ("a", "b", "c", "d")
NAMED = (ENDPOINTS, ROUTES, SECRET)
PODS = tuple(PodId("shop", f"p-{number}") for number in range(4))
ROLES = ("one", "two")
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Proxy:
    """One stream with its client. `due`: somebody has to pull."""

    def __init__(self, cache: Cache, shared: tuple[Assembler, Names, RequestReader], pod: PodId, delta: bool) -> None:
        self.client = ModelClient(delta)
        self.reader = shared[2]
        self.machine: Machine[Any] = (DeltaMachine if delta else SotwMachine)(shared[0], shared[1])
        self.due = False
        self.now = 0.0
        self.watch: Watch = cache.watch(pod, IDENTITY, self._woken)

    def _woken(self, _view: View, _changed: frozenset[str]) -> bool:
        self.due = True
        return True

    def look(self) -> View:
        """The View of this moment."""
        view = self.watch.view
        assert view is not None
        if view is not self.machine.view:
            self.machine.show(view)
        return view

    def pull(self) -> int:
        """Send what is due, and have it delivered at once; how much it was."""
        self.due = False
        self.look()
        sent = self.machine.pull(self.now)
        for response in sent:
            self.client.receive(response.data)
        return len(sent)

    def hear(self) -> bool:
        """Take in one request of the client."""
        for requests in self.client.outbox.values():
            if requests:
                self.machine.receive(self.machine.read(self.reader, requests.popleft()), self.now)
                for type_url, dialogue in self.machine.dialogues.items():
                    if self.watch.interests.get(type_url) is not dialogue.interest:
                        self.watch.want(type_url, dialogue.interest)
                self.due = True
                return True
        return False

    def settle(self) -> None:
        """Until neither side has anything to say."""
        for _ in range(1_000):
            if self.due:
                self.pull()
            elif not self.hear():
                if self.machine.wake_at is None:
                    return
                self.now, self.due = self.machine.wake_at, True
        raise AssertionError("the two never come to rest")


def world(parts: dict[tuple[str, str, str], Resource], roles: dict[PodId, str]) -> World:
    """The Resources of each role."""
    snapshots = {
        role: Snapshot(IDENTITY, {
            url: {name: each for (owner, kind, name), each in parts.items() if owner == role and kind == url}
            for url in TYPES
        })
        for role in ROLES
    }  # fmt: skip
    return World(snapshots, dict(roles))


def shift(draw: Draw, parts: dict[tuple[str, str, str], Resource], roles: dict[PodId, str]) -> None:
    """A few random changes, now and then a pod that changes its role."""
    for _ in range(draw(st.integers(1, 3))):
        key = (draw(st.sampled_from(ROLES)), draw(st.sampled_from(TYPES)), draw(st.sampled_from(NAMES)))
        if draw(st.integers(0, 3)):
            parts[key] = resource(key[1], key[2], draw(st.integers(0, 2)))
        else:
            parts.pop(key, None)
    if draw(st.integers(0, 5)) == 0:
        roles[draw(st.sampled_from(PODS))] = draw(st.sampled_from(ROLES))


def check(proxy: Proxy) -> None:
    """The client holds what the View says."""
    view = proxy.look()
    for type_url, known in proxy.client.subscriptions.items():
        offered = view.offered(type_url).named
        wanted = {name: each.version for name, each in offered.items() if known.wildcard or name in known.names}
        held = proxy.client.holds.get(type_url, {})
        assert wanted.items() <= held.items()
        if proxy.client.delta or type_url in WHOLE:
            assert held.keys() <= wanted.keys()


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_who_is_not_woken_has_nothing_to_be_sent(delta: bool, data: st.DataObject) -> None:
    cache = Cache()
    parts: dict[tuple[str, str, str], Resource] = {}
    roles = {pod: ROLES[number % 2] for number, pod in enumerate(PODS)}
    cache.publish(world(parts, roles))
    shared = (Assembler(), Names(), RequestReader())
    proxies = [Proxy(cache, shared, pod, delta) for pod in PODS]
    for proxy in proxies:
        for type_url in (CLUSTER, LISTENER):
            proxy.client.subscribe(type_url, wildcard=True)
        proxy.settle()
    for _ in range(data.draw(st.integers(1, 25))):
        shift(data.draw, parts, roles)
        cache.publish(world(parts, roles))
        for proxy in proxies:
            assert proxy.due or proxy.pull() == 0, "something was due, and nobody said so"
        client = data.draw(st.sampled_from(proxies)).client
        change = client.subscribe if data.draw(st.booleans()) else client.unsubscribe
        change(data.draw(st.sampled_from(NAMED)), data.draw(st.sampled_from(NAMES)))
        for proxy in proxies:
            proxy.settle()
    for proxy in proxies:
        check(proxy)
