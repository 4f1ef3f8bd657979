"""A fleet of real Envoys, half incremental and half state of the world, agrees with us after a thousand changes.

Rule: what an Envoy has is what its own `/config_dump` says, encoded again and compared by version.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from bootstrapped import ENVOY
from live_envoy import LiveEnvoy, until
from mesh.model import PodId
from xds import pb
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, TYPES, Resource, encode
from xds.server import State
from xds.snapshot import Snapshot, World
from xds_client import IDENTITY
from xds_lab import Lab, peer

pytestmark = pytest.mark.skipif(not Path(ENVOY).exists(), reason=f"no Envoy at {ENVOY}")

FLEET = 20
CHANGES = 1_000
BURST = 20
ADS = pb.ConfigSource(ads=pb.AggregatedConfigSource(), resource_api_version="V3")
ROLES = ("one", "two")


def cluster(name: str, content: int) -> Resource:
    message = pb.Cluster(name=name, type="EDS", alt_stat_name=f"stat{content}")
    message.eds_cluster_config.eds_config.CopyFrom(ADS)
    return encode(name, message)


def endpoints(name: str, port: int) -> Resource:
    message = pb.ClusterLoadAssignment(cluster_name=name)
    address = message.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "127.0.0.1", port
    return encode(name, message)


def listener(name: str, number: int, content: int, role: str) -> Resource:
    """HTTP with its routes by RDS, on a port that is not bound, so that every Envoy here can have it."""
    manager = pb.HttpConnectionManager(stat_prefix=f"{role}{content}")
    manager.rds.route_config_name = f"routes-{name}"
    manager.rds.config_source.CopyFrom(ADS)
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.CopyFrom(pb.packed(pb.Router()))
    message = pb.Listener(name=name)
    message.bind_to_port.value = False
    address = message.address.socket_address
    address.address, address.port_value = "127.0.0.1", 20_000 + number
    message.filter_chains.add(name="all").filters.add(name="hcm").typed_config.CopyFrom(pb.packed(manager))
    return encode(name, message)


def routes(name: str, content: int, to: str) -> Resource:
    message = pb.RouteConfiguration(name=name)
    route = message.virtual_hosts.add(name="all", domains=["*"]).routes.add()
    route.match.prefix = f"/{content}"
    route.route.cluster = to
    return encode(name, message)


@dataclass
class Shifting:
    """A configuration that changes at random. Listeners of the two roles differ, all else they share."""

    chance: random.Random
    clusters: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name → content of the cluster, port of its endpoint."""
    listeners: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    """Number → content of the listener, content of its routes, the cluster they lead to."""

    def change(self) -> None:
        """One random change."""
        what = self.chance.random()
        fresh = self.chance.randrange(1, 60_000)
        name = f"c{self.chance.randrange(12)}"
        number = self.chance.randrange(6)
        known, shown = self.clusters.get(name), self.listeners.get(number)
        if known is None:
            self.clusters[name] = (fresh, fresh)
        elif shown is None:
            self.listeners[number] = (fresh, fresh, name)
        elif what < 0.5:
            self.clusters[name] = (known[0], fresh)
        elif what < 0.6:
            self.clusters[name] = (fresh, known[1])
        elif what < 0.65:
            self._drop(name)
        elif what < 0.9:
            self.listeners[number] = (shown[0], fresh, name)
        elif what < 0.95:
            self.listeners[number] = (fresh, shown[1], shown[2])
        else:
            del self.listeners[number]

    def _drop(self, name: str) -> None:
        if all(to != name for _, _, to in self.listeners.values()):
            del self.clusters[name]

    def world(self) -> World:
        shared = [cluster(name, content) for name, (content, _) in self.clusters.items()]
        shared += [endpoints(name, port) for name, (_, port) in self.clusters.items()]
        shared += [routes(f"routes-l{n}", content, to) for n, (_, content, to) in self.listeners.items()]
        roles = {}
        for role in ROLES:
            own = [listener(f"l{number}", number, each[0], role) for number, each in self.listeners.items()]
            named = {url: {each.name: each for each in (*shared, *own) if each.type_url == url} for url in TYPES}
            roles[role] = Snapshot(IDENTITY, named)
        return World(roles, {PodId("shop", f"p-{index}"): ROLES[index % 2] for index in range(FLEET)})


def versions(proxy: LiveEnvoy) -> dict[str, dict[str, str]]:
    """What this Envoy has in force: type URL → name → the version of the resource it shows, encoded again."""
    dump = proxy.dump()
    clusters = [each["cluster"] for each in _entries(dump, "ClustersConfigDump", "dynamic_active_clusters")]
    states = [each.get("active_state") for each in _entries(dump, "ListenersConfigDump", "dynamic_listeners")]
    listeners = [state["listener"] for state in states if state is not None]
    shown = [each["route_config"] for each in _entries(dump, "RoutesConfigDump", "dynamic_route_configs")]
    return {
        CLUSTER: _versions(clusters, pb.Cluster),
        LISTENER: _versions(listeners, pb.Listener),
        ROUTES: _versions(shown, pb.RouteConfiguration),
    }


def ports(proxy: LiveEnvoy) -> dict[str, int]:
    """The endpoint of each active cluster, as Envoy's load balancer sees it (its dump is not what it was sent)."""
    found = {}
    for each in _entries(proxy.dump(), "EndpointsConfigDump", "dynamic_endpoint_configs"):
        config = each["endpoint_config"]
        for group in config.get("endpoints", []):
            for host in group.get("lb_endpoints", []):
                found[config["cluster_name"]] = host["endpoint"]["address"]["socket_address"]["port_value"]
    return found


def _entries(dump: dict[str, Any], section: str, field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dump.get(section, {}).get(field, [])
    return found


def _versions(bodies: list[dict[str, Any]], kind: type[Message]) -> dict[str, str]:
    plain = [{key: value for key, value in body.items() if key != "@type"} for body in bodies]
    return {body["name"]: encode(body["name"], ParseDict(body, kind())).version for body in plain}


def said_versions(proxy: LiveEnvoy) -> dict[str, dict[str, str]]:
    """The versions that an incremental Envoy itself writes beside its clusters and routes.

    Beside a listener whose filter chains it changed in place, Envoy 1.40 goes on writing the version before.
    """
    dump = proxy.dump()
    clusters = _entries(dump, "ClustersConfigDump", "dynamic_active_clusters")
    shown = _entries(dump, "RoutesConfigDump", "dynamic_route_configs")
    return {
        CLUSTER: {each["cluster"]["name"]: each["version_info"] for each in clusters},
        ROUTES: {each["route_config"]["name"]: each["version_info"] for each in shown},
    }


def ours(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """The versions that we say there are."""
    return {
        url: {name: each.version for name, each in snapshot.resources[url].items()}
        for url in (CLUSTER, LISTENER, ROUTES)
    }


def at_rest(lab: Lab) -> bool:
    """Whether every proxy has acknowledged everything."""
    proxies = lab.server.proxies()
    return len(proxies) == FLEET and all(
        len(proxy.types) >= 4 and all(each.state in {State.SYNCED, State.NEVER} for each in proxy.types.values())
        for proxy in proxies
    )


async def test_twenty_envoys_agree_with_us_after_a_thousand_changes(tmp_path: Path) -> None:
    shifting = Shifting(random.Random(50))
    for _ in range(60):
        shifting.change()
    async with Lab() as lab, AsyncExitStack() as stack:
        lab.tokens.known["fleet"] = peer(pod=None)
        lab.cache.publish(shifting.world())
        fleet = []
        for index in range(FLEET):
            folder = tmp_path / str(index)
            folder.mkdir()
            api = "DELTA_GRPC" if index < FLEET // 2 else "GRPC"
            fleet.append(LiveEnvoy(folder, lab.server.port, lab.own.pem, "fleet", f"shop/p-{index}", api))
        await asyncio.gather(*(stack.enter_async_context(proxy) for proxy in fleet))
        await until(lambda: at_rest(lab), "the fleet is up", seconds=20)
        for _ in range(CHANGES // BURST):
            for _ in range(BURST):
                shifting.change()
            world = shifting.world()
            lab.cache.publish(world)
            await asyncio.sleep(shifting.chance.uniform(0, 0.1))  # some bursts meet answers under way, others do not

        await until(lambda: at_rest(lab), "everything is acknowledged", seconds=20)
        for index, proxy in enumerate(fleet):
            snapshot = world.roles[ROLES[index % 2]]
            want = {name: port for name, (_, port) in shifting.clusters.items()}

            def agrees(proxy: LiveEnvoy = proxy, snapshot: Snapshot = snapshot, want: dict[str, int] = want) -> bool:
                return versions(proxy) == ours(snapshot) and ports(proxy) == want

            await until(agrees, f"proxy {index} has what we say", seconds=5)
            if index < FLEET // 2:
                said = await asyncio.to_thread(said_versions, proxy)
                assert said == {url: ours(snapshot)[url] for url in said}
        assert lab.server.counters.nacks.total() == 0
        assert lab.server.counters.streams == FLEET
        assert lab.server.counters.pushes[ENDPOINTS] > 0
