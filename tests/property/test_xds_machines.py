"""Random dialogues between a protocol machine and a client that follows the protocol's page.

At rest the client holds what the View says; nothing is sent twice without cause, nothing is lost, and with a client
that takes everything no route ever names a cluster the client lacks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xds import resourceset
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import REFERRERS, Machine
from xds.requests import RequestReader
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, TYPES, Resource
from xds.sotw import SotwMachine
from xds.wire import Assembler
from xds_client import WHOLE, ModelClient, resource, view

NAMES = ("a", "b", "c", "d")
EVENTS = ("set", "set", "del", "pull", "down", "down", "up", "up", "up", "subscribe", "unsubscribe", "reconnect")
NAMED = (ENDPOINTS, ROUTES, SECRET, EXTENSION)
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Line:
    """A machine and a client, with whatever is under way between them. Streams come and go; the World stays."""

    def __init__(self, delta: bool) -> None:
        self.client = ModelClient(delta)
        self.world: dict[tuple[str, str], Resource] = {}
        self.published: set[tuple[str, str, str]] = set()
        self.now = 0.0
        self.assembler, self.names, self.reader = Assembler(), Names(), RequestReader()
        self.after_response: Callable[[], None] = lambda: None
        self._connect()

    def _connect(self) -> None:
        kind = DeltaMachine if self.client.delta else SotwMachine
        self.machine: Machine[Any] = kind(self.assembler, self.names)
        self.down: deque[bytes] = deque()
        self.made_of: deque[frozenset[tuple[str, str]]] = deque()
        """What the World had when each of these was sent."""
        self.meant: frozenset[tuple[str, str]] = frozenset()
        self.unanswered: dict[str, str] = {}
        self.machine.show(view(*self.world.values()))

    def reconnect(self) -> None:
        """The stream breaks; what was under way is lost."""
        self._connect()
        self.client.reconnect()

    def publish(self) -> None:
        """The World as it is now."""
        self.machine.show(view(*self.world.values()))

    def pull(self) -> None:
        """Let the machine send."""
        for response in self.machine.pull(self.now):
            assert response.type_url not in self.unanswered, "two unanswered responses of a type"
            self.unanswered[response.type_url] = response.nonce
            self.down.append(response.data)
            self.made_of.append(frozenset(self.world))

    def deliver_down(self) -> None:
        """The client reads one response."""
        if self.down:
            self.meant = self.made_of.popleft()
            self.client.receive(self.down.popleft())
            self.after_response()

    def deliver_up(self, choice: int = 0) -> None:
        """The machine reads one request. Requests of one type keep their order."""
        waiting = [type_url for type_url, requests in self.client.outbox.items() if requests]
        if waiting:
            request = self.machine.read(self.reader, self.client.outbox[waiting[choice % len(waiting)]].popleft())
            if self.unanswered.get(request.type_url) == request.nonce and request.nonce:
                del self.unanswered[request.type_url]
            self.machine.receive(request, self.now)

    def settle(self) -> None:
        """Everything arrives, and all patience runs out."""
        for _ in range(10_000):
            self.pull()
            if self.down:
                self.deliver_down()
            elif any(self.client.outbox.values()):
                self.deliver_up()
            elif self.machine.wake_at is not None:
                self.now = self.machine.wake_at
            else:
                return
        raise AssertionError("the two never come to rest")

    def wanted(self, type_url: str) -> dict[str, str]:
        """What the client should hold of a type."""
        known = self.client.subscriptions[type_url]
        return {
            name: each.version
            for (url, name), each in self.world.items()
            if url == type_url and (known.wildcard or name in known.names)
        }


def act(line: Line, draw: Draw, nacks: bool) -> None:  # noqa: C901 - one branch for each event
    """One random event."""
    kind = draw(st.sampled_from(EVENTS))
    name = draw(st.sampled_from(NAMES))
    match kind:
        case "set":
            each = resource(draw(st.sampled_from(TYPES)), name, draw(st.integers(0, 3)))
            is_new = (each.type_url, name, each.version) not in line.published
            line.published.add((each.type_url, name, each.version))
            if is_new and nacks and draw(st.integers(0, 3)) == 0:
                line.client.bad.add((each.type_url, name, each.version))
            line.world[each.type_url, name] = each
            line.publish()
        case "del":
            line.world.pop((draw(st.sampled_from(TYPES)), name), None)
            line.publish()
        case "pull":
            line.pull()
        case "down":
            line.deliver_down()
        case "up":
            line.deliver_up(draw(st.integers(0, 5)))
        case "subscribe":
            line.client.subscribe(draw(st.sampled_from(NAMED)), name)
        case "unsubscribe":
            line.client.unsubscribe(draw(st.sampled_from(NAMED)), name)
        case "reconnect":
            if draw(st.integers(0, 3)) == 0:
                line.reconnect()


def check_at_rest(line: Line) -> None:
    """The client holds what it should; of what it refused, an older version or none."""
    client = line.client
    for type_url, known in client.subscriptions.items():
        held, wanted = client.holds.get(type_url, {}), line.wanted(type_url)
        for name, version in wanted.items():
            if (type_url, name, version) not in client.bad:
                assert held.get(name) == version, f"lost: {type_url} {name}"
        # What the client refused leaves an older version in force, which may name a cluster that is gone (rule R63).
        kept = type_url in {CLUSTER, ENDPOINTS} and any(url in REFERRERS for url, _, _ in client.bad)
        if client.delta and type_url != EXTENSION:
            assert kept or held.keys() <= wanted.keys(), f"not removed: {held.keys() - wanted.keys()} of {type_url}"
            for name in known.names - wanted.keys():
                assert (type_url, name) in client.told_missing or known.wildcard, f"silent about {name} of {type_url}"
        if not client.delta and type_url in WHOLE:
            refused = any(url == type_url for url, _, _ in client.bad)
            assert kept or refused or held.keys() == wanted.keys()


@pytest.fixture(params=[resourceset.PART_BYTES, 150], ids=["whole", "parts"])
def part_bytes(request: pytest.FixtureRequest) -> Iterator[int]:
    """Responses as long as they come, and (rule R70) in parts of one to three of the resources made here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resourceset, "PART_BYTES", request.param)
        yield request.param


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@pytest.mark.usefixtures("part_bytes")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_at_rest_the_client_holds_what_the_view_says(delta: bool, data: st.DataObject) -> None:
    line = Line(delta)
    line.client.takes_good = data.draw(st.booleans())
    nacks = data.draw(st.booleans())
    for type_url in (CLUSTER, LISTENER):
        line.client.subscribe(type_url, wildcard=True)
    for _ in range(data.draw(st.integers(1, 60))):
        act(line, data.draw, nacks)
    line.settle()
    check_at_rest(line)
    if not line.client.bad:
        assert not line.client.needless
    before = line.assembler.assembled
    line.publish()
    line.settle()
    assert line.assembler.assembled == before, "an unchanged world was sent again"


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@pytest.mark.usefixtures("part_bytes")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_r61_r63_a_route_never_names_a_cluster_the_client_lacks(  # noqa: C901 - one branch for each event
    delta: bool, data: st.DataObject
) -> None:
    line = Line(delta)
    # As Envoy does: clusters first, and the others once those are asked for.
    line.client.subscribe(CLUSTER, wildcard=True)
    line.deliver_up()
    line.client.subscribe(LISTENER, wildcard=True)

    def rewire() -> None:
        """Routes and listeners to random clusters; only clusters that are named exist."""
        line.world.clear()
        for type_url in (ROUTES, LISTENER):
            for name in data.draw(st.sets(st.sampled_from(NAMES))):
                to = data.draw(st.sampled_from(NAMES))
                line.world[type_url, name] = resource(type_url, name, to=to)
                line.world[CLUSTER, to] = resource(CLUSTER, to, data.draw(st.integers(0, 1)))
        line.publish()

    def no_dangling() -> None:
        clusters = line.client.holds.get(CLUSTER, {})
        known = line.client.subscriptions.get(ROUTES)
        for (type_url, name), body in line.client.bodies.items():
            in_use = name in line.client.holds.get(type_url, {})
            if type_url == ROUTES:
                in_use = in_use and known is not None and name in known.names and (ROUTES, name) in line.world
                # A route that came back while a removal was under way: no server can call that back, and no
                # listener names the route before its cluster has followed.
                in_use = in_use and (ROUTES, name) in line.meant
            if in_use and type_url in {ROUTES, LISTENER}:
                to = body.rpartition(b"/")[2].decode()
                assert to in clusters, f"{type_url} {name} names {to}, which the client lacks"

    line.after_response = no_dangling
    for _ in range(data.draw(st.integers(1, 50))):
        step = data.draw(st.sampled_from(["wire", "pull", "down", "down", "up", "up", "sub"]))
        match step:
            case "wire":
                rewire()
            case "pull":
                line.pull()
            case "down":
                line.deliver_down()
            case "up":
                line.deliver_up(data.draw(st.integers(0, 5)))
            case "sub":
                line.client.subscribe(ROUTES, data.draw(st.sampled_from(NAMES)))
    line.settle()
    check_at_rest(line)
