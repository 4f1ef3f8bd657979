"""The shape of costs, at small sizes and without a clock: what one change makes the control plane do, and for whom.

The way is the product's, from manifests to ACKs, but for the transport: sessions are driven by hand.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.world import TRUST_DOMAIN, Folder, Size
from ca.authority import Authority
from mesh.build import Builder
from mesh.settings import Access, MeshSettings
from sources.folder import FolderSource
from xds import pb, resource
from xds.cache import Cache
from xds.names import BUNDLE_SECRET, LEAF_SECRET, node_id
from xds.peer import Peer
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.session import Commons, Session
from xds.snapshot import World
from xds.translate.world import TranslateSettings, Translator
from xds_client import ModelClient

PROXIES, SERVICES, IDENTITIES = 12, 24, 6
PER_IDENTITY = PROXIES // IDENTITIES
CALLERS = 3
"""Identities that may call an identity in an enforced world."""
HEADER = 200
"""Bytes a response may have beside its resource."""
EXPLICIT = (ENDPOINTS, ROUTES, EXTENSION, SECRET)


class Encodes:
    """Counts how often something is encoded: each Resource's bytes are hashed once, when it is made."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, body: bytes, *, digest_size: int) -> Any:
        self.count += 1
        return blake2b(body, digest_size=digest_size)


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> Encodes:
    counter = Encodes()
    monkeypatch.setattr(resource, "blake2b", counter)
    return counter


class Plane:
    """The control plane's parts, one round at a time."""

    def __init__(self, root: Path, size: Size) -> None:
        self.size = size
        self.folder = Folder(root, size)
        self.folder.write()
        self.source = FolderSource([self.folder.path])
        self.builder = Builder(MeshSettings(trust_domain=TRUST_DOMAIN, access=size.access))
        self.translator = Translator(TranslateSettings())
        self.authority = Authority.open(root / "ca", TRUST_DOMAIN)
        self.cache = Cache()
        self.commons = Commons(self.cache, self.authority)
        self.world = World()
        self.proxies: list[Proxy] = []
        self.round()

    def round(self) -> None:
        mesh = self.builder.build(self.source.read())
        self.world = self.translator.translate(mesh, self.authority.bundle_pem().decode())
        self.cache.publish(self.world)

    async def connect(self) -> None:
        """One stream for each proxy, until all have everything."""
        for number in range(self.size.proxies):
            proxy = Proxy(self, number)
            await proxy.start()
            self.proxies.append(proxy)

    def settle(self) -> list[int]:
        """What each proxy was sent by now, in bytes."""
        return [proxy.settle() for proxy in self.proxies]

    def runs(self) -> int:
        return sum(self.builder.runs().values())


class Proxy:
    """A proxy that does what Envoy does, and its session."""

    def __init__(self, plane: Plane, number: int) -> None:
        self.plane = plane
        self.pod = plane.size.pod(number)
        self.peer = Peer(plane.size.identity(number), self.pod, time.time() + 3600)
        self.client = ModelClient(delta=True)
        self.session = self._session()

    def _session(self) -> Session:
        machine = self.plane.commons.machine(delta=True, only_type="")
        return Session(self.plane.commons, self.peer, machine, lambda: None)

    async def start(self) -> None:
        wanted = self.plane.world.roles[self.plane.world.proxies[self.pod]].resources
        for url in (CLUSTER, LISTENER):
            self.client.subscribe(url, wildcard=True)
        for url in EXPLICIT:
            names = {*wanted.get(url, {}), *((LEAF_SECRET, BUNDLE_SECRET) if url == SECRET else ())}
            if names:
                self.client.subscribe(url, *sorted(names))
        await self._begin()

    async def come_back(self) -> int:
        """A new stream that brings along all it has but its secrets; the bytes it is sent."""
        self.session.close()
        self.session = self._session()
        self.client.holds.pop(SECRET)
        self.client.reconnect()
        return await self._begin()

    async def _begin(self) -> int:
        node = pb.DeltaDiscoveryRequest(node={"id": node_id(self.pod)}).SerializeToString()
        first, *rest = self._said()
        await self.session.begin(node + first, 3600)
        for data in rest:
            self.session.on_request(data)
        return self.settle()

    def settle(self) -> int:
        sent = 0
        while responses := self.session.pull():
            for response in responses:
                self.client.receive(response.data)
                sent += len(response.data)
            for data in self._said():
                self.session.on_request(data)
        return sent

    def _said(self) -> list[bytes]:
        said = [data for queue in self.client.outbox.values() for data in queue]
        self.client.outbox.clear()
        return said


async def plane_of(root: Path, access: Access) -> Plane:
    plane = Plane(root, Size(proxies=PROXIES, services=SERVICES, identities=IDENTITIES, access=access))
    await plane.connect()
    return plane


def close(plane: Plane) -> None:
    for proxy in plane.proxies:
        proxy.session.close()


async def test_a_change_for_everybody_is_encoded_by_one_leaf_and_assembled_once(
    tmp_path: Path, encodes: Encodes
) -> None:
    plane = await plane_of(tmp_path, Access.PERMISSIVE)
    changes: list[Callable[[], float]] = [lambda: plane.folder.endpoint(0, 1), lambda: plane.folder.split(7)]
    for change in changes:
        made, assembled, woken = encodes.count, plane.commons.assembler.assembled, plane.cache.wakeups
        resources = sum(plane.commons.counters.resources.values())
        change()
        plane.round()
        sent = plane.settle()
        assert encodes.count - made == 1
        assert plane.commons.assembler.assembled - assembled == 1
        assert plane.cache.wakeups - woken == PROXIES
        assert sum(plane.commons.counters.resources.values()) - resources == PROXIES
        assert len(set(sent)) == 1
    close(plane)


async def test_bytes_of_a_change_are_its_resource_and_a_small_header(tmp_path: Path) -> None:
    plane = await plane_of(tmp_path, Access.PERMISSIVE)
    before = {name: each for role in plane.world.roles.values() for name, each in role.resources[ENDPOINTS].items()}
    plane.folder.endpoint(3, 1)
    plane.round()
    after = {name: each for role in plane.world.roles.values() for name, each in role.resources[ENDPOINTS].items()}
    (changed,) = [each for name, each in after.items() if each != before[name]]
    assert all(len(changed.body) < sent < len(changed.body) + HEADER for sent in plane.settle())
    close(plane)


async def test_default_deny_wakes_only_those_who_may_call(tmp_path: Path) -> None:
    plane = await plane_of(tmp_path, Access.ENFORCED)
    assembled, woken = plane.commons.assembler.assembled, plane.cache.wakeups
    plane.folder.endpoint(0, 1)
    plane.round()
    told = {proxy.peer.identity for proxy, sent in zip(plane.proxies, plane.settle(), strict=True) if sent}
    assert plane.cache.wakeups - woken == CALLERS * PER_IDENTITY
    assert {identity.service_account for identity in told} == {
        f"sa{IDENTITIES - step}" for step in range(1, CALLERS + 1)
    }
    assert plane.commons.assembler.assembled - assembled <= CALLERS
    close(plane)


async def test_a_rule_wakes_only_the_proxies_it_guards(tmp_path: Path, encodes: Encodes) -> None:
    plane = await plane_of(tmp_path, Access.ENFORCED)
    made, assembled, woken = encodes.count, plane.commons.assembler.assembled, plane.cache.wakeups
    plane.folder.target(1)
    plane.round()
    told = [proxy for proxy, sent in zip(plane.proxies, plane.settle(), strict=True) if sent]
    assert {proxy.peer.identity.service_account for proxy in told} == {"sa0"}
    assert plane.cache.wakeups - woken == len(told) == PER_IDENTITY
    assert encodes.count - made == 1
    assert plane.commons.assembler.assembled - assembled == 1
    close(plane)


async def test_a_leaf_wakes_only_the_proxies_of_its_identity(tmp_path: Path) -> None:
    plane = await plane_of(tmp_path, Access.PERMISSIVE)
    woken = plane.cache.wakeups
    identity = plane.size.identity(0)
    plane.authority.forget([identity])
    plane.cache.publish_secrets(identity, await plane.authority.secrets(identity))
    told = [proxy for proxy, sent in zip(plane.proxies, plane.settle(), strict=True) if sent]
    assert {proxy.peer.identity for proxy in told} == {identity}
    assert plane.cache.wakeups - woken == len(told) == PER_IDENTITY
    close(plane)


async def test_what_changes_nothing_wakes_nobody(tmp_path: Path, encodes: Encodes) -> None:
    plane = await plane_of(tmp_path, Access.PERMISSIVE)
    made, woken, runs = encodes.count, plane.cache.wakeups, plane.runs()
    plane.folder.endpoint(0, 0)
    plane.round()
    assert (encodes.count, plane.cache.wakeups, plane.runs(), sum(plane.settle())) == (made, woken, runs, 0)
    close(plane)


async def test_r55_a_reconnect_is_sent_nothing_but_certificates(tmp_path: Path) -> None:
    plane = await plane_of(tmp_path, Access.PERMISSIVE)
    resources = dict(plane.commons.counters.resources)
    for proxy in plane.proxies:
        await proxy.come_back()
    again = plane.commons.counters.resources
    news = {url for url, count in again.items() if count != resources.get(url, 0)}
    assert news == {SECRET}
    assert not any(proxy.client.needless for proxy in plane.proxies)
    close(plane)


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("grown", ["services", "proxies"])
async def test_work_grows_in_a_line(tmp_path: Path, encodes: Encodes, access: Access, grown: str) -> None:
    """Three sizes, each twice the last: leaves and encodes of the second doubling are at most twice those of the first,
    and a tenth for what rounds up. Were either quadratic, they would be four times as many."""
    runs, made = [], []
    for factor in (1, 2, 4):
        root = tmp_path / str(factor)
        root.mkdir()
        sizes = {"services": SERVICES, "proxies": PROXIES}
        sizes[grown] *= factor
        before = encodes.count
        plane = Plane(root, Size(**sizes, endpoints=3, identities=IDENTITIES, access=access))
        runs.append(plane.runs())
        made.append(encodes.count - before)
    for small, middle, large in (runs, made):
        assert large - middle <= 2.2 * (middle - small) + 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: folder.endpoint(0, 1), id="endpoint"),
        pytest.param(lambda folder: folder.split(1), id="split"),
        pytest.param(lambda folder: folder.target(1), id="target"),
    ],
)
def test_work_for_one_change_does_not_grow(tmp_path: Path, encodes: Encodes, change: Callable[[Folder], float]) -> None:
    found = []
    for factor in (1, 4):
        root = tmp_path / str(factor)
        root.mkdir()
        size = Size(proxies=PROXIES * factor, services=SERVICES * factor, identities=IDENTITIES, access=Access.ENFORCED)
        plane = Plane(root, size)
        runs, made = plane.runs(), encodes.count
        change(plane.folder)
        plane.round()
        found.append((plane.runs() - runs, encodes.count - made))
    assert found[0][1] == found[1][1] == 1
    assert found[1][0] <= found[0][0] + 2


@pytest.mark.parametrize("access", list(Access))
def test_python_runs_no_more_for_one_change_in_a_larger_world(tmp_path: Path, access: Access) -> None:
    """Functions called from the changed file to the published World. A look at every leaf is not among them: it is the
    interpreter's own loop (docs/decisions/0051)."""
    found: list[list[int]] = []
    for factor in (4, 12):
        root = tmp_path / str(factor)
        root.mkdir()
        size = Size(proxies=PROXIES * factor, services=SERVICES * factor, identities=IDENTITIES, access=access)
        plane = Plane(root, size)
        changes: list[Callable[[int], float]] = [partial(plane.folder.endpoint, 0), plane.folder.split]
        found.append([calls(plane, change) for change in (*changes, plane.folder.target)])
    for small, large in zip(*found, strict=True):
        assert large <= 1.1 * small


def calls(plane: Plane, change: Callable[[int], object]) -> int:
    """How many functions written in Python are called for one change; the first of its kind warms up."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    change(2)
    plane.round()
    change(3)
    sys.setprofile(called)
    try:
        plane.round()
    finally:
        sys.setprofile(None)
    return count
