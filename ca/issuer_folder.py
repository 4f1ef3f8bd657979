"""The issuers of one trust domain, kept in a folder and brought up to date there.

Rule: one process at a time decides and writes, the others find its result. One control plane alone serves proxies from
a folder, so its own proxies are all there are.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from ca.advancing import look, taken_over
from ca.keeping import NAMES, Kept, Progress, asked_of, from_data, renamed, to_data
from ca.reports import NOTHING_SEEN, Seen, report
from ca.rotation import Wish
from ca.sealing import Sealing
from ca.settling import DEFAULT_LIFETIMES, Issuers, Lifetimes
from ca.storage import Folder
from kube.clock import SYSTEM_CLOCK, Clock

__all__ = ["DEFAULT_LIFETIMES", "IssuerFolder", "Issuers", "Lifetimes", "read_bundle"]

OURSELVES: Final = "this process"

log = structlog.get_logger(__name__)


class IssuerFolder:
    """Issuers kept in a Folder; implements ca.keeping.IssuerStore."""

    def __init__(self, folder: Folder, trust_domain: str, lifetimes: Lifetimes, sealing: Sealing | None = None) -> None:
        self._sealing = sealing or Sealing()
        self._folder = folder
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes
        self.progress: Progress | None = None

    async def refreshed(self, issuers: Issuers, clock: Clock, seen: Seen = NOTHING_SEEN) -> Issuers:
        """The issuers as they should be now. Raises StorageError."""
        # Waiting for a lock and a disk.
        return await asyncio.to_thread(self._refreshed, issuers, clock, seen)

    async def ask(self, wish: Wish) -> Issuers:
        """Write down what a person wants. Raises StorageError."""
        return await asyncio.to_thread(self._ask, wish)

    async def rename(self, name: str, clock: Clock) -> Issuers:
        """Begin the change to this trust domain. Raises StorageError."""
        return await asyncio.to_thread(self._rename, name, clock)

    async def farewell(self) -> None:
        """Nobody waits for this process."""

    def settle(self, clock: Clock) -> Issuers:
        """Make what is missing and renew what is due. Raises StorageError; what was there before still is."""
        with self._folder.locked():
            kept = self._read()
            settled = kept.settled(self._trust_domain, self._lifetimes, clock, str(self._folder.path))
            # Also where nothing was made: keys that are in clear are sealed now.
            self._write(settled.issuers)
            settled.tell()
        return settled.issuers

    def _refreshed(self, issuers: Issuers, clock: Clock, seen: Seen) -> Issuers:
        with self._folder.locked():
            kept = self._read()
            if kept.root is None or kept.intermediate is None:
                # Somebody removed files; without them the next start would make a root that no proxy trusts.
                self._write(issuers)
                return issuers
            found = taken_over(kept, issuers, str(self._folder.path), clock.now())
            if found is not issuers:
                return found
            leaf = self._lifetimes.leaf
            own = {OURSELVES: report(issuers, leaf, seen, clock.passed())}
            looked = look(issuers, own, seen, leaf, self._trust_domain, self._lifetimes, clock.now())
            self.progress = looked.progress
            if looked.after is not issuers:
                self._write(looked.after)
                log.info(str(looked.progress.step.action), reason=looked.progress.step.reason)
            return looked.after

    def _ask(self, wish: Wish) -> Issuers:
        with self._folder.locked():
            asked = asked_of(self._read(), wish, str(self._folder.path))
            self._write(asked)
        return asked

    def _rename(self, name: str, clock: Clock) -> Issuers:
        with self._folder.locked():
            changed = renamed(self._read(), name, self._lifetimes.leaf, clock.now(), str(self._folder.path))
            self._write(changed)
        return changed

    def _read(self) -> Kept:
        data = {name: content for name in NAMES if (content := self._folder.read(name)) is not None}
        return from_data(self._sealing.opened(data, self._place), self._trust_domain, self._place)

    def _write(self, issuers: Issuers) -> None:
        wanted = self._sealing.closed(to_data(issuers))
        there = {name: self._folder.read(name) for name in NAMES}
        changes = {name: wanted.get(name) for name in NAMES if there[name] != wanted.get(name)}
        if changes:
            self._folder.write_all(changes)

    def _place(self, name: str) -> str:
        return str(self._folder.path / name)


def read_bundle(path: Path, trust_domain: str) -> bytes:
    """The certificates that the proxies of this folder's mesh trust, PEM; issuers are made where there are none.

    Raises StorageError.
    """
    return IssuerFolder(Folder.open(path), trust_domain, DEFAULT_LIFETIMES).settle(SYSTEM_CLOCK).bundle_pem
