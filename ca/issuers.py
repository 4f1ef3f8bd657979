"""The root and the intermediate that signs: made, written as PEM, read back and checked.

Rule: an Issuer that was read is one that was made here for this trust domain, or it is refused in words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from ca.rotation import Validity

LONGEST_BACKDATE: Final = timedelta(days=1)
"""Issuers are valid from before they were made, so that a clock set back by hours later invalidates nothing; but by
no more than a tenth of their life, or a short-lived one would be due for renewal when it is made."""
TRUST_DOMAIN: Final = re.compile(r"(?=.{1,255}\Z)[a-z0-9_-]+(\.[a-z0-9_-]+)*")
"""SPIFFE-ID §2.1, without empty labels: a name constraint that starts with a dot would mean all subdomains."""


SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

UNREADABLE: Final = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.ExtensionNotFound, x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What the parsers raise where something is no certificate that we can read."""


class BadIssuer(Exception):  # noqa: N818 - it names what was read
    """What was read is not an issuer of this trust domain. The text says why and holds no key."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A signing certificate and its key. Ours are P-256; one that was handed over may be any."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)

    @property
    def validity(self) -> Validity:
        """When the certificate may be used."""
        return Validity(self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    def to_pem(self) -> bytes:
        """Certificate and key, as one file so that neither is ever written without the other."""
        return self.certificate_pem + self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(trust_domain: str, now: datetime, lifetime: timedelta) -> Issuer:
    """A self-signed root. Raises ValueError for what is no trust domain.

    It has no path length: its successors are crossed with it, one below the other. Intermediates have.
    """
    if not TRUST_DOMAIN.fullmatch(trust_domain):
        raise ValueError(f"{trust_domain!r} is not a trust domain (SPIFFE-ID §2.1: a-z, 0-9, '.', '-', '_')")
    key = new_key()
    name = _name("root", key)
    builder = _signing_certificate(trust_domain, key, now, now + lifetime, path_length=None)
    return Issuer(builder.subject_name(name).issuer_name(name).sign(key, SHA256()), key)


def make_intermediate(root: Issuer, trust_domain: str, now: datetime, lifetime: timedelta) -> Issuer:
    """An intermediate that can sign leaves of this trust domain only, and ends with the root at the latest."""
    key = new_key()
    builder = (
        _signing_certificate(trust_domain, key, now, min(now + lifetime, root.validity.not_after), path_length=0)
        .subject_name(_name("intermediate", key))
        .issuer_name(root.certificate.subject)
        .add_extension(authority_key_identifier(root), critical=False)
        # RFC 5280 §4.2.1.10: the constraint of a URI is its host, which is SPIFFE's trust domain.
        .add_extension(x509.NameConstraints([x509.UniformResourceIdentifier(trust_domain)], None), critical=True)
    )
    return Issuer(builder.sign(root.key, SHA256()), key)


def cross_sign(root: Issuer, older: Issuer, trust_domain: str, now: datetime) -> x509.Certificate:
    """The root as an issuer under an older one: who trusts only the older accepts what the root has signed.

    Name and key are the root's own, so verifiers take whichever of the two leads to what they trust (RFC 5280 §3.2).
    """
    end = min(root.validity.not_after, older.validity.not_after)
    return (
        _signing_certificate(trust_domain, root.key, now, end, path_length=None)
        .subject_name(root.certificate.subject)
        .issuer_name(older.certificate.subject)
        .add_extension(authority_key_identifier(older), critical=False)
        .sign(older.key, SHA256())
    )


def authority_key_identifier(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    """What certificates of this issuer carry so that verifiers find it among others."""
    try:
        own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def read_root(pem: bytes, trust_domain: str, *others: str) -> Issuer:
    """The root that `Issuer.to_pem` wrote, for this trust domain or one of the others. Raises BadIssuer."""
    root = _read(pem, trust_domain, *others)
    _check_signature(root, root)
    return root


def read_intermediate(pem: bytes, root: Issuer, trust_domain: str) -> Issuer:
    """The intermediate that `Issuer.to_pem` wrote. Raises BadIssuer, also when the root did not sign it."""
    intermediate = _read(pem, trust_domain)
    _check_signature(intermediate, root)
    return intermediate


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Certificates without keys. Raises BadIssuer."""
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for each in found:
            # Parsed when asked for: what can't be is found here and not in use.
            each.public_key(), each.extensions, each.subject, each.issuer
    except UNREADABLE as error:
        raise BadIssuer("does not hold certificates") from error
    return found


def _read(pem: bytes, trust_domain: str, *others: str) -> Issuer:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = load_pem_private_key(pem[pem.find(b"-----BEGIN PRIVATE KEY-----") :], password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certified = certificate.public_key()
    except UNREADABLE as error:
        # The parsers' own words may quote what they could not read.
        raise BadIssuer("does not hold a signing certificate and its key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certified:
        raise BadIssuer("holds a key that does not belong to its certificate")
    if not basic.ca:
        raise BadIssuer("holds a certificate that may not sign")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or uris[0].removeprefix("spiffe://") not in {trust_domain, *others}:
        raise BadIssuer(f"was made for {', '.join(uris) or 'no trust domain'}, not for spiffe://{trust_domain}")
    return Issuer(certificate, key)


def _check_signature(certificate: Issuer, signer: Issuer) -> None:
    try:
        certificate.certificate.verify_directly_issued_by(signer.certificate)
    except (InvalidSignature, *UNREADABLE) as error:
        raise BadIssuer("was not signed by the root beside it") from error


def _name(what: str, key: ec.EllipticCurvePrivateKey) -> x509.Name:
    """A name of its own for every issuer: two with one name confuse verifiers once there are an old and a new one."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"weft {what} {digest[:16]}")])


def _signing_certificate(
    trust_domain: str, key: SigningKey, now: datetime, end: datetime, path_length: int | None
) -> x509.CertificateBuilder:
    """What root and intermediate have in common (X509-SVID §3.2, §4): the SPIFFE ID of a signer has no path."""
    usage = x509.KeyUsage(
        key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    return (
        x509.CertificateBuilder()
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(LONGEST_BACKDATE, (end - now) / 10))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(names, critical=False)
    )
