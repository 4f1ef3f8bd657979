"""The interface between the mesh and whoever signs its workloads' leaves.

Rule: a provider never sees a private key, and nothing that it answers is used before `ca.providers.checking` took it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.issuers import BadIssuer, read_certificates
from mesh.model import Identity

LARGEST = 1024 * 1024
"""Bytes of a file, or of an answer: as much as a Secret can hold."""


class ProviderError(Exception):
    """The provider did not do it, now. The text is for people, says who refuses and why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leaf that is wanted: for whom, its request (which proves that we have the key), and how long it should live.

    `held` are the fingerprints of the roots that every proxy trusts by now. A provider that may choose signs under one
    of them; a leaf under another root waits until that is held too.
    """

    identity: Identity
    request: x509.CertificateSigningRequest
    lifetime: timedelta
    held: frozenset[str]

    @property
    def request_pem(self) -> bytes:
        """The request (PKCS #10, RFC 2986) as PEM."""
        return self.request.public_bytes(Encoding.PEM)


class Provider(Protocol):
    """Signs leaves for identities and says which roots they lead to. Everything may fail, for a while or for good."""

    name: str
    """As people write it: `vault`."""
    at_once: int
    """How many requests it is sent at the same time, at most."""

    async def roots(self) -> Sequence[x509.Certificate]:
        """Whom peers have to trust. Asked again and again: what changes is noticed. Raises ProviderError."""

    async def sign(self, wanted: Wanted) -> bytes:
        """The leaf and what leads to a root, PEM. It may live shorter than was wanted. Raises ProviderError."""

    async def close(self) -> None:
        """Free what is held."""


class RootsFile:
    """Roots in a file of PEM certificates, such as a mounted ConfigMap; read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[x509.Certificate, ...]:
        """The certificates. Raises ProviderError with the file's name."""
        try:
            with self._path.open("rb") as file:
                content = file.read(LARGEST)
        except OSError as error:
            raise ProviderError(f"{self._path} can't be read: {error.strerror or error}") from error
        return roots_of(content, str(self._path))


def roots_of(pem: bytes, where: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a text, in which there may be comments. Raises ProviderError, with `where` in its words."""
    try:
        found = read_certificates(pem)
    except BadIssuer as error:
        raise ProviderError(f"{where} {error}") from error
    if not found:
        raise ProviderError(f"{where} does not hold certificates")
    return found
