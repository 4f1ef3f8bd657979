"""An intermediate that a person handed over: certificate, key, what leads to the root, and the root.

Rule: what was handed over last signs as soon as every proxy holds its root, and not before; nonsense is told with the
name of its file, and what was good before goes on signing.
Source: RFC 5280 §4.2.1.9 and §4.2.1.10. The four names are those that other meshes' `cacerts` Secrets have.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path as FilePath
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ca.issuance import Expired, Issuance
from ca.issuers import UNREADABLE, BadIssuer, Issuer, SigningKey, read_certificates
from ca.providers.checking import Path, Refused, find_path
from ca.providers.provider import LARGEST, ProviderError, Wanted
from ca.settling import fingerprint
from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock

CERTIFICATE: Final = "ca-cert.pem"
KEY: Final = "ca-key.pem"
CHAIN: Final = "cert-chain.pem"
ROOTS: Final = "root-cert.pem"
NAMES: Final = (CERTIFICATE, KEY, CHAIN, ROOTS)
SMALLEST_RSA: Final = 2048

Read = Callable[[], Awaitable[Mapping[str, bytes]]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handed:
    """What was handed over, checked: the issuer, its path to a root, and all roots that came with it."""

    issuer: Issuer
    path: Path
    roots: tuple[x509.Certificate, ...]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def root(self) -> str:
        """The fingerprint of the root that its leaves lead to."""
        return fingerprint(self.path.root)


def read_handed(files: Mapping[str, bytes], trust_domain: str, now: datetime) -> Handed:
    """What these files hold. Raises ProviderError, which names the file that is at fault and why."""
    for name in (CERTIFICATE, KEY, ROOTS):
        if not files.get(name):
            raise ProviderError(f"{name} is missing")
    certificate = _certificates(files, CERTIFICATE)[0]
    issuer = Issuer(certificate, _key(files[KEY], certificate))
    chain = _certificates(files, CHAIN) if files.get(CHAIN) else ()
    roots = _certificates(files, ROOTS)
    _check_may_sign(certificate)
    try:
        path = find_path([certificate, *chain], roots, trust_domain, now, first_signs=True)
    except Refused as error:
        raise ProviderError(f"{CERTIFICATE} {error}") from error
    return Handed(issuer, path, roots, dict(files))


class HandedOver:
    """Signs with what was handed over; implements ca.providers.provider.Provider. `read` gets the files as they are."""

    name = "handed-over"
    at_once = 1

    def __init__(self, read: Read, trust_domain: str, clock: Clock, where: str) -> None:
        self._read = read
        self._trust_domain = trust_domain
        self._clock = clock
        self._where = where
        self._signing: Handed | None = None
        self._next: Handed | None = None

    async def roots(self) -> Sequence[x509.Certificate]:
        """Those of what signs, and of what will sign next. Raises ProviderError; what was good before stays."""
        newest = self._next or self._signing
        try:
            files = await self._read()
            if newest is None or files != newest.files:
                self._take(read_handed(files, self._trust_domain, self._clock.now()))
        except ProviderError as error:
            raise ProviderError(f"{self._where}: {error}") from error
        there = [each for each in (self._signing, self._next) if each is not None]
        return tuple(dict.fromkeys(root for each in there for root in each.roots))

    async def sign(self, wanted: Wanted) -> bytes:
        """As Provider says."""
        if self._next is not None and self._next.root in wanted.held:
            self._signing, self._next = self._next, None
            log.info(
                "what was handed over last signs now", valid_until=self._signing.path.validity.not_after.isoformat()
            )
        if self._signing is None:
            raise ProviderError(f"{self._where}: nothing that can sign was handed over")
        signing = self._signing
        try:
            # Checked when it was read; by now something on the way to the root may have ended.
            find_path([signing.issuer.certificate, *signing.path.certificates], signing.roots, self._trust_domain,
                      self._clock.now(), first_signs=True)  # fmt: skip
            lifetime = min(wanted.lifetime, signing.path.validity.not_after - self._clock.now())
            issuance = Issuance(signing.issuer, self._trust_domain, lifetime, lambda: 0.5, signing.path.chain_pem)
            return issuance.certified(wanted.identity, wanted.request.public_key(), self._clock.now())
        except (Refused, Expired) as error:
            raise ProviderError(f"{self._where}: {CERTIFICATE} {error}") from error

    async def close(self) -> None:
        """Nothing is held."""

    def _take(self, handed: Handed) -> None:
        log.info("an intermediate was handed over", valid_until=handed.path.validity.not_after.isoformat())
        if self._signing is None or self._signing.root == handed.root:
            # The same root: peers trust it already.
            self._signing, self._next = handed, None
        else:
            self._next = handed


def folder_reader(folder: FilePath) -> Read:
    """Reads a folder, such as a Secret mounted into our pod."""

    def read() -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for name in NAMES:
            try:
                with (folder / name).open("rb") as file:
                    found[name] = file.read(LARGEST)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ProviderError(f"{folder / name} can't be read: {error.strerror or error}") from error
        return found

    return lambda: asyncio.to_thread(read)


def secret_reader(client: Client, namespace: str, name: str) -> Read:
    """Reads a Secret by the API server."""

    async def read() -> Mapping[str, bytes]:
        try:
            found = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
            data = found.get("data") or {}
            return {each: b64decode(data[each], validate=True) for each in NAMES if data.get(each)}
        except (ApiError, ApiUnavailable) as error:
            raise ProviderError(f"it can't be read: {error}") from error
        except (binascii.Error, ValueError, TypeError) as error:
            raise ProviderError("its data is no base64") from error

    return read


def _certificates(files: Mapping[str, bytes], name: str) -> tuple[x509.Certificate, ...]:
    try:
        found = read_certificates(files[name])
    except BadIssuer as error:
        raise ProviderError(f"{name} {error}") from error
    if not found:
        raise ProviderError(f"{name} does not hold certificates")
    return found


def _key(pem: bytes, certificate: x509.Certificate) -> SigningKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except UNREADABLE as error:
        # The parser's own words may quote what it could not read.
        raise ProviderError(f"{KEY} does not hold a private key without a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ProviderError(f"{KEY} holds a key that is neither ECDSA nor RSA, which sidecars do not accept")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < SMALLEST_RSA:
        raise ProviderError(f"{KEY} holds an RSA key of {key.key_size} bits; {SMALLEST_RSA} are the least")
    if key.public_key() != certificate.public_key():
        raise ProviderError(f"{KEY} does not belong to {CERTIFICATE}")
    return key


def _check_may_sign(certificate: x509.Certificate) -> None:
    if certificate.subject == certificate.issuer:
        raise ProviderError(f"{CERTIFICATE} is a root: hand over an intermediate, and keep the root's key elsewhere")
