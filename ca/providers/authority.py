"""The certificate authority of a mesh whose workloads' leaves a provider signs; implements xds.snapshot.SecretSource.

Rule: a provider that is away takes nothing away. Leaves are renewed from the middle of their life on, attempts are
spaced out and counted, and what is in force stays until something better was checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ca.authority import LOOK_WHILE_ROTATING, Observe, Publish, bundle_secret, leaf_secret
from ca.issuance import Leaf, key_pem, spiffe_id
from ca.issuers import new_key
from ca.providers.checking import Path, Refused, checked
from ca.providers.provider import Provider, ProviderError, Wanted
from ca.providers.records import Records
from ca.providers.trust import SIGNER, Record, bundle_hash, judge
from ca.reports import NOTHING_SEEN, Seen, report_of
from ca.rotation import JITTER, NOBODY, Action, Onlookers, decide_leaf
from ca.settling import fingerprint
from ca.storage import StorageError
from kube.clock import Clock
from mesh.model import Identity
from xds.names import BUNDLE_SECRET, LEAF_SECRET
from xds.peers import NO_PEERS, Peers
from xds.snapshot import Named, NoSecretsNow

RENEW_AFTER: Final = 1 / 2
"""The part of a leaf's life after which it is renewed: the other half is for a provider that is away."""
LONGEST_LOOK: Final = 30.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts for one identity, at most; the first come after one, two, four and so on."""
LONGEST_WAIT: Final = 5.0
"""Seconds for which a look waits for what it had renewed; the rest goes on by itself."""
PATIENCE: Final = 15.0
"""Seconds for which a stream waits for the first leaf of its identity; then it comes back by itself."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvidedSettings:
    """`leaf` is how long leaves should live; the provider may make it shorter."""

    trust_domain: str
    leaf: timedelta


@dataclass(frozen=True, slots=True)
class _Issued:
    leaf: Leaf
    root: str
    secrets: Named


@dataclass(slots=True)
class _Attempts:
    """How often it failed in a row and why, and when, in seconds of the clock, the next attempt may be made."""

    failed: int = 0
    why: str = ""
    next: float = 0.0


_NONE_YET: Final = _Attempts()


@dataclass(slots=True)
class Standing:
    """What people are told: `signed` and `failed` count attempts, `trouble` is why there are none that succeed."""

    signed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    roots_trouble: str = ""
    sign_trouble: str = ""
    record_trouble: str = ""
    issuer_ends: datetime | None = None
    """When the first certificate above the newest leaf ends."""
    onlookers: Onlookers = NOBODY

    @property
    def trouble(self) -> str:
        """All of it in words; empty while all is well."""
        return "; ".join(dict.fromkeys(filter(None, (self.roots_trouble, self.sign_trouble, self.record_trouble))))


class ProvidedAuthority:
    """Keeps every identity's leaf fresh. `before` signed until there was a provider, and until its roots are held."""

    def __init__(
        self,
        provider: Provider,
        before: Provider,
        records: Records,
        settings: ProvidedSettings,
        clock: Clock,
        chance: Callable[[], float],
        peers: Callable[[], Peers] = lambda: NO_PEERS,
    ) -> None:
        """`peers` are the names by which ours are accepted, and other meshes: Weft's own authority knows them."""
        self.provider = provider
        self.standing = Standing()
        self._before = before
        self._records = records
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._issued: dict[Identity, _Issued] = {}
        self._attempts: dict[Identity, _Attempts] = {}
        self._longest = settings.leaf
        self._renewing: dict[Identity, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(provider.at_once)
        self._peers = peers
        self._use(Record())
        self._offered: frozenset[str] = frozenset()
        self._known_before: frozenset[str] = frozenset()
        self._said = ""
        self._told: object = None
        """What everybody was given to trust who has a leaf."""

    @property
    def peers(self) -> Peers:
        """The names by which ours are accepted, and other meshes."""
        return self._peers()

    def bundle_pem(self) -> bytes:
        """The certificates that peers' leaves must chain to."""
        return self._record.bundle_pem

    @property
    def trouble(self) -> str:
        """What keeps the authority from its work, in words."""
        return self.standing.trouble

    @property
    def record(self) -> Record:
        """Which roots are trusted, and how far they have spread."""
        return self._record

    @property
    def leaves_end(self) -> tuple[datetime, ...]:
        """When each workload's leaf in use ends."""
        return tuple(issued.leaf.validity.not_after for issued in self._issued.values())

    async def begin(self) -> None:
        """Wait until it is known whom to trust: from the provider, or from what was written down before."""
        failed = 0
        while True:
            await self._look_at_roots(NOTHING_SEEN)
            if self._record.entries:
                self._told = self._trusted
                return
            self._tell()
            await self._clock.sleep(self._pause_after(failed := failed + 1))

    async def secrets(self, identity: Identity) -> Named:
        """The identity's leaf and the bundle by SDS name. Raises NoSecretsNow; ValueError for a foreign one."""
        if identity.trust_domain != self._settings.trust_domain:
            raise ValueError(f"{identity.uri} is not of trust domain {self._settings.trust_domain}")
        end = self._clock.passed() + PATIENCE
        while identity not in self._issued:
            issued = await self._attempt(identity)
            if issued is not None:
                self._issued[identity] = issued
                break
            attempts = self._attempts[identity]
            if attempts.next > end:
                raise NoSecretsNow(f"{self.provider.name} signs nothing now: {attempts.why}")
            await self._clock.sleep(max(0.0, attempts.next - self._clock.passed()))
        return self._issued[identity].secrets

    def forget(self, identities: Iterable[Identity]) -> None:
        """Stop renewing for identities that nobody has any more."""
        for identity in identities:
            self._issued.pop(identity, None)
            self._attempts.pop(identity, None)

    async def run(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:
        """Renew until cancelled; `publish` is given the new secrets of one identity at a time."""
        try:
            while True:
                await self._clock.sleep(self._pause())
                await self.look(publish, observe)
        finally:
            for task in self._renewing.values():
                task.cancel()
            await self.provider.close()

    async def look(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:
        """Look once at the roots, then at every leaf."""
        seen = observe(self.bundle_pem())
        await self._look_at_roots(seen if self._told == self._trusted else replace(seen, in_force=False))
        self._spread(publish)
        await self._renew(publish)
        self._give_up()
        self._tell()

    async def _look_at_roots(self, seen: Seen) -> None:
        """Bring the record up to date with what the provider offers and what replicas see."""
        try:
            try:
                offered = tuple(await self.provider.roots())
                self._offered = frozenset(map(fingerprint, offered))
                self.standing.roots_trouble = ""
            except ProviderError as error:
                offered, self.standing.roots_trouble = None, str(error)
            await self._exchange(offered, seen)
            self.standing.record_trouble = ""
        except (ProviderError, StorageError) as error:
            self.standing.record_trouble = str(error)
        except Exception as error:
            # Our own failure: leaves are renewed with the roots there are.
            log.exception("the provider's roots could not be looked at")
            self.standing.record_trouble = f"{type(error).__name__} while roots were looked at"

    async def _exchange(self, offered: tuple[x509.Certificate, ...] | None, seen: Seen) -> None:
        before, now = await self._before.roots(), self._clock.now()
        self._known_before = frozenset(map(fingerprint, before))
        record, passed = self._record, self._clock.passed()
        settled = all(entry.held for entry in record.entries)
        ours = report_of(bundle_hash(record), SIGNER, self._longest, seen, passed, settled=settled)
        judged = await self._records.exchanged(
            lambda there, reports: judge(there, offered, reports, seen, self._longest, now, before if offered else ()),
            ours,
            passed,
        )
        self.standing.onlookers = judged.onlookers
        self._use(judged.record)

    def _use(self, record: Record) -> None:
        self._record = record
        self._roots, self._held = record.roots, record.held
        self._trusted = record.bundle_pem, self._peers()
        self._bundle = bundle_secret(record.bundle_pem, self._settings.trust_domain, self.peers)

    def _spread(self, publish: Publish) -> None:
        """Give everybody who has a leaf the bundle of now; their leaves stay."""
        if self._told == self._trusted:
            return
        for identity, issued in self._issued.items():
            fresh = self._issued[identity] = self._with_bundle(issued.leaf, issued.root)
            publish(identity, fresh.secrets)
        self._told = self._trusted

    async def _renew(self, publish: Publish) -> None:
        """Replace leaves that are due, as many at a time as the provider takes."""
        now, passed = self._clock.now(), self._clock.passed()
        due = [
            identity
            for identity, issued in self._issued.items()
            if identity not in self._renewing
            and self._is_due(issued, now)
            and passed >= self._attempts.get(identity, _NONE_YET).next
        ]
        for identity in due:
            self._renewing[identity] = asyncio.create_task(self._renewed(identity, publish))
        if self._renewing:
            # A provider that takes long must not hold up the next look at the roots.
            await asyncio.wait(tuple(self._renewing.values()), timeout=LONGEST_WAIT)

    async def _renewed(self, identity: Identity, publish: Publish) -> None:
        try:
            issued = await self._attempt(identity)
            # It may have been forgotten meanwhile.
            if issued is not None and identity in self._issued:
                self._issued[identity] = issued
                publish(identity, issued.secrets)
        finally:
            self._renewing.pop(identity, None)

    def _is_due(self, issued: _Issued, now: datetime) -> bool:
        if decide_leaf(issued.leaf.validity, issued.leaf.renew_at, now).action is Action.RENEW_LEAF:
            return True
        # Its root is on the way out, and there is another that everybody holds.
        return issued.root not in self._offered and bool(self._held & self._offered)

    async def _attempt(self, identity: Identity) -> _Issued | None:
        """A new leaf. Where there is none, what prevents it is kept for people, and the next attempt comes later."""
        issued = None
        try:
            async with self._turns:
                issued = await self._issue(identity)
        except ProviderError as error:
            attempts = self._attempts.setdefault(identity, _Attempts())
            attempts.failed += 1
            attempts.why = str(error)
            attempts.next = self._clock.passed() + self._pause_after(attempts.failed)
            self.standing.failed["refused" if isinstance(error, _UnusableError) else "provider"] += 1
        else:
            self.standing.signed += 1
            self._attempts.pop(identity, None)
        self._sum_up()
        return issued

    def _sum_up(self) -> None:
        """Trouble is that of one identity that still fails, though others succeed."""
        self.standing.sign_trouble = next((each.why for each in self._attempts.values()), "")

    def _give_up(self) -> None:
        """Forget attempts for those who have no leaf here and did not come back for one: they may be elsewhere."""
        late = self._clock.passed() - 2 * LONGEST_PAUSE
        for identity in [
            each for each, made in self._attempts.items() if each not in self._issued and made.next < late
        ]:
            del self._attempts[identity]
        self._sum_up()

    async def _issue(self, identity: Identity) -> _Issued:
        key = new_key()
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id(identity))])
        request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
        wanted = Wanted(identity, request.sign(key, SHA256()), self._settings.leaf, self._held)
        signer = self._signer()
        chain = await signer.sign(wanted)
        now = self._clock.now()
        try:
            path = checked(chain, wanted, self._roots, now)
        except Refused as error:
            raise _UnusableError(f"what {signer.name} signed for {identity.uri} {error}") from error
        root = fingerprint(path.root)
        if root not in self._held and self._is_good(identity, now):
            raise _UnusableError(f"{signer.name} signs under a root that not all proxies hold yet")
        self.standing.issuer_ends = _issuer_ends(path)
        end = path.validity.not_after
        # Some signers make it longer than was wanted; then its root has to be trusted for longer, too.
        self._longest = max(self._longest, end - now)
        due = now + min(end - now, self._settings.leaf) * (RENEW_AFTER + JITTER * (2 * self._chance() - 1))
        return self._with_bundle(Leaf(path.chain_pem, key_pem(key), path.validity, due), root)

    def _signer(self) -> Provider:
        """The provider, once everybody holds one of its roots; until then whoever signed before, if that is trusted."""
        if self._held & self._offered or not self._held & self._known_before:
            return self.provider
        return self._before

    def _is_good(self, identity: Identity, now: datetime) -> bool:
        issued = self._issued.get(identity)
        return issued is not None and issued.leaf.validity.holds(now)

    def _with_bundle(self, leaf: Leaf, root: str) -> _Issued:
        return _Issued(leaf, root, {LEAF_SECRET: leaf_secret(leaf), BUNDLE_SECRET: self._bundle})

    def _pause_after(self, failed: int) -> float:
        """Twice as long each time, and never the same for all who failed at once."""
        return float(min(2.0 ** min(failed - 1, 16), LONGEST_PAUSE) * (0.5 + self._chance()))

    def _pause(self) -> float:
        if not all(entry.held for entry in self._record.entries) or self._told != self._trusted:
            return min(LOOK_WHILE_ROTATING, self._settings.leaf.total_seconds() / 100)
        lives = [issued.leaf.validity for issued in self._issued.values()]
        shortest = min((each.not_after - each.not_before for each in lives), default=self._settings.leaf)
        busy = 1.0 if self._attempts else LONGEST_LOOK
        return min(busy, shortest.total_seconds() / 100)

    def _tell(self) -> None:
        """Say once what keeps the authority from its work, and once that it does no more."""
        trouble = self.standing.trouble
        if trouble != self._said:
            if trouble:
                log.error(
                    "certificates can't be renewed, those in force stay", provider=self.provider.name, reason=trouble
                )
            else:
                log.info("certificates are renewed again", provider=self.provider.name)
        self._said = trouble


class _UnusableError(ProviderError):
    """Something was signed, and it can't be used."""


def _issuer_ends(path: Path) -> datetime:
    return min(each.not_valid_after_utc for each in (*path.certificates[1:], path.root))
