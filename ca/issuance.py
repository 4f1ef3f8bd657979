"""Leaves: short-lived certificates with a fresh key each, for workloads (X.509-SVIDs) and for our own servers.

Rule: a leaf never outlives its issuer, and a workload's leaf names its identity and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca.issuers import Issuer, SigningKey, authority_key_identifier, new_key
from ca.rotation import Validity, renewal_time
from mesh.model import Identity

LEAF_BACKDATE: Final = timedelta(minutes=5)
"""Leaves are valid from before they were made, for peers whose clocks run behind."""
SHORTEST_LIFE: Final = timedelta(seconds=1)
"""Certificates count whole seconds."""

IpAddress = IPv4Address | IPv6Address
PublicKey = CertificatePublicKeyTypes

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_NO_NAME: Final = x509.Name([])
_NO_SIGNER: Final = x509.BasicConstraints(ca=False, path_length=None)
_SIGNATURES: Final = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_BOTH_SIDES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_SERVER_SIDE: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class Expired(Exception):  # noqa: N818 - it names the state of the issuer
    """The issuer has no life left to give to a leaf."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its intermediate, and its key, both PEM. `renew_at` is when it should be replaced."""

    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    validity: Validity
    renew_at: datetime


class Issuance:
    """Makes leaves under one intermediate. Safe to use from any thread.

    `chance` draws a number evenly from [0, 1) and places each leaf's renewal in its window.
    """

    def __init__(
        self,
        issuer: Issuer,
        trust_domain: str,
        lifetime: timedelta,
        chance: Callable[[], float],
        chain_pem: bytes | None = None,
    ) -> None:
        """`chain_pem` is what travels with a leaf, where that is more than the issuer's certificate."""
        self._issuer = issuer
        self._issuer_pem = chain_pem or issuer.certificate_pem
        self._issuer_end = issuer.validity.not_after
        self._authority_key = authority_key_identifier(issuer)
        self._trust_domain = trust_domain
        self._lifetime = lifetime
        self._chance = chance

    def workload(self, identity: Identity, now: datetime) -> Leaf:
        """An X.509-SVID: one URI SAN, no subject, for both sides of a connection (X509-SVID §2 to §4).

        Raises ValueError for an identity that is not of this trust domain or makes no SPIFFE ID, and Expired.
        """
        return self._leaf([x509.UniformResourceIdentifier(self._uri(identity))], _BOTH_SIDES, now)

    def certified(self, identity: Identity, public_key: PublicKey, now: datetime) -> bytes:
        """The same for a key that somebody else made: certificate and intermediate, PEM. Raises as `workload` does."""
        names = [x509.UniformResourceIdentifier(self._uri(identity))]
        return self._chain_pem(self._certificate(public_key, names, _BOTH_SIDES, now))

    def server(self, dns_names: Sequence[str], addresses: Sequence[IpAddress], now: datetime) -> Leaf:
        """A certificate for a server of our own: names and addresses, and no identity.

        Raises ValueError when there is no name at all or one is not ASCII, and Expired.
        """
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
        names += [x509.IPAddress(address) for address in addresses]
        if not names:
            raise ValueError("a server's certificate needs a name")
        return self._leaf(names, _SERVER_SIDE, now)

    def _uri(self, identity: Identity) -> str:
        if identity.trust_domain != self._trust_domain:
            raise ValueError(f"{identity.uri} is not of trust domain {self._trust_domain}")
        return spiffe_id(identity)

    def _leaf(self, names: Sequence[x509.GeneralName], usage: x509.ExtendedKeyUsage, now: datetime) -> Leaf:
        key = new_key()
        certificate = self._certificate(key.public_key(), names, usage, now)
        return Leaf(
            chain_pem=self._chain_pem(certificate),
            key_pem=key_pem(key),
            validity=Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc),
            renew_at=renewal_time(now, certificate.not_valid_after_utc, self._chance()),
        )

    def _chain_pem(self, certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(Encoding.PEM) + self._issuer_pem

    def _certificate(
        self, key: PublicKey, names: Sequence[x509.GeneralName], usage: x509.ExtendedKeyUsage, now: datetime
    ) -> x509.Certificate:
        end = min(now + self._lifetime, self._issuer_end)
        if end - now < SHORTEST_LIFE:
            raise Expired(f"the intermediate ended at {self._issuer_end:%F %T} UTC and could not be replaced")
        return (
            x509.CertificateBuilder()
            .subject_name(_NO_NAME)
            .issuer_name(self._issuer.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LEAF_BACKDATE)
            .not_valid_after(end)
            .add_extension(_NO_SIGNER, critical=True)
            .add_extension(_SIGNATURES, critical=True)
            .add_extension(usage, critical=False)
            # Critical because there is no subject (RFC 5280 §4.2.1.6).
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(self._authority_key, critical=False)
            .sign(self._issuer.key, SHA256())
        )


def spiffe_id(identity: Identity) -> str:
    """The identity as a SPIFFE ID. Raises ValueError where it makes none."""
    if not all(is_segment(part) for part in (identity.namespace, identity.service_account)):
        raise ValueError(f"{identity!r} makes no SPIFFE ID")
    return identity.uri


def key_pem(key: SigningKey) -> bytes:
    """A key in clear, such as a leaf's, as Envoy reads it (PKCS #8)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def is_segment(text: str) -> bool:
    """Whether the text can be one segment of a SPIFFE ID's path (SPIFFE-ID §2.2)."""
    return _SEGMENT.fullmatch(text) is not None and text not in {".", ".."}
