"""The metrics API's side of TLS: the control plane's own certificate, and clients' that the front-proxy CA signed.

Rule: both may change at any time and count for the next handshake. A certificate of another CA ends the handshake; none
at all does not, so that whoever has none is told so (401).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from webhook.certificates import CIPHERS
from xds.transport.server_keys import load

NAME: Final = "weft-metrics-certificate"


class Served(NamedTuple):
    """PEM: the chain, its key, and the CA of clients, empty where there is none yet."""

    chain: bytes
    key: bytes
    clients: str


class Handshakes:
    """`context` is what to listen with; `served` is asked at every handshake."""

    def __init__(self, served: Callable[[], Served]) -> None:
        self._served = served
        self._made_of = served()
        self._newest = _context(self._made_of)
        self.context = _context(self._made_of)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        """Called for every handshake, with or without a server name."""
        wanted = self._served()
        if wanted != self._made_of:
            self._newest, self._made_of = _context(wanted), wanted
        connection.context = self._newest


def _context(served: Served) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # A session that is resumed would carry an old certificate's proof.
    made.options |= ssl.OP_NO_TICKET
    made.num_tickets = 0
    made.verify_mode = ssl.CERT_OPTIONAL
    if served.clients:
        made.load_verify_locations(cadata=served.clients)
    load(made, served.chain, served.key, NAME)
    return made
