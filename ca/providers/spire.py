"""Leaves that sidecars get from a SPIFFE Workload API by themselves: we give them names and roots, and no secrets.

Rule: no key of a workload is ever here. The roots are needed where a port's callers are told in the handshake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority import Observe, Publish
from ca.providers.provider import ProviderError, RootsFile
from ca.reports import NOTHING_SEEN
from kube.clock import Clock
from mesh.model import Identity
from xds.peers import NO_PEERS, Peers
from xds.snapshot import Named

LOOK: Final = 30.0
"""Seconds between two looks at the file of roots."""

log = structlog.get_logger(__name__)


class SpireAuthority:
    """Implements xds.snapshot.SecretSource for sidecars that ask somebody else."""

    def __init__(self, roots: RootsFile, clock: Clock, peers: Callable[[], Peers] = lambda: NO_PEERS) -> None:
        self._peers = peers
        self._roots = roots
        self._clock = clock
        self._bundle = b""
        self.trouble = ""

    leaves_end: tuple[datetime, ...] = ()

    @property
    def peers(self) -> Peers:
        """The names by which ours are accepted, and other meshes."""
        return self._peers()

    def bundle_pem(self) -> bytes:
        """SPIRE's roots."""
        return self._bundle

    async def begin(self) -> None:
        """Wait until the roots can be read."""
        while not self._read():
            await self._clock.sleep(1.0)

    async def secrets(self, identity: Identity) -> Named:  # noqa: ARG002 - the same for all
        """None: sidecars ask for them elsewhere."""
        return {}

    def forget(self, identities: Iterable[Identity]) -> None:
        """Nothing is remembered."""

    async def run(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:  # noqa: ARG002
        """Follow the file of roots until cancelled."""
        while True:
            await self._clock.sleep(LOOK)
            self._read()
            # Has a round made where the bundle in force is another.
            observe(self._bundle)

    def _read(self) -> bool:
        """Whether there are roots. What prevents it is said once; those that were read stay."""
        try:
            self._bundle = b"".join(each.public_bytes(Encoding.PEM) for each in self._roots.read())
            trouble = ""
        except ProviderError as error:
            trouble = str(error)
        if trouble and trouble != self.trouble:
            log.error("SPIRE's roots can't be read, those in force stay", reason=trouble)
        self.trouble = trouble
        return bool(self._bundle)
