"""Replicas of the CA on one Secret, and proxies that hold what they last acknowledged, moved by hand.

Rule: the replicas are the real ones (`ca.authority` on `ca.issuer_secret`); only the API server, time and the proxies
are not. A proxy that was sent something holds what it held until it says that it has taken it.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ca.authority import Authority
from ca.issuer_secret import IssuerSecret
from ca.keeping import NAMES, from_data
from ca.reports import Seen
from ca.settling import Issuers, Lifetimes
from controlplane.ca_api import domain_phase, phase
from fake_clock import FakeClock
from kube.client import Client
from memory_secret import Killed, MemorySecret, MortalClient
from mesh.model import Identity
from sds import Opened, open_secrets
from xds.peers import NO_PEERS, Peers
from xds.snapshot import Named

DOMAIN = "cluster.local"
LEAF = timedelta(hours=1)
LIFETIMES = Lifetimes(root=timedelta(days=400), intermediate=timedelta(days=40), leaf=LEAF)


@dataclass(eq=False)
class Proxy:
    """A sidecar: what it holds, what it was sent, and where its stream is."""

    name: str
    identity: Identity
    replica: Replica | None = None
    held: Opened | None = None
    sent: Opened | None = None
    names: Peers = NO_PEERS
    """By which names it accepts others, as its rules and its clusters say."""
    sent_names: Peers | None = None

    def acknowledge(self) -> None:
        """Take what was sent."""
        if self.sent is not None:
            self.held, self.sent = self.sent, None
        if self.sent_names is not None:
            self.names, self.sent_names = self.sent_names, None

    def accepts(self, other: Proxy) -> bool:
        """Whether the other's name is accepted, be it a caller or a server."""
        assert other.held is not None
        names = self.names.ours(DOMAIN), self.names.servers.ours(DOMAIN)
        return all(name_of(other.held.chain) in each for each in names)


@dataclass(eq=False)
class Replica:
    """One control plane process."""

    name: str
    world: RotationWorld
    client: MortalClient
    authority: Authority | None = None
    alive: bool = True

    def observe(self, bundle: bytes) -> Seen:
        """What this replica's streams say."""
        world = self.world
        here = {proxy for proxy in world.proxies.values() if proxy.replica is self}
        assert self.authority is not None
        peers = self.authority.peers
        settled = {p for p in here if p.sent is None and p.sent_names is None and p.names == peers}
        having = {p for p in settled if p.held is not None and p.held.bundle == bundle}
        return Seen(
            frozenset(world.proxies),
            frozenset(proxy.name for proxy in having),
            frozenset(proxy.name for proxy in here - having),
        )

    def tell_names(self) -> None:
        """Send the rules of now to the proxies that are connected here and lack them."""
        assert self.authority is not None
        for proxy in self.world.proxies.values():
            if proxy.replica is self and (proxy.sent_names or proxy.names) != self.authority.peers:
                proxy.sent_names = self.authority.peers

    def publish(self, identity: Identity, named: Named) -> None:
        """Send it to the identity's proxies that are connected here."""
        for proxy in self.world.proxies.values():
            if proxy.replica is self and proxy.identity == identity:
                proxy.sent = open_secrets(named)


@dataclass(eq=False)
class RotationWorld:
    """All of it. `replicas` are those that live."""

    clock: FakeClock = field(default_factory=FakeClock)
    secret: MemorySecret = field(default_factory=MemorySecret)
    replicas: dict[str, Replica] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    leader: str = ""
    kills: Counter[str] = field(default_factory=Counter)
    """How often a replica died, by the phase of the rotation it knew of."""
    made: int = 0

    async def start(self, dies_in: int = 0, *, dies_after: bool = False) -> None:
        """A new replica begins; it may die while it opens the Secret."""
        self.made += 1
        replica = Replica(f"weft-{self.made}_x", self, MortalClient(self.secret))
        replica.client.dies_in, replica.client.dies_after = dies_in, dies_after
        store = IssuerSecret(
            cast("Client", replica.client), "weft-system", DOMAIN, LIFETIMES, lambda: self.leader == replica.name,
            instance=replica.name, exists=lambda name: name in self.replicas or name == replica.name,
        )  # fmt: skip
        try:
            issuers = await store.opened(self.clock)
        except Killed:
            self.kills["opening"] += 1
            return
        replica.client.dies_in = 0
        replica.authority = Authority(store, issuers, DOMAIN, LIFETIMES, self.clock, lambda: 0.5)
        self.replicas[replica.name] = replica
        self.leader = self.leader or replica.name

    async def look(self, replica: Replica) -> None:
        """The replica looks at what is due, and may die on the way."""
        assert replica.authority is not None
        try:
            await replica.authority.look(replica.publish, replica.observe)
            replica.tell_names()
        except Killed:
            self.kill(replica)

    def kill(self, replica: Replica) -> None:
        """kill -9: its streams break, and somebody else may lead."""
        assert replica.authority is not None
        issuers = replica.authority.issuers
        self.kills[f"name: {domain_phase(issuers)}" if issuers.domains.changing else phase(issuers)] += 1
        del self.replicas[replica.name]
        for proxy in self.proxies.values():
            if proxy.replica is replica:
                self.disconnect(proxy)
        if self.leader == replica.name:
            self.leader = next(iter(self.replicas), "")

    async def connect(self, proxy: Proxy, replica: Replica) -> None:
        """A stream begins: the proxy is sent its leaf and the bundle of this replica."""
        assert replica.authority is not None
        proxy.replica = replica
        proxy.sent = open_secrets(await replica.authority.secrets(proxy.identity))
        proxy.sent_names = replica.authority.peers

    def disconnect(self, proxy: Proxy) -> None:
        """The stream breaks: what was sent and not acknowledged is lost."""
        proxy.replica = proxy.sent = proxy.sent_names = None

    def kept(self) -> Issuers:
        """What stands in the Secret."""
        assert self.secret.stored is not None
        data = cast("dict[str, Any]", self.secret.stored["data"])
        kept = from_data({name: b64decode(data[name]) for name in NAMES if name in data}, DOMAIN, str)
        assert kept.root is not None
        assert kept.intermediate is not None
        return Issuers(kept.root, kept.intermediate, kept.rotation, kept.domains)

    def broken(self) -> list[str]:
        """Pairs of proxies, both with a leaf that is valid, one of which would refuse the other."""
        now = self.clock.now()
        holding = [proxy for proxy in self.proxies.values() if proxy.held is not None and valid(proxy.held.chain, now)]
        return [
            f"{one.name} refuses {other.name}"
            for one in holding
            for other in holding
            if one.held is not None
            and other.held is not None
            and not (trusts(one.held.bundle, other.held.chain) and one.accepts(other))
        ]


def valid(chain: bytes, now: datetime) -> bool:
    """Whether the leaf is valid at this moment."""
    return leaf_end(chain) >= now


@lru_cache(4096)
def leaf_end(chain: bytes) -> datetime:
    """When the leaf ends."""
    return x509.load_pem_x509_certificate(chain).not_valid_after_utc


@lru_cache(4096)
def name_of(chain: bytes) -> str:
    """The trust domain that the leaf is of."""
    names = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    [uri] = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    return uri.removeprefix("spiffe://").partition("/")[0]


@lru_cache(65536)
def trusts(bundle: bytes, chain: bytes) -> bool:
    """Whether leaf and intermediate lead to a root of the bundle."""
    leaf, intermediate = x509.load_pem_x509_certificates(chain)
    return _issued(leaf, intermediate) and any(
        _issued(intermediate, root) for root in x509.load_pem_x509_certificates(bundle)
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError):
        return False
    return True
