"""Issuers as named bytes, the way a folder's files or a Secret's keys hold them, and back.

Rule: what can't be read is told with its name and never used; in the steady state there are two names and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.domains import Domains, begun
from ca.issuers import TRUST_DOMAIN, BadIssuer, Issuer, read_certificates, read_intermediate, read_root
from ca.reports import NOTHING_SEEN, Seen
from ca.rotation import Onlookers, Step, Wish
from ca.settling import NO_ROTATION, UNNAMED, Issuers, Lifetimes, Rotation, Settled, settle, wished
from ca.storage import StorageError
from kube.clock import Clock

ROOT: Final = "root.pem"
INTERMEDIATE: Final = "intermediate.pem"
NEXT_ROOT: Final = "next-root.pem"
PREVIOUS_ROOT: Final = "previous-root.pem"
CROSSED: Final = "crossed.pem"
"""The signing root's certificates under older roots, the nearest first."""
NEXT_CROSSED: Final = "next-crossed.pem"
ROTATION: Final = "rotation.json"
DOMAINS: Final = "trust-domain.json"
NAMES: Final = (ROOT, INTERMEDIATE, NEXT_ROOT, PREVIOUS_ROOT, CROSSED, NEXT_CROSSED, ROTATION, DOMAINS)

Read = TypeVar("Read")


class _Notes(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is written down about a rotation besides certificates. `leaf` is in seconds."""

    since: datetime | None = None
    leaf: float = 0.0
    wish: Wish = Wish.NONE
    reason: str = ""


class _Names(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is written down about the trust domain, once it was ever changed. `leaf` is in seconds."""

    signs: str
    next: str = ""
    previous: str = ""
    since: datetime | None = None
    leaf: float = 0.0
    renewing: bool = False
    former: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read. The intermediate may be missing, both may at first."""

    root: Issuer | None = None
    intermediate: Issuer | None = None
    rotation: Rotation = NO_ROTATION
    domains: Domains = UNNAMED

    def settled(self, trust_domain: str, lifetimes: Lifetimes, clock: Clock, where: str) -> Settled:
        """As ca.settling.settle makes of it."""
        return settle(self.root, self.intermediate, self.rotation, trust_domain, lifetimes, clock, where, self.domains)


@dataclass(frozen=True, slots=True)
class Progress:
    """How a rotation stands, for people: the step that was decided last, and who was waited for."""

    step: Step
    onlookers: Onlookers


class IssuerStore(Protocol):
    """Where issuers are kept: a folder, or a Secret that replicas share."""

    progress: Progress | None
    """What this process decided last; None where another process decides."""

    async def refreshed(self, issuers: Issuers, clock: Clock, seen: Seen = NOTHING_SEEN) -> Issuers:
        """Those to use from now on in place of these; mostly these. Raises StorageError: then these stay in force.

        `seen` is what this process knows of its own proxies while it uses `issuers`.
        """

    async def ask(self, wish: Wish) -> Issuers:
        """Write down what a person wants. Raises StorageError, also when that makes no sense now."""

    async def rename(self, name: str, clock: Clock) -> Issuers:
        """Begin the change to this trust domain. Raises StorageError, also when that makes no sense now."""

    async def farewell(self) -> None:
        """Have nobody wait for this process, which ends."""


def to_data(issuers: Issuers) -> dict[str, bytes]:
    """What is to be kept, by name; a name that is not here must not be there either."""
    rotation = issuers.rotation
    notes = _Notes(rotation.since, rotation.leaf.total_seconds(), rotation.wish, rotation.reason)
    data = {ROOT: issuers.root.to_pem(), INTERMEDIATE: issuers.intermediate.to_pem()}
    if rotation.next_root is not None:
        data[NEXT_ROOT] = rotation.next_root.to_pem()
    if rotation.previous_root is not None:
        data[PREVIOUS_ROOT] = rotation.previous_root.to_pem()
    if rotation.crossed:
        data[CROSSED] = b"".join(each.public_bytes(Encoding.PEM) for each in rotation.crossed)
    if rotation.next_crossed is not None:
        data[NEXT_CROSSED] = rotation.next_crossed.public_bytes(Encoding.PEM)
    if notes != _Notes():
        data[ROTATION] = msgspec.json.encode(notes)
    names = issuers.domains
    if names.changing or names.former:
        life = names.leaf.total_seconds()
        data[DOMAINS] = msgspec.json.encode(
            _Names(names.signs, names.next, names.previous, names.since, life, names.renewing, names.former)
        )
    return data


def from_data(data: Mapping[str, bytes], trust_domain: str, place: Callable[[str], str]) -> Kept:
    """What is kept. `place` tells a person where something of this name is. Raises StorageError."""
    if not data.keys() & set(NAMES):
        return Kept()
    if ROOT not in data:
        # A new root would cut off every running proxy; that is for a person to decide.
        raise StorageError(
            f"{place(ROOT)} is gone but {INTERMEDIATE} is there: restore it, "
            "or remove both to start with a new root that no running proxy trusts"
        )

    def read(name: str, reader: Callable[[bytes], Read]) -> Read | None:
        if name not in data:
            return None
        try:
            return reader(data[name])
        except BadIssuer as error:
            raise StorageError(f"{place(name)} {error}: restore it from a copy") from error

    domains = read(DOMAINS, _read_names) or Domains(trust_domain)
    if trust_domain not in domains.known:
        raise StorageError(
            f"{place(ROOT)} is of trust domain {domains.signs}, not {trust_domain}: set --trust-domain {domains.signs}"
        )
    root = read(ROOT, lambda pem: read_root(pem, *domains.known))
    assert root is not None  # noqa: S101 - it is there, or reading it has failed
    next_crossed = read(NEXT_CROSSED, read_certificates)
    notes = read(ROTATION, _read_notes) or _Notes()
    if notes.reason and not data.keys() & {NEXT_ROOT, PREVIOUS_ROOT}:
        # Without it a root that is in use would be trusted no more.
        raise StorageError(
            f"{place(ROTATION)} tells of a rotation, but neither {NEXT_ROOT} nor {PREVIOUS_ROOT} is there: restore it"
        )
    return Kept(
        root,
        read(INTERMEDIATE, lambda pem: read_intermediate(pem, root, domains.signs)),
        Rotation(
            next_root=read(NEXT_ROOT, lambda pem: read_root(pem, *domains.known)),
            previous_root=read(PREVIOUS_ROOT, lambda pem: read_root(pem, *domains.known)),
            crossed=read(CROSSED, read_certificates) or (),
            next_crossed=_first(next_crossed),
            since=notes.since,
            leaf=timedelta(seconds=notes.leaf),
            wish=notes.wish,
            reason=notes.reason,
        ),
        domains,
    )


def asked_of(kept: Kept, wish: Wish, where: str) -> Issuers:
    """What is kept with the wish written down. Raises StorageError, a sentence, where it can't be granted now."""
    if kept.root is None or kept.intermediate is None:
        raise StorageError(f"{where} does not hold the issuers: restore it from a copy")
    rotation = kept.rotation
    rotating = rotation.next_root is not None or rotation.previous_root is not None
    if wish is Wish.ROOT and rotating:
        raise StorageError("a rotation of the root is under way: wait for its end, or roll it back")
    if wish is Wish.ROOT and kept.domains.changing:
        raise StorageError("a change of the trust domain is under way: wait for its end, or roll it back")
    if wish is Wish.BACK and not (rotating or kept.domains.changing):
        raise StorageError("there is no rotation of the root that could be rolled back")
    return wished(Issuers(kept.root, kept.intermediate, rotation, kept.domains), wish)


def renamed(kept: Kept, name: str, leaf: timedelta, now: datetime, where: str) -> Issuers:
    """What is kept with the change to this trust domain begun. Raises StorageError, a sentence, where it can't be."""
    if kept.root is None or kept.intermediate is None:
        raise StorageError(f"{where} does not hold the issuers: restore it from a copy")
    issuers = Issuers(kept.root, kept.intermediate, kept.rotation, kept.domains)
    if len(issuers.roots) > 1:
        raise StorageError("a rotation of the root is under way: wait for its end, or roll it back")
    try:
        return replace(issuers, domains=begun(issuers.domains, name, leaf, now))
    except ValueError as error:
        raise StorageError(str(error)) from None


def _read_notes(content: bytes) -> _Notes:
    try:
        notes = msgspec.json.decode(content, type=_Notes)
        timedelta(seconds=notes.leaf)
    except (msgspec.MsgspecError, OverflowError, ValueError, RecursionError) as error:
        raise BadIssuer("does not say how far a rotation has come") from error
    if notes.since is not None and notes.since.tzinfo is None:
        return msgspec.structs.replace(notes, since=notes.since.replace(tzinfo=UTC))
    return notes


def _read_names(content: bytes) -> Domains:
    try:
        names = msgspec.json.decode(content, type=_Names)
        life = timedelta(seconds=names.leaf)
    except (msgspec.MsgspecError, OverflowError, ValueError, RecursionError) as error:
        raise BadIssuer("does not say which trust domain leaves are of") from error
    written = (names.signs or "?", *filter(None, (names.next, names.previous)), *names.former)
    if (names.next and names.previous) or not all(map(TRUST_DOMAIN.fullmatch, written)):
        raise BadIssuer("does not say which trust domain leaves are of")
    since = names.since.replace(tzinfo=UTC) if names.since is not None and names.since.tzinfo is None else names.since
    return Domains(names.signs, names.next, names.previous, since, life, names.renewing, names.former)


def _first(certificates: tuple[x509.Certificate, ...] | None) -> x509.Certificate | None:
    return certificates[0] if certificates else None
