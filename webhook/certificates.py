"""The webhook's certificate: read from files that others write, and exchanged while connections go on.

Rule: a certificate counts only together with its own key; until both are there the one before stays. The versions and
suites of TLS are those of Mozilla's intermediate and modern recommendations, as far as the API server speaks them.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others."""


class CertificateError(Exception):
    """The files hold no certificate to serve with; the message says which and why."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the chain (leaf first) and its key are, both PEM."""

    chain: Path
    key: Path


class Certificates:
    """What a handshake is answered with. `context` may be served with as soon as `load` succeeded once."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._read: tuple[bytes, bytes] | None = None
        self._newest: ssl.SSLContext | None = None
        self._not_after: datetime | None = None
        self.context = _context()
        self.context.sni_callback = self._choose

    @property
    def not_after(self) -> datetime | None:
        """When the certificate ends, in UTC; None before the first was read."""
        return self._not_after

    def load(self) -> bool:
        """Read the files; whether another certificate is served from now on. Raises CertificateError."""
        try:
            read = (self._files.chain.read_bytes(), self._files.key.read_bytes())
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}") from None
        if read == self._read:
            return False
        made = _context()
        try:
            made.load_cert_chain(self._files.chain, self._files.key)
            leaf = x509.load_pem_x509_certificates(read[0])[0]
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CertificateError(f"{self._files.chain} and {self._files.key}: {error}") from None
        if self._newest is None:
            self.context.load_cert_chain(self._files.chain, self._files.key)
        self._newest, self._not_after, self._read = made, leaf.not_valid_after_utc, read
        return True

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called for every handshake, with or without a server name."""
        if self._newest is not None:
            connection.context = self._newest


def _context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return made
