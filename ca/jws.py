"""Signed texts: the compact form of JWS (RFC 7515 §7.1) with ES256 (RFC 7518 §3.4) and no other algorithm.

Rule: the header is compared with the one we write, never followed; nothing else is read before the signature holds.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LONGEST: Final = 4096
"""Characters. A ServiceAccount's token has about 800."""
REMEMBERED: Final = 4096
"""Texts; each is a hash of 32 bytes."""
_HALF: Final = 32
"""Bytes of each of the two numbers that make a P-256 signature."""


class Unsigned(Exception):  # noqa: N818 - it names what was found
    """The text is not one that this key signed. The words never hold any of it."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """A name for the key that says nothing but which it is."""
    return _encode(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def sign(key: ec.EllipticCurvePrivateKey, payload: bytes) -> str:
    """The payload, signed with a P-256 key."""
    header = msgspec.json.encode(_expected(key.public_key()))
    signed = f"{_encode(header)}.{_encode(payload)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{_encode(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


class Verifier:
    """Tells what the owner of the key signed.

    The last few thousand texts that were found to hold are known again by their hashes: a sidecar that comes back
    brings the token it came with.
    """

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._header = _expected(key)
        self._held: OrderedDict[bytes, None] = OrderedDict()

    def verify(self, text: str) -> bytes:
        """The payload. Raises Unsigned."""
        header, payload, signed, signature = _parts(text)
        digest = hashlib.sha256(text.encode()).digest()
        if digest not in self._held:
            _check_header(header, self._header)
            _check_signature(self._key, signed, signature)
            self._held[digest] = None
            if len(self._held) > REMEMBERED:
                self._held.popitem(last=False)
        return payload


def _parts(text: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Header, payload, what is signed of it, and the signature. Raises Unsigned."""
    if len(text) > LONGEST:
        raise Unsigned(f"it is longer than {LONGEST} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise Unsigned("it has not three parts")
    header, payload, signature = (_decode(part) for part in parts)
    return header, payload, f"{parts[0]}.{parts[1]}".encode(), signature


def _check_signature(key: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> None:
    if len(signature) != 2 * _HALF:
        raise Unsigned("its signature has not the length of ES256's")
    numbers = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    try:
        key.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise Unsigned("its signature does not hold") from None


def _expected(key: ec.EllipticCurvePublicKey) -> _Header:
    return _Header(alg="ES256", kid=key_id(key), typ="JWT")


def _check_header(header: bytes, expected: _Header) -> None:
    """An unknown member, `crit` among them, is refused with everything else that we would not write."""
    try:
        found = msgspec.json.decode(header, type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Unsigned("its header is not one of ours") from None
    for name in ("alg", "typ"):
        if getattr(found, name) != getattr(expected, name):
            raise Unsigned(f"its {name} is not {getattr(expected, name)}")
    if found.kid != expected.kid:
        raise Unsigned("it was signed with another key")


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    """Strictly: no padding, no stray characters, no unused bits, so that every text has one reading."""
    try:
        data = urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise Unsigned("it is not base64url") from None
    if _encode(data) != part:
        raise Unsigned("it is not base64url")
    return data
