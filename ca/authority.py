"""The certificate authority of one control plane process: it gives every identity its secrets and keeps them fresh.

Rule: what is decided is decided in `ca.rotation`; here it is carried out. An issuer that could not be replaced stays
in force.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import structlog

from ca.advancing import rotating
from ca.issuance import Expired, IpAddress, Issuance, Leaf
from ca.issuer_folder import IssuerFolder
from ca.keeping import IssuerStore, Progress
from ca.reports import NOTHING_SEEN, Seen
from ca.rotation import Action, Wish, decide_leaf
from ca.sealing import Sealing
from ca.settling import DEFAULT_LIFETIMES, Issuers, Lifetimes
from ca.storage import Folder, StorageError
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import Identity
from xds import pb
from xds.names import BUNDLE_SECRET, LEAF_SECRET
from xds.peers import NO_PEERS, Peers, trusting
from xds.resource import Resource, encode
from xds.snapshot import Named

LONGEST_LOOK: Final = 30.0
"""Seconds between two looks at what is due, at most."""
LOOK_WHILE_ROTATING: Final = 2.0
LOOKS_PER_LIFE: Final = 100
Publish = Callable[[Identity, Named], None]
Observe = Callable[[bytes], Seen]
"""What is known of this process's proxies, given the bundle that they should hold, PEM."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Issued:
    """A leaf and the secrets that carry it."""

    leaf: Leaf
    secrets: Named


class Authority:
    """Implements xds.snapshot.SecretSource. One leaf per identity is remembered and renewed until it is forgotten."""

    def __init__(
        self,
        issuer_store: IssuerStore,
        issuers: Issuers,
        trust_domain: str,
        lifetimes: Lifetimes,
        clock: Clock,
        chance: Callable[[], float],
        aliases: Iterable[str] = (),
    ) -> None:
        """`aliases` are other trust domains under our roots whose identities count as those of ours."""
        self._aliases = frozenset(aliases)
        self._foreign: tuple[tuple[str, str], ...] = ()
        self._gone: set[str] = set()
        self._issuer_store = issuer_store
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes
        self._clock = clock
        self._chance = chance
        self._issued: dict[Identity, _Issued] = {}
        self._servers: dict[tuple[tuple[str, ...], tuple[IpAddress, ...]], Leaf] = {}
        self._own: dict[tuple[str, str], Leaf] = {}
        self._turn = asyncio.Lock()
        self._trusted = (b"", NO_PEERS)
        self.trouble = ""
        """What keeps the authority from its work, in words; those certificates that are in force stay."""
        self._issuers = issuers
        self._use(issuers)
        self._told = self._trusted
        """What everybody was given to trust who has a leaf."""

    @classmethod
    def open(
        cls,
        folder: Path,
        trust_domain: str,
        *,
        lifetimes: Lifetimes = DEFAULT_LIFETIMES,
        sealing: Sealing | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: Callable[[], float] = random.random,
        aliases: Iterable[str] = (),
    ) -> Authority:
        """Open the authority kept in this folder, or make it. Safe against others who do the same at once.

        Raises StorageError (one sentence for a person) when the folder can't be trusted or used, and ValueError
        when `trust_domain` is none.
        """
        issuer_folder = IssuerFolder(Folder.open(folder), trust_domain, lifetimes, sealing)
        return cls(issuer_folder, issuer_folder.settle(clock), trust_domain, lifetimes, clock, chance, aliases)

    def bundle_pem(self) -> bytes:
        """The certificates a leaf must chain to: the root, and during a rotation of the root two of them."""
        return self._issuers.bundle_pem

    @property
    def peers(self) -> Peers:
        """The names by which ours are accepted now, and other meshes with their roots."""
        names = self._issuers.domains
        domains = tuple(sorted({*(names.accepted or (self._trust_domain,)), *self._aliases}))
        ours = {*names.known, *domains, self._trust_domain}
        # Whatever somebody else vouches for is never one of ours.
        foreign = tuple(each for each in self._foreign if each[0] not in ours)
        gone = tuple(sorted(self._gone - ours))
        alone = domains == (self._trust_domain,) and not foreign and not gone
        serving = tuple(sorted({*names.serving, *self._aliases})) if names.renewing else ()
        return Peers(self._trust_domain) if alone else Peers(self._trust_domain, domains, foreign, serving, gone)

    def trust(self, foreign: Iterable[tuple[str, str]]) -> None:
        """Accept identities of these other trust domains, each proven by its own roots, PEM; and of no other."""
        before = {name for name, _ in self._foreign}
        self._foreign = tuple(sorted(foreign))
        self._gone = (self._gone | before) - {name for name, _ in self._foreign}
        self._use(self._issuers)

    @property
    def issuers(self) -> Issuers:
        """Those in use."""
        return self._issuers

    @property
    def progress(self) -> Progress | None:
        """How a rotation stands, as this process sees it; None before its first look."""
        return self._issuer_store.progress

    @property
    def lifetimes(self) -> Lifetimes:
        """How long certificates live."""
        return self._lifetimes

    async def ask(self, wish: Wish) -> None:
        """Write down what a person wants; it is done at the next look. Raises StorageError."""
        await self._issuer_store.ask(wish)

    async def rename(self, trust_domain: str) -> None:
        """Begin the change to another trust domain. Raises StorageError."""
        if trust_domain in {name for name, _ in self._foreign}:
            raise StorageError(f"{trust_domain} is another mesh's, with which this one federates")
        await self._issuer_store.rename(trust_domain, self._clock)

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """When the root and the intermediate end."""
        return self._issuers.root.validity.not_after, self._issuers.intermediate.validity.not_after

    @property
    def leaves_end(self) -> tuple[datetime, ...]:
        """When each workload's leaf in use ends."""
        return tuple(issued.leaf.validity.not_after for issued in self._issued.values())

    async def secrets(self, identity: Identity) -> Named:
        """The identity's leaf and the bundle by SDS name. Raises ValueError for an identity of another trust domain.

        Only `run` replaces a leaf, or those who were given the old one would not hear of it. Identities that ask at
        once are served one per turn of the event loop, which is held up for one leaf at most.
        """
        issued = self._issued.get(identity)
        if issued is None:
            async with self._turn:
                # Give the loop its turn, or all who wait would be served in this one.
                await asyncio.sleep(0)
                issued = self._issued.get(identity) or self._issue(identity)
        return issued.secrets

    def server_certificate(self, dns_names: Sequence[str], ip_addresses: Sequence[str]) -> Leaf:
        """A certificate for a server of the control plane; the same one until it is due, then a new one.

        So a server asks before each handshake, or at `renew_at`. May be called from any thread. Raises ValueError
        for an address that is none.
        """
        names, addresses = tuple(dns_names), tuple(ip_address(address) for address in ip_addresses)
        leaf = self._servers.get((names, addresses))
        if leaf is None or self._is_due(leaf):
            leaf = self._crossed(self._issuance.server(names, addresses, self._clock.now()))
            self._servers[names, addresses] = leaf
        return leaf

    def served_elsewhere(self, dns_names: Sequence[str], lifetime: timedelta) -> Leaf:
        """A new certificate for a server that gets it from a Secret, and so can't ask when it is due.

        Raises Expired when the issuer has no life left, and ValueError.
        """
        issuance = Issuance(self._issuers.intermediate, self._signs, lifetime, self._chance)
        return self._crossed(issuance.server(tuple(dns_names), (), self._clock.now()))

    def own_svid(self, namespace: str, service_account: str) -> Leaf:
        """A certificate with a SPIFFE ID for the control plane itself; the same one until it is due."""
        leaf = self._own.get((namespace, service_account))
        if leaf is None or self._is_due(leaf):
            leaf = self._issuance.workload(Identity(self._signs, namespace, service_account), self._clock.now())
            self._own[namespace, service_account] = leaf
        return leaf

    def _crossed(self, leaf: Leaf) -> Leaf:
        """The leaf with what leads to older roots: who calls our servers may have read the root long ago."""
        return replace(leaf, chain_pem=leaf.chain_pem + self._issuers.crossed_pem(self._clock.now()))

    def forget(self, identities: Iterable[Identity]) -> None:
        """Stop renewing for identities that nobody has any more; asked again, they get a new leaf."""
        for identity in identities:
            self._issued.pop(identity, None)

    async def run(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:
        """Renew issuers and leaves until cancelled; `publish` is given the new secrets of one identity at a time.

        All leaves are looked at each time, so a clock that jumps either way is noticed at the next look.
        """
        try:
            while True:
                await self._clock.sleep(self._pause())
                await self.look(publish, observe)
        finally:
            await self._issuer_store.farewell()

    async def look(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:
        """Look once at what is due, and do it: a step of a rotation at most, then everybody's bundle and leaves."""
        trouble = await self._rotate(observe)
        await self.spread(publish)
        self._report(trouble, await self._renew(publish))

    def _pause(self) -> float:
        longest = LOOK_WHILE_ROTATING if rotating(self._issuers) else LONGEST_LOOK
        return min(longest, self._lifetimes.leaf.total_seconds() / LOOKS_PER_LIFE)

    async def _rotate(self, observe: Observe) -> str:
        """Use the issuers that are right now. The answer is what prevents it; then those that exist stay."""
        seen = observe(self.bundle_pem())
        if self._told != self._trusted:
            seen = replace(seen, in_force=False)
        try:
            issuers = await self._issuer_store.refreshed(self._issuers, self._clock, seen)
            if issuers is not self._issuers:
                self._use(issuers)
        except StorageError as error:
            return str(error)
        except Exception as error:
            # Our own failure: leaves are renewed with the issuers there are.
            log.exception("issuers could not be looked at")
            return f"{type(error).__name__} while the issuers were looked at"
        return ""

    async def spread(self, publish: Publish) -> None:
        """Give everybody who has a leaf what is trusted now; their leaves stay."""
        trusted = self._trusted
        if self._told == trusted:
            return
        for identity in list(self._issued):
            async with self._turn:
                await asyncio.sleep(0)
                issued = self._issued.get(identity)
                if issued is not None:
                    fresh = self._issued[identity] = self._with_bundle(issued.leaf)
                    publish(identity, fresh.secrets)
        self._told = trusted

    async def _renew(self, publish: Publish) -> str:
        """Replace leaves that are due. The answer is what prevents it; then those that exist stay."""
        for identity in [identity for identity, issued in self._issued.items() if self._is_due(issued.leaf)]:
            async with self._turn:
                await asyncio.sleep(0)
                if identity not in self._issued:
                    continue
                try:
                    publish(identity, self._issue(identity).secrets)
                except Expired as error:
                    return str(error)
        return ""

    def _report(self, *troubles: str) -> None:
        """Say once what keeps the authority from its work, not at every look."""
        trouble = "; ".join(filter(None, troubles))
        if trouble and trouble != self.trouble:
            log.error("certificates can't be renewed, those in force stay", reason=trouble)
        self.trouble = trouble

    def _use(self, issuers: Issuers) -> None:
        before, self._issuers = self._issuers, issuers
        if before.root.certificate != issuers.root.certificate:
            # Servers show their new chain at once: it leads to older roots, too.
            self._servers.clear()
        if before.intermediate.certificate != issuers.intermediate.certificate:
            self._own.clear()
        self._signs = issuers.domains.signs or self._trust_domain
        self._issuance = Issuance(issuers.intermediate, self._signs, self._lifetimes.leaf, self._chance)
        trusted = issuers.bundle_pem, self.peers
        if self._trusted != trusted:
            self._trusted = trusted
            self._bundle = bundle_secret(issuers.bundle_pem, self._trust_domain, self.peers)

    def _issue(self, identity: Identity) -> _Issued:
        if identity.trust_domain != self._trust_domain:
            raise ValueError(f"{identity.uri} is not of trust domain {self._trust_domain}")
        leaf = self._issuance.workload(identity._replace(trust_domain=self._signs), self._clock.now())
        issued = self._issued[identity] = self._with_bundle(leaf)
        return issued

    def _with_bundle(self, leaf: Leaf) -> _Issued:
        return _Issued(leaf, {LEAF_SECRET: leaf_secret(leaf), BUNDLE_SECRET: self._bundle})

    def _is_due(self, leaf: Leaf) -> bool:
        return decide_leaf(leaf.validity, leaf.renew_at, self._clock.now()).action is Action.RENEW_LEAF


def leaf_secret(leaf: Leaf) -> Resource:
    """The SDS secret with a workload's certificate chain and key."""
    certificate = pb.TlsCertificate(
        certificate_chain=pb.DataSource(inline_bytes=leaf.chain_pem),
        private_key=pb.DataSource(inline_bytes=leaf.key_pem),
    )
    return encode(LEAF_SECRET, pb.Secret(name=LEAF_SECRET, tls_certificate=certificate))


def bundle_secret(pem: bytes, trust_domain: str = "", peers: Peers = NO_PEERS) -> Resource:
    """The SDS secret with the certificates that a peer's leaf must chain to."""
    trusted = pb.CertificateValidationContext(trusted_ca=pb.DataSource(inline_bytes=pem))
    if peers.foreign:
        trusted = trusting(pem.decode(), trust_domain, peers)
    return encode(BUNDLE_SECRET, pb.Secret(name=BUNDLE_SECRET, validation_context=trusted))
