"""Whether what a provider signed is the leaf that was asked for, and leads to a root that is trusted.

Rule: refused in words before anybody is given it; Envoy would refuse it in the middle of traffic.
Source: RFC 5280 §4.2.1.9, §4.2.1.10 and §6.1; X509-SVID §4 and §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca.issuers import UNREADABLE, BadIssuer, read_certificates
from ca.providers.provider import Wanted
from ca.rotation import Validity

LONGEST_CHAIN: Final = 8
"""Certificates from leaf to root; nobody has more, and a circle must end."""

KNOWN: Final = frozenset(
    kind.oid
    for kind in (
        x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName,
        x509.NameConstraints, x509.CertificatePolicies, x509.PolicyConstraints, x509.InhibitAnyPolicy,
    )
)  # fmt: skip
"""Extensions that may be critical: those that Envoy's TLS library handles."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Refused(Exception):  # noqa: N818 - what was signed, not we
    """It can't be used; the text says why, as the rest of a sentence that begins with what it is."""


@dataclass(frozen=True, slots=True)
class Path:
    """From a certificate (first) to the last before the root, and the root."""

    certificates: tuple[x509.Certificate, ...]
    root: x509.Certificate

    @property
    def chain_pem(self) -> bytes:
        """What is shown to peers: everything but the root."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.certificates)

    @property
    def validity(self) -> Validity:
        """When all of it is valid."""
        every = (*self.certificates, self.root)
        return Validity(
            max(each.not_valid_before_utc for each in every), min(each.not_valid_after_utc for each in every)
        )


def checked(chain_pem: bytes, wanted: Wanted, roots: Iterable[x509.Certificate], now: datetime) -> Path:
    """The path of a leaf that is what was wanted. Raises Refused."""
    try:
        certificates = read_certificates(chain_pem)
        if not certificates:
            raise Refused("is empty")
        _check_leaf(certificates[0], wanted)
    except (BadIssuer, *UNREADABLE) as error:
        raise Refused("holds something that is no certificate we can read") from error
    return find_path(certificates, roots, wanted.identity.trust_domain, now)


def find_path(
    certificates: Sequence[x509.Certificate],
    roots: Iterable[x509.Certificate],
    trust_domain: str,
    now: datetime,
    *,
    first_signs: bool = False,
) -> Path:
    """The way from the first of these over others to one of the roots, in whatever order they come. Raises Refused.

    Each on the way may sign what is below it for this trust domain, and everything is valid now. `first_signs`: the
    first is to sign leaves, so this must be true of it, too.
    """
    trusted, others, path = tuple(roots), certificates[1:], [certificates[0]]
    _check_sound(certificates[0], now)
    if first_signs:
        _check_issuer(certificates[0], trust_domain, 0, now)
    while len(path) < LONGEST_CHAIN:
        root = next((each for each in trusted if _issued(path[-1], each)), None)
        issuer = root or next((each for each in others if each not in path and _issued(path[-1], each)), None)
        if issuer is None:
            raise Refused(f"leads to {_name(path[-1].issuer)}, which is not among the roots that are trusted")
        # Path lengths count the issuers below, not the leaf.
        _check_issuer(issuer, trust_domain, len(path) - (not first_signs), now)
        if root is not None:
            return Path(tuple(path), root)
        path.append(issuer)
    raise Refused(f"has a chain of more than {LONGEST_CHAIN} certificates")


def _check_leaf(leaf: x509.Certificate, wanted: Wanted) -> None:
    if leaf.public_key() != wanted.request.public_key():
        raise Refused("is for another key than the request's")
    basic = _extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        raise Refused("is a certificate that may sign others")
    names = _extension(leaf, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if uris != [wanted.identity.uri]:
        raise Refused(f"names {', '.join(uris) or 'no SPIFFE ID'} and not {wanted.identity.uri}")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        # X509-SVID §4.3; Envoy's SPIFFE validator refuses it otherwise.
        raise Refused("does not have key usage digitalSignature, or has one of a signer")
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if extended is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(extended):
        raise Refused("is not for both sides of a connection (extended key usages serverAuth and clientAuth)")


def _check_issuer(issuer: x509.Certificate, trust_domain: str, issuers_below: int, now: datetime) -> None:
    name = _name(issuer.subject)
    basic, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise Refused(f"needs {name}, which may not sign certificates (basicConstraints CA, keyUsage keyCertSign)")
    if basic.path_length is not None and basic.path_length < issuers_below:
        raise Refused(f"is below {name}, which allows {basic.path_length} issuers below it and not {issuers_below}")
    constraints = _extension(issuer, x509.NameConstraints)
    if constraints is not None and not _allows(constraints, trust_domain):
        raise Refused(f"is below {name}, whose name constraints do not allow spiffe://{trust_domain}")
    _check_sound(issuer, now)


def _check_sound(certificate: x509.Certificate, now: datetime) -> None:
    """Valid now, and nothing critical in it that a verifier would have to refuse (RFC 5280 §4.2)."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    name = _name(certificate.subject) or "the certificate itself"
    if not start <= now <= end:
        raise Refused(f"needs {name}, which is valid from {start:%F %T} to {end:%F %T} UTC only")
    unknown = [each.oid.dotted_string for each in certificate.extensions if each.critical and each.oid not in KNOWN]
    if unknown:
        raise Refused(f"needs {name}, which has a critical extension that verifiers do not know ({', '.join(unknown)})")


def _allows(constraints: x509.NameConstraints, host: str) -> bool:
    """RFC 5280 §4.2.1.10: `host` means itself, `.host` what is below it."""

    def hosts(names: Iterable[x509.GeneralName] | None) -> list[str]:
        return [each.value for each in names or () if isinstance(each, x509.UniformResourceIdentifier)]

    def within(constraint: str) -> bool:
        return host.endswith(constraint) if constraint.startswith(".") else host == constraint

    permitted = hosts(constraints.permitted_subtrees)
    if permitted and not any(map(within, permitted)):
        return False
    return not any(map(within, hosts(constraints.excluded_subtrees)))


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(name: x509.Name) -> str:
    return repr(name.rfc4514_string()) if name.rdns else ""
