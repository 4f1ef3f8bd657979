"""A client of xDS as the protocol's page describes it, without I/O: it subscribes, applies, ACKs, refuses, and forgets.

Rule: it is written against the protocol, not against our machines, and checks what a server must never do to a client.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from mesh.model import Identity
from xds import pb
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, TYPES, Resource, encode
from xds.resourceset import ResourceSet
from xds.view import View

WHOLE = {CLUSTER, LISTENER}
IDENTITY = Identity("cluster.local", "shop", "storefront")


def resource(type_url: str, name: str, content: int = 0, to: str = "") -> Resource:
    """A small Resource of a type whose bytes differ with `content`; a route goes `to` a cluster."""
    match type_url.rsplit(".", 1)[-1]:
        case "Cluster":
            return encode(name, pb.Cluster(name=name, alt_stat_name=str(content)))
        case "ClusterLoadAssignment":
            policy = pb.ClusterLoadAssignment.Policy(endpoint_stale_after=pb.seconds(content))
            return encode(name, pb.ClusterLoadAssignment(cluster_name=name, policy=policy))
        case "Listener":
            return encode(name, pb.Listener(name=name, stat_prefix=f"{content}/{to}"))
        case "RouteConfiguration":
            return encode(name, pb.RouteConfiguration(name=name, request_headers_to_remove=[f"{content}/{to}"]))
        case "TypedExtensionConfig":
            return encode(name, pb.TypedExtensionConfig(name=name, typed_config=pb.Any(type_url=str(content))))
        case _:
            return encode(name, pb.Secret(name=name, tls_certificate={"ocsp_staple": {"inline_string": str(content)}}))


def view(*resources: Resource, role: str = "role") -> View:
    """A View of these."""
    sets: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPES}
    for each in resources:
        sets.setdefault(each.type_url, {})[each.name] = each
    return View(role, IDENTITY, {type_url: ResourceSet(type_url, named) for type_url, named in sets.items()})


@dataclass
class Got:
    """A response as the client read it."""

    type_url: str
    nonce: str
    version: str
    resources: dict[str, str]
    """Name → version."""
    removed: list[str]
    bodies: dict[str, bytes]


def read_delta(data: bytes) -> Got:
    """Decode, and check what Envoy would refuse at once (rules R46, R47)."""
    message = pb.DeltaDiscoveryResponse.FromString(data)
    names = [each.name for each in message.resources] + list(message.removed_resources)
    assert len(names) == len(set(names)), f"a name occurs twice: {names}"
    for each in message.resources:
        assert each.resource.type_url == message.type_url
        assert each.version == blake2b(each.resource.value, digest_size=8).hexdigest()
    assert message.nonce
    return Got(
        message.type_url, message.nonce, message.system_version_info,
        {each.name: each.version for each in message.resources}, list(message.removed_resources),
        {each.name: each.resource.value for each in message.resources},
    )  # fmt: skip


NAME_FIELD = {ENDPOINTS: "cluster_name"}
MESSAGES: dict[str, Any] = {
    CLUSTER: pb.Cluster, ENDPOINTS: pb.ClusterLoadAssignment, LISTENER: pb.Listener, ROUTES: pb.RouteConfiguration,
    EXTENSION: pb.TypedExtensionConfig, SECRET: pb.Secret,
}  # fmt: skip


def read_sotw(data: bytes) -> Got:
    """Decode a DiscoveryResponse; versions are worked out from the bytes."""
    message = pb.DiscoveryResponse.FromString(data)
    versions: dict[str, str] = {}
    bodies: dict[str, bytes] = {}
    for each in message.resources:
        assert each.type_url == message.type_url
        name = getattr(MESSAGES[each.type_url].FromString(each.value), NAME_FIELD.get(each.type_url, "name"))
        assert name not in versions, f"a name occurs twice: {name}"
        versions[name] = blake2b(each.value, digest_size=8).hexdigest()
        bodies[name] = each.value
    assert message.nonce
    assert message.version_info
    return Got(message.type_url, message.nonce, message.version_info, versions, [], bodies)


@dataclass
class Subscription:
    """What the client knows of one type on this stream."""

    wildcard: bool
    names: set[str]
    nonce: str = ""
    version: str = ""


@dataclass
class ModelClient:
    """Both protocols. `outbox` are encoded requests by type, oldest first; across types one may overtake another."""

    delta: bool
    bad: set[tuple[str, str, str]] = field(default_factory=set)
    """(type, name, version) it refuses."""
    takes_good: bool = True
    """On refusal, whether the good resources of the response are applied (semantic error) or none (broken bytes)."""
    holds: dict[str, dict[str, str]] = field(default_factory=dict)
    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    outbox: dict[str, deque[bytes]] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    needless: list[str] = field(default_factory=list)
    """Resources it was sent although it had them and had not asked."""
    excused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each may still be sent unchanged: it was asked for, or must follow what was sent."""
    told_missing: set[tuple[str, str]] = field(default_factory=set)

    def subscribe(self, type_url: str, *names: str, wildcard: bool = False) -> None:
        """Want more."""
        known = self.subscriptions.get(type_url)
        if known is None:
            known = self.subscriptions[type_url] = Subscription(wildcard, set(names))
            if self.delta:
                self._put(pb.DeltaDiscoveryRequest(
                    type_url=type_url, resource_names_subscribe=[*names, *(["*"] if wildcard and names else [])],
                    initial_resource_versions=self._initial(type_url),
                ))  # fmt: skip
            else:
                known.version = "" if names else known.version
                self._put_sotw(type_url)
        else:
            known.names |= set(names)
            if self.delta:
                self._put(pb.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=list(names)))
            else:
                self._put_sotw(type_url)
        for name in names:
            self.excused[type_url, name] += 1
            self.told_missing.discard((type_url, name))
        if not self.delta and (wildcard or type_url in WHOLE):
            self.excused.update((type_url, name) for name in self.holds.get(type_url, {}))

    def unsubscribe(self, type_url: str, *names: str) -> None:
        """Want less."""
        known = self.subscriptions.get(type_url)
        if known is None or not set(names) <= known.names or not (set(names) < known.names or self.delta):
            return
        known.names -= set(names)
        if not known.wildcard:
            for name in names:
                self.holds.get(type_url, {}).pop(name, None)
        self.excused.update((type_url, name) for name in names)
        # A name unsubscribed beside a wildcard is answered (rule R43).
        if self.delta:
            self._put(pb.DeltaDiscoveryRequest(type_url=type_url, resource_names_unsubscribe=list(names)))
        else:
            self._put_sotw(type_url)

    def reconnect(self) -> None:
        """A new stream: all that was said is said again, with what is held (delta) or the last version."""
        before, self.subscriptions = self.subscriptions, {}
        self.outbox.clear()
        self.nonces.clear()
        for type_url, known in before.items():
            if not known.names and not known.wildcard:
                continue
            if not self.delta:
                self.excused.update((type_url, name) for name in self.holds.get(type_url, {}))
            self.subscribe(type_url, *sorted(known.names), wildcard=known.wildcard)
            if self.delta:
                held = self.holds.get(type_url, {})
                for name in held:
                    self.excused.pop((type_url, name), None)

    def receive(self, data: bytes) -> Got:
        """Apply a response and answer it."""
        got = read_delta(data) if self.delta else read_sotw(data)
        known = self.subscriptions.get(got.type_url)
        assert known is not None, f"unsolicited {got.type_url}"
        assert got.nonce not in self.nonces, "a nonce came twice"
        self.nonces.add(got.nonce)
        bad = [name for name, version in got.resources.items() if (got.type_url, name, version) in self.bad]
        if not bad or self.takes_good:
            self._apply(got, set(bad))
        known.nonce = got.nonce
        if bad:
            # From here on the server can't know what we hold.
            self.excused.update((got.type_url, name) for name in {*got.resources, *self.holds.get(got.type_url, {})})
            self._answer(got, f"refused {bad[0]} and {len(bad) - 1} others")
        else:
            known.version = got.version
            self._answer(got, "")
        return got

    def _apply(self, got: Got, bad: set[str]) -> None:
        held, known = self.holds.setdefault(got.type_url, {}), self.subscriptions[got.type_url]
        whole = not self.delta and got.type_url in WHOLE
        news = False
        for name, version in got.resources.items():
            if name in bad or not (known.wildcard or name in known.names):
                continue  # what is not subscribed is ignored, and acknowledged
            if held.get(name) == version and not self.excused[got.type_url, name]:
                self.needless.append(f"{got.type_url} {name} {version}")
            else:
                news = True
            self.excused[got.type_url, name] -= self.excused[got.type_url, name] > 0
            self.told_missing.discard((got.type_url, name))
            held[name] = version
            self.bodies[got.type_url, name] = got.bodies[name]
            if got.type_url == CLUSTER:
                self.excused[ENDPOINTS, name] += 1
        gone = [name for name in held if name not in got.resources and name not in bad] if whole else got.removed
        for name in gone:
            news = news or name in held
            held.pop(name, None)
        if whole:
            # A whole set repeats what is unchanged; it is needless only if nothing in it is new.
            self.needless = [line for line in self.needless if not (news and line.startswith(got.type_url))]
        for name in got.removed:
            self.told_missing.add((got.type_url, name))

    def _answer(self, got: Got, error: str) -> None:
        detail = {"code": 13, "message": error} if error else None
        if self.delta:
            self._put(pb.DeltaDiscoveryRequest(type_url=got.type_url, response_nonce=got.nonce, error_detail=detail))
        else:
            self._put_sotw(got.type_url, error)

    def _initial(self, type_url: str) -> dict[str, str]:
        known = self.subscriptions[type_url]
        return {
            name: version
            for name, version in self.holds.get(type_url, {}).items()
            if known.wildcard or name in known.names
        }

    def _put_sotw(self, type_url: str, error: str = "") -> None:
        known = self.subscriptions[type_url]
        names = [*sorted(known.names), *(["*"] if known.wildcard and known.names else [])]
        self._put(pb.DiscoveryRequest(
            type_url=type_url, resource_names=names, version_info=known.version, response_nonce=known.nonce,
            error_detail={"code": 13, "message": error} if error else None,
        ))  # fmt: skip

    def _put(self, request: pb.DeltaDiscoveryRequest | pb.DiscoveryRequest) -> None:
        self.outbox.setdefault(request.type_url, deque()).append(request.SerializeToString())
