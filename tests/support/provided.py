"""A provider that a test moves by hand, and an authority that stands on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509

from ca.issuers import make_intermediate, make_root
from ca.providers.authority import ProvidedAuthority, ProvidedSettings
from ca.providers.own import OwnIssuers
from ca.providers.provider import Provider, ProviderError, Wanted
from ca.providers.records import Judge
from ca.providers.trust import Judged, Record
from ca.reports import Report, Seen
from ca.settling import Issuers
from ca.storage import StorageError
from company_ca import Signer
from fake_clock import START, FakeClock
from mesh.model import Identity
from sds import Opened, open_secrets
from xds.snapshot import Named

DOMAIN = "cluster.local"
LEAF = timedelta(hours=24)
WEB = Identity(DOMAIN, "shop", "web")
CART = Identity(DOMAIN, "shop", "cart")


@dataclass
class HandProvider:
    """Signs with a company's intermediate. `away` is why it does not, `bends` changes what is signed."""

    signer: Signer
    clock: FakeClock
    offers: Sequence[x509.Certificate] = ()
    away: str = ""
    life: timedelta = LEAF
    bends: Mapping[str, object] = field(default_factory=dict)
    asked: int = 0
    refuses: set[Identity] = field(default_factory=set)
    slow: bool = False
    silent: asyncio.Event | None = None
    now: int = 0
    most: int = 0
    name: str = "company"
    at_once: int = 4

    async def roots(self) -> Sequence[x509.Certificate]:
        if self.away:
            raise ProviderError(self.away)
        return self.offers or (self.signer.root,)

    async def sign(self, wanted: Wanted) -> bytes:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        if self.silent is not None:
            await self.silent.wait()
        for _ in range(10 * self.slow):
            await asyncio.sleep(0)
        self.now -= 1
        if self.away:
            raise ProviderError(self.away)
        if wanted.identity in self.refuses:
            raise ProviderError(f"no certificate for {wanted.identity.uri}")
        leaf = self.signer.sign(wanted.request_pem, self.clock.now(), self.life, **self.bends)  # type: ignore[arg-type]
        return leaf + self.signer.chain_pem

    async def close(self) -> None: ...


@dataclass
class MemoryRecords:
    """A record that replicas of a test share; `broken` is why it can't be reached."""

    record: Record = field(default_factory=Record)
    reports: dict[str, Report] = field(default_factory=dict)
    broken: str = ""

    def of(self, replica: str) -> OneReplica:
        """As one of the replicas uses it."""
        return OneReplica(self, replica)


@dataclass
class OneReplica:
    shared: MemoryRecords
    name: str

    async def exchanged(self, judge: Judge, ours: Report, passed: float) -> Judged:  # noqa: ARG002 - nobody is silent
        if self.shared.broken:
            raise StorageError(self.shared.broken)
        self.shared.reports[self.name] = ours
        judged = judge(self.shared.record, self.shared.reports)
        self.shared.record = judged.record
        return judged


@dataclass
class Mesh:
    """One replica's authority, and what its proxies were given; `lacking` have not acknowledged it."""

    authority: ProvidedAuthority
    given: dict[Identity, Opened] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)

    async def open(self, identity: Identity) -> Opened:
        """What the identity's proxy gets when it comes."""
        self.given[identity] = open_secrets(await self.authority.secrets(identity))
        return self.given[identity]

    async def look(self) -> None:
        """The authority looks once at everything."""
        await self.authority.look(self._publish, self._seen)

    def _publish(self, identity: Identity, named: Named) -> None:
        self.given[identity] = open_secrets(named)

    def _seen(self, _: bytes) -> Seen:
        here = frozenset(each.service_account for each in self.given) - self.away
        return Seen(here | frozenset(self.away), here - self.lacking, here & frozenset(self.lacking))


def own_issuers(clock: FakeClock) -> OwnIssuers:
    """Those of Weft itself."""
    root = make_root(DOMAIN, START, timedelta(days=3650))
    issuers = Issuers(root, make_intermediate(root, DOMAIN, START, timedelta(days=365)))
    return OwnIssuers(lambda: issuers, DOMAIN, LEAF, clock)


def mesh_with(provider: Provider, clock: FakeClock, records: MemoryRecords | None = None, name: str = "weft-1") -> Mesh:
    """A replica on this provider."""
    shared = records or MemoryRecords()
    settings = ProvidedSettings(trust_domain=DOMAIN, leaf=LEAF)
    return Mesh(ProvidedAuthority(provider, own_issuers(clock), shared.of(name), settings, clock, lambda: 0.5))
