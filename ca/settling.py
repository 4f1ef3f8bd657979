"""Issuers brought up to date, wherever they are kept: made where they are missing, replaced when due, step by step.

Rule: never make a root where there was one but as the next of a rotation. Pure but for fresh keys: whoever keeps
issuers writes down what was made before anybody uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ca.domains import SIGNING, Domains, moved
from ca.issuers import UNREADABLE, Issuer, cross_sign, make_intermediate, make_root
from ca.rotation import NOBODY, Action, Onlookers, State, Step, Validity, Wish, decide
from ca.storage import StorageError
from kube.clock import Clock

MOST_STEPS: Final = 3
"""A root, an intermediate, and then nothing is left to do; lifetimes that make more of it are nonsense."""
MOST_CROSSED: Final = 4
"""Older roots under which our servers can still be verified; each costs a handshake some 600 bytes."""
LONGEST_LEAF: Final = timedelta(days=7)
"""No setting makes a leaf live longer: a stolen key is worth something until then."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long certificates live. Each is cut to what is left of its issuer's, a leaf's to LONGEST_LEAF too."""

    root: timedelta = timedelta(days=3650)
    intermediate: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(hours=24)
    notice: timedelta = timedelta(0)
    """For how long a new root is published before it signs: other meshes look at our bundle now and then."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaf", min(self.leaf, LONGEST_LEAF))


DEFAULT_LIFETIMES: Final = Lifetimes()


@dataclass(frozen=True, slots=True)
class Rotation:
    """How far a rotation of the root has come. `next_root` and `previous_root` are never there together.

    `crossed` are the signing root under an older one, that one under a yet older one, and so on; `next_crossed` the
    next root under the signing one. `leaf` is the longest life of leaves that the rotation has to outlast.
    """

    next_root: Issuer | None = None
    previous_root: Issuer | None = None
    crossed: tuple[x509.Certificate, ...] = ()
    next_crossed: x509.Certificate | None = None
    since: datetime | None = None
    leaf: timedelta = timedelta(0)
    wish: Wish = Wish.NONE
    reason: str = ""
    """Why the rotation began."""


NO_ROTATION: Final = Rotation()
UNNAMED: Final = Domains("")
"""As the settings say."""


@dataclass(frozen=True)
class Issuers:
    """The root and the intermediate that sign, and how far a rotation of the root and a change of name have come."""

    root: Issuer
    intermediate: Issuer
    rotation: Rotation = NO_ROTATION
    domains: Domains = UNNAMED

    def state(self, leaf: timedelta = timedelta(0), onlookers: Onlookers = NOBODY) -> State:
        """What rotation decides by; `leaf` is the life that is given to leaves now."""
        rotation = self.rotation
        return State(
            root=self.root.validity,
            intermediate=self.intermediate.validity,
            next_root=_validity(rotation.next_root),
            previous_root=_validity(rotation.previous_root),
            since=rotation.since,
            leaf=max(leaf, rotation.leaf),
            wish=rotation.wish,
            onlookers=onlookers,
        )

    @cached_property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """Whom peers trust. In an order that stays the same when the roles of two roots change."""
        rotation = self.rotation
        there = [each for each in (self.root, rotation.next_root, rotation.previous_root) if each is not None]
        return tuple(sorted((each.certificate for each in there), key=_age))

    @cached_property
    def bundle_pem(self) -> bytes:
        """The roots as PEM."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.roots)

    @cached_property
    def mark(self) -> tuple[object, ...]:
        """Equal for issuers that mean the same."""
        rotation = self.rotation
        signs = (fingerprint(self.root.certificate), fingerprint(self.intermediate.certificate))
        crossed = tuple(map(fingerprint, rotation.crossed))
        return (
            *signs, self.bundle_pem, crossed, rotation.since, rotation.leaf, rotation.wish, rotation.reason,
            self.domains,
        )  # fmt: skip

    @property
    def moving(self) -> bool:
        """Whether a rotation of the root or a change of the trust domain is under way."""
        return len(self.roots) > 1 or self.domains.changing

    @property
    def trusted(self) -> str:
        """A hash of what sidecars must hold to accept all of ours: the bundle, and during a change both names."""
        names = repr((self.domains.accepted, self.domains.serving)).encode() if self.domains.changing else b""
        return sha256(self.bundle_pem + names).hexdigest()

    @property
    def signing(self) -> str:
        """What leaves are made under, as reports say it: the root, and during a change the name."""
        return fingerprint(self.root.certificate) + (f" {self.domains.signs}" if self.domains.changing else "")

    def crossed_pem(self, now: datetime) -> bytes:
        """What a server of ours sends behind its chain, for peers that know an older root only."""
        good: list[bytes] = []
        for each in self.rotation.crossed:
            if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
                break
            good.append(each.public_bytes(Encoding.PEM))
        return b"".join(good)

    def descends_from(self, roots: tuple[x509.Certificate, ...]) -> bool:
        """Whether one of these roots trusts what is signed here: it is in the bundle, or an ancestor of the root."""
        if not set(self.roots).isdisjoint(roots):
            return True
        signed, key = None, self.root.certificate.public_key()
        for crossed in self.rotation.crossed:
            if not (_signed_by(signed, crossed) if signed else crossed.public_key() == key):
                return False
            if any(_signed_by(crossed, each) for each in roots):
                return True
            signed = crossed
        return False


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate, in hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


@dataclass(frozen=True, slots=True)
class Settled:
    """Issuers that can be used now, and what was made for that, in words."""

    issuers: Issuers
    made: tuple[tuple[Issuer, Step], ...]

    def tell(self) -> None:
        """Log what was made, once it is written down."""
        for issuer, step in self.made:
            log.info(str(step.action), reason=step.reason, valid_until=issuer.validity.not_after.isoformat())


def settle(
    root: Issuer | None,
    intermediate: Issuer | None,
    rotation: Rotation,
    trust_domain: str,
    lifetimes: Lifetimes,
    clock: Clock,
    where: str,
    domains: Domains = UNNAMED,
) -> Settled:
    """Make what is missing or due so that leaves can be signed; steps of a rotation are left to `carry_out`.

    Raises StorageError, with `where` in its words.
    """
    made: list[tuple[Issuer, Step]] = []
    domains = domains if domains.signs else Domains(trust_domain)
    for _ in range(MOST_STEPS):
        now = clock.now()
        step = decide(_unfinished(root, intermediate, rotation), now)
        if step.action is Action.MAKE_ROOT:
            root = make_root(domains.signs, now, lifetimes.root)
            made.append((root, step))
        elif root and step.action is Action.MAKE_INTERMEDIATE:
            intermediate = make_intermediate(root, domains.signs, now, lifetimes.intermediate)
            made.append((intermediate, step))
            rotation = _granted(rotation, Wish.INTERMEDIATE)
        elif root and intermediate and step.action is not Action.REFUSE:
            return Settled(Issuers(root, intermediate, rotation, domains), tuple(made))
        else:
            break
    raise StorageError(f"the certificate authority in {where} can't be used: {step.reason}")


def carry_out(step: Step, issuers: Issuers, trust_domain: str, lifetimes: Lifetimes, now: datetime) -> Issuers:
    """The issuers after this step; the same ones where it asks for nothing."""
    work = _STEPS.get(step.action)
    name = issuers.domains.signs or trust_domain
    return work(_Work(issuers, name, lifetimes, now, step.reason)) if work is not None else issuers


def carry_out_change(step: Step, issuers: Issuers, lifetimes: Lifetimes, now: datetime) -> Issuers:
    """The issuers after this step of a change of the trust domain: whoever signs from now on is bound to one name."""
    domains = moved(issuers.domains, step.action, lifetimes.leaf, now)
    changed = wished(replace(issuers, domains=domains), Wish.NONE)
    if step.action in SIGNING:
        signer = make_intermediate(issuers.root, domains.signs, now, lifetimes.intermediate)
        return replace(changed, intermediate=signer)
    return changed


def wished(issuers: Issuers, wish: Wish) -> Issuers:
    """The issuers with what a person asked for written down."""
    return replace(issuers, rotation=replace(issuers.rotation, wish=wish))


@dataclass(frozen=True, slots=True)
class _Work:
    """One step, with all it may need."""

    issuers: Issuers
    trust_domain: str
    lifetimes: Lifetimes
    now: datetime
    reason: str

    def make_intermediate(self) -> Issuers:
        rotation = _granted(self.issuers.rotation, Wish.INTERMEDIATE)
        return replace(self.issuers, intermediate=self._intermediate(self.issuers.root), rotation=rotation)

    def prepare(self) -> Issuers:
        root = make_root(self.trust_domain, self.now, self.lifetimes.root)
        crossed = cross_sign(root, self.issuers.root, self.trust_domain, self.now)
        return self._with(
            next_root=root, next_crossed=crossed, since=self.now, leaf=self.lifetimes.leaf, wish=Wish.NONE,
            reason=self.reason,
        )  # fmt: skip

    def sign_with_next(self) -> Issuers:
        rotation = self.issuers.rotation
        older = (rotation.next_crossed, *rotation.crossed) if rotation.next_crossed is not None else rotation.crossed
        rest = self._with(next_root=None, next_crossed=None, crossed=older[:MOST_CROSSED])
        return self._under(rotation.next_root, rest.rotation)

    def sign_with_previous(self) -> Issuers:
        ours = self.issuers.root.certificate.public_key()
        older = tuple(each for each in self.issuers.rotation.crossed if each.public_key() != ours)
        rest = self._with(crossed=older, wish=Wish.NONE, reason=self.reason)
        return self._under(self.issuers.rotation.previous_root, rest.rotation)

    def start_drain(self) -> Issuers:
        return self._with(since=self.now, leaf=max(self.issuers.rotation.leaf, self.lifetimes.leaf))

    def end(self) -> Issuers:
        """Retired or abandoned: one root is left."""
        return replace(self.issuers, rotation=Rotation(crossed=self.issuers.rotation.crossed))

    def drop_wish(self) -> Issuers:
        return wished(self.issuers, Wish.NONE)

    def _under(self, root: Issuer | None, rotation: Rotation) -> Issuers:
        """Sign under this root from now on; until when others sign under the one of now is not known yet."""
        assert root is not None  # noqa: S101 - decided for issuers that have one
        leaf = max(rotation.leaf, self.lifetimes.leaf)
        rotation = replace(rotation, previous_root=self.issuers.root, since=None, leaf=leaf)
        return Issuers(root, self._intermediate(root), rotation, self.issuers.domains)

    def _intermediate(self, root: Issuer) -> Issuer:
        return make_intermediate(root, self.trust_domain, self.now, self.lifetimes.intermediate)

    def _with(self, **changes: Any) -> Issuers:
        return replace(self.issuers, rotation=replace(self.issuers.rotation, **changes))


_STEPS: Final[dict[Action, Callable[[_Work], Issuers]]] = {
    Action.MAKE_INTERMEDIATE: _Work.make_intermediate,
    Action.PREPARE_ROOT: _Work.prepare,
    Action.SIGN_WITH_NEXT: _Work.sign_with_next,
    Action.START_DRAIN: _Work.start_drain,
    Action.RETIRE: _Work.end,
    Action.ABANDON: _Work.end,
    Action.SIGN_WITH_PREVIOUS: _Work.sign_with_previous,
    Action.DROP_WISH: _Work.drop_wish,
}


def _unfinished(root: Issuer | None, intermediate: Issuer | None, rotation: Rotation) -> State:
    if root is None or intermediate is None:
        return State(_validity(root), _validity(intermediate))
    return Issuers(root, intermediate, rotation).state()


def _granted(rotation: Rotation, wish: Wish) -> Rotation:
    return replace(rotation, wish=Wish.NONE) if rotation.wish is wish else rotation


def _validity(issuer: Issuer | None) -> Validity | None:
    return issuer.validity if issuer else None


def _age(certificate: x509.Certificate) -> tuple[datetime, bytes]:
    return certificate.not_valid_before_utc, certificate.fingerprint(SHA256())


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
