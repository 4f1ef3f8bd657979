"""The issuers of one trust domain, kept in a folder and brought up to date there.

Rule: one process at a time decides and writes, the others find its result.
"""

from __future__ import annotations

import asyncio

from ca.rotation import Action, decide
from ca.settling import DEFAULT_LIFETIMES, INTERMEDIATE, ROOT, Issuers, Lifetimes, read_issuers, settle
from ca.storage import Folder
from kube.clock import Clock

__all__ = ["DEFAULT_LIFETIMES", "IssuerFolder", "Issuers", "Lifetimes"]


class IssuerFolder:
    """Issuers kept in a Folder; implements ca.settling.IssuerStore."""

    def __init__(self, folder: Folder, trust_domain: str, lifetimes: Lifetimes) -> None:
        self._folder = folder
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes

    async def refreshed(self, issuers: Issuers, clock: Clock) -> Issuers:
        """The issuers as they should be now; looked for only when these are due. Raises StorageError."""
        if decide(issuers.state, clock.now()).action is Action.KEEP:
            return issuers
        # Waiting for a lock and a disk; once in months.
        return await asyncio.to_thread(self.settle, clock)

    def settle(self, clock: Clock) -> Issuers:
        """Make what is missing and renew what is due. Raises StorageError; what was there before still is."""
        with self._folder.locked():
            root, intermediate = read_issuers(
                self._folder.read(ROOT), self._folder.read(INTERMEDIATE), self._trust_domain, self._place
            )
            where = str(self._folder.path)
            settled = settle(root, intermediate, self._trust_domain, self._lifetimes, clock, where)
            for name, (issuer, _) in settled.made.items():
                self._folder.write(name, issuer.to_pem())
            settled.tell()
        return settled.issuers

    def _place(self, name: str) -> str:
        return str(self._folder.path / name)
