"""Which roots are trusted while a provider's come and go, decided by pure functions.

Rule: a root is in the bundle before anything under it is given to a proxy that has another leaf, and until nothing
under it can be alive. Whom that waits for is looked at, by all replicas (docs/decisions/0088).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.issuers import BadIssuer, read_certificates
from ca.reports import Report, Seen, longest_leaf, onlookers_of
from ca.rotation import NOBODY, Onlookers, leaves_gone
from ca.settling import fingerprint
from ca.storage import StorageError

SIGNER: Final = "provider"
"""What stands in a report for the root that its replica signs under: the provider decides that for all of them."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A root: since when it is in the bundle, whether every proxy holds it, and since when the provider lacks it."""

    pem: str
    since: datetime
    held: bool = False
    gone: datetime | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """All roots in the bundle. `leaf` is the longest life in seconds that any leaf under them was given."""

    entries: tuple[Entry, ...] = ()
    leaf: float = 0.0

    @property
    def bundle_pem(self) -> bytes:
        """The roots as PEM, in the same order wherever it is made."""
        return "".join(entry.pem for entry in self.entries).encode()

    @property
    def held(self) -> frozenset[str]:
        """The fingerprints of those that every proxy holds."""
        return frozenset(fingerprint(_certificate(entry)) for entry in self.entries if entry.held)

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The certificates."""
        return tuple(map(_certificate, self.entries))


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be recorded now, and who is waited for."""

    record: Record
    onlookers: Onlookers = NOBODY


def judge(
    record: Record,
    offered: Sequence[x509.Certificate] | None,
    reports: Mapping[str, Report],
    seen: Seen,
    leaf: timedelta,
    now: datetime,
    before: Sequence[x509.Certificate] = (),
) -> Judged:
    """The record as it should be, given what the provider offers; None: it can't be asked, and nothing is gone.

    `before` are the roots that proxies held before there was a record: Weft's own, which signed until then.
    """
    if not record.entries:
        record = Record(tuple(Entry(_pem(each), now, held=True, gone=now) for each in before))
    longest = max(timedelta(seconds=record.leaf), longest_leaf(reports.values(), leaf))
    entries = [entry for entry in _marked(record, offered, now) if not _is_over(entry, longest, now)]
    known = {entry.pem for entry in entries}
    entries += [Entry(pem, now, held=not record.entries) for pem in map(_pem, offered or ()) if pem not in known]
    changed = Record(tuple(sorted(entries, key=lambda entry: entry.pem)), longest.total_seconds())
    if changed.bundle_pem != record.bundle_pem or all(entry.held for entry in entries):
        return Judged(changed)
    return _spread(changed, reports, seen, longest, now)


def bundle_hash(record: Record) -> str:
    """What a replica reports that serves this."""
    return sha256(record.bundle_pem).hexdigest()


def read_record(content: bytes, where: str) -> Record:
    """The record as it was written. Raises StorageError."""
    try:
        record = msgspec.json.decode(content, type=Record)
        _check(record)
    except (msgspec.MsgspecError, BadIssuer, OverflowError, ValueError, RecursionError) as error:
        raise StorageError(f"{where} does not say which roots are trusted: restore it, or remove it") from error
    return record


def _marked(record: Record, offered: Sequence[x509.Certificate] | None, now: datetime) -> Iterator[Entry]:
    """The entries, with when the provider was first seen without them."""
    there = None if offered is None else set(map(_pem, offered))
    for entry in record.entries:
        gone = entry.gone if there is None else None if entry.pem in there else entry.gone or now
        yield msgspec.structs.replace(entry, gone=gone)


def _spread(record: Record, reports: Mapping[str, Report], seen: Seen, leaf: timedelta, now: datetime) -> Judged:
    """Roots are held by everybody once nobody is waited for; who is away has no leaf that outlives `leaf`."""
    waited = onlookers_of(bundle_hash(record), SIGNER, reports, seen)
    since = max(entry.since for entry in record.entries if not entry.held)
    if now >= leaves_gone(since, leaf):
        waited = Onlookers(waited.behind, waited.lacking)
    if waited != NOBODY:
        return Judged(record, waited)
    entries = tuple(msgspec.structs.replace(entry, held=True) for entry in record.entries)
    return Judged(msgspec.structs.replace(record, entries=entries))


def _is_over(entry: Entry, leaf: timedelta, now: datetime) -> bool:
    """Whether nobody can have a leaf under it; one that is not held yet may have been given to newcomers."""
    return entry.gone is not None and now >= leaves_gone(entry.gone, leaf)


def _check(record: Record) -> None:
    timedelta(seconds=record.leaf)
    times = [each for entry in record.entries for each in (entry.since, entry.gone) if each is not None]
    if any(each.tzinfo is None for each in times):
        raise BadIssuer("has a time without its zone")
    for entry in record.entries:
        if len(read_certificates(entry.pem.encode())) != 1:
            raise BadIssuer("does not hold one certificate")


def _certificate(entry: Entry) -> x509.Certificate:
    return x509.load_pem_x509_certificate(entry.pem.encode())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
