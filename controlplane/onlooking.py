"""What this replica's sidecars hold, as the certificate authority asks for it before each step.

Rule: nothing is taken for acknowledged but what is served right now; what is served without the bundle and the names
of now is made anew.
"""

from __future__ import annotations

from typing import Final

from ca.authority import Authority
from ca.reports import Seen
from controlplane.status import Status
from sources.store import Store
from xds.names import node_id
from xds.resource import CLUSTER, ROUTES, SECRET
from xds.server import Holders, XdsServer

NAMING: Final = (CLUSTER, ROUTES, SECRET)
"""The types in which identities are named: servers, requesters, and whom handshakes accept."""


class Onlooker:
    """Implements ca.authority.Observe.

    Rules change all the time, so during a change of the trust domain it is remembered who has acknowledged once: nobody
    is given fewer names meanwhile.
    """

    def __init__(self, status: Status, server: XdsServer, store: Store, authority: Authority) -> None:
        self._status = status
        self._server = server
        self._store = store
        self._authority = authority
        self._held: set[str] = set()
        self._of: object = None

    def __call__(self, bundle: bytes) -> Seen:
        """Who holds this bundle, PEM, and the names of now."""
        world, domains = self._status.world, self._authority.issuers.domains
        served = world.bundle.encode() == bundle and world.peers == self._authority.peers
        if not served:
            self._store.again()
            holders = Holders()
        elif domains.changing:
            holders = self._remembering(self._server.holders(*NAMING), (bundle, world.peers))
        else:
            holders = self._server.holders(SECRET)
        expected = frozenset(map(node_id, world.proxies)) | holders.unknown
        return Seen(expected, frozenset(holders.holding), frozenset(holders.lacking), served)

    def _remembering(self, now: Holders, what: object) -> Holders:
        if self._of != what:
            self._of, self._held = what, set()
        self._held |= now.holding
        return Holders(now.holding | (now.lacking & self._held), now.lacking - self._held, now.unknown)
