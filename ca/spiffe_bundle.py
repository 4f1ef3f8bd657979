"""The roots of a trust domain as a SPIFFE bundle: a JWK Set whose keys carry certificates.

Rule: what is read came from somebody else: it is bounded, keys of other uses and kinds are left alone, and what claims
to be a root and is none makes the whole unfit for use. A bundle never says whose it is; whoever reads it must know.
Source: SPIFFE Trust Domain and Bundle §4; X509-SVID §6; RFC 7517; RFC 7518 §6.2.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ca.issuers import UNREADABLE

LARGEST: Final = 1 << 20
"""Bytes of a bundle, at most."""
MOST_ROOTS: Final = 64
USUAL_REFRESH: Final = timedelta(minutes=5)
"""How often to look where the bundle does not say (SPIFFE Federation §4.1)."""
_X509: Final = "x509-svid"
_KINDS: Final = frozenset({"EC", "RSA"})


class BadBundle(Exception):  # noqa: N818 - it names what was read
    """What was read is no SPIFFE bundle that can be used. The text says why."""


class _Key(msgspec.Struct, frozen=True):
    kty: str
    use: str = ""
    x5c: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    keys: tuple[_Key, ...]
    spiffe_sequence: int | None = None
    spiffe_refresh_hint: int | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """The roots, PEM; `sequence` is None where the publisher does not count, `refresh` how often to look again."""

    roots: str
    sequence: int | None = None
    refresh: timedelta = USUAL_REFRESH


def read_bundle(content: bytes) -> Bundle:
    """The bundle in this document. One without roots is a bundle, too: nobody is trusted. Raises BadBundle."""
    if len(content) > LARGEST:
        raise BadBundle(f"is longer than {LARGEST} bytes")
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundle("is no JWK Set") from error
    keys = [key for key in document.keys if key.use == _X509 and key.kty in _KINDS]
    if len(keys) > MOST_ROOTS:
        raise BadBundle(f"has more than {MOST_ROOTS} roots")
    hint = document.spiffe_refresh_hint
    if hint is not None and not 0 <= hint <= 10**9:
        raise BadBundle("has a refresh hint that is no number of seconds")
    roots = b"".join(map(_root, keys)).decode()
    refresh = USUAL_REFRESH if hint is None else timedelta(seconds=hint)
    return Bundle(roots, document.spiffe_sequence, refresh)


def write_bundle(roots: Iterable[x509.Certificate], refresh: timedelta) -> bytes:
    """The document that others read.

    It has no sequence number: it is made by each replica from what it trusts, and nobody counts for all of them.
    """
    keys = [_key(root) for root in roots]
    return msgspec.json.encode({"keys": keys, "spiffe_refresh_hint": int(refresh.total_seconds())})


def _root(key: _Key) -> bytes:
    if len(key.x5c) != 1:
        raise BadBundle("has a key of use x509-svid without exactly one certificate")
    try:
        certificate = x509.load_der_x509_certificate(b64decode(key.x5c[0], validate=True))
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.public_key(), certificate.subject, certificate.issuer
        pem = certificate.public_bytes(Encoding.PEM)
    except UNREADABLE as error:
        raise BadBundle("has a certificate that can't be read") from error
    if not basic.ca:
        raise BadBundle("has a certificate that may not sign")
    return pem


def _key(root: x509.Certificate) -> dict[str, Any]:
    x5c = [b64encode(root.public_bytes(Encoding.DER)).decode()]
    return {"use": _X509, "x5c": x5c, **_numbers(root.public_key())}


def _numbers(key: object) -> dict[str, str]:
    """The public key's own parameters (RFC 7518 §6)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        size = (key.curve.key_size + 7) // 8
        numbers = key.public_numbers()
        curve = f"P-{key.curve.key_size}"
        return {"kty": "EC", "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        lengths = [(each.bit_length() + 7) // 8 for each in (public.n, public.e)]
        return {"kty": "RSA", "n": _number(public.n, lengths[0]), "e": _number(public.e, lengths[1])}
    raise ValueError("a root's key is neither EC nor RSA")


def _number(value: int, size: int) -> str:
    return urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()
