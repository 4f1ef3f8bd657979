"""The tokens of standalone mode: what a ServiceAccount's bound token is in a cluster, signed by ourselves.

Rule: the same claims as Kubernetes', so that nothing above the Authenticator knows the difference; a token is never
part of a message.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ca import jws
from ca.issuance import is_segment
from ca.issuers import new_key
from ca.storage import Folder, StorageError
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import Identity, PodId
from xds.peer import Peer, Reason, Refused

AUDIENCE: Final = "weft"
"""The control plane, as the `aud` claim names it. A token for anybody else opens nothing here."""
KEY: Final = "tokens.pem"
SKEW: Final = timedelta(minutes=1)
"""How far the issuer's clock may be ahead of ours. A token is never accepted past its end."""


class BoundObject(msgspec.Struct, frozen=True):
    """An object a token speaks of."""

    name: str
    uid: str = ""


class Binding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The private claims of Kubernetes: whose token this is, and the pod it was made for."""

    namespace: str
    serviceaccount: BoundObject
    pod: BoundObject | None = None


class Claims(msgspec.Struct, frozen=True, rename={"kubernetes": "kubernetes.io"}):
    """What a token says (RFC 7519 §4.1); times are seconds since the epoch."""

    iss: str
    sub: str
    aud: list[str]
    exp: int
    iat: int
    nbf: int
    jti: str
    kubernetes: Binding


class TokenIssuer:
    """Signs tokens. Several processes of one owner may open the same folder; they share its key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, trust_domain: str, clock: Clock) -> None:
        self._key = key
        self._trust_domain = trust_domain
        self._clock = clock

    @classmethod
    def open(cls, folder: Path, trust_domain: str, *, clock: Clock = SYSTEM_CLOCK) -> TokenIssuer:
        """Open the signing key in this folder, or make it. Raises StorageError."""
        return cls(_signing_key(folder), trust_domain, clock)

    def issue(
        self,
        identity: Identity,
        pod: PodId | None,
        lifetime: timedelta,
        *,
        pod_uid: str = "",
        audience: str = AUDIENCE,
    ) -> str:
        """A token for the identity, bound to a pod where one is given.

        Raises ValueError for an identity of another trust domain, or a pod of another namespace.
        """
        if identity.trust_domain != self._trust_domain:
            raise ValueError(f"{identity.uri} is not of trust domain {self._trust_domain}")
        if pod is not None and pod.namespace != identity.namespace:
            raise ValueError(f"pod {pod} can't have the identity {identity.uri}")
        now = math.floor(self._clock.now().timestamp())
        claims = Claims(
            iss=_issuer_name(self._trust_domain),
            sub=_subject(identity.namespace, identity.service_account),
            aud=[audience],
            exp=now + math.floor(lifetime.total_seconds()),
            iat=now,
            nbf=now,
            jti=secrets.token_hex(16),
            kubernetes=Binding(
                namespace=identity.namespace,
                serviceaccount=BoundObject(name=identity.service_account),
                pod=BoundObject(name=pod.name, uid=pod_uid) if pod else None,
            ),
        )
        return jws.sign(self._key, msgspec.json.encode(claims))


class TokenAuthenticator:
    """Implements xds.peer.Authenticator with the public half of the issuer's key."""

    def __init__(
        self,
        key: ec.EllipticCurvePublicKey,
        trust_domain: str,
        clock: Clock,
        others: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`others` are names that the trust domain had or will have: tokens from before a change are good, too."""
        self._others = others
        self._verifier = jws.Verifier(key)
        self._trust_domain = trust_domain
        self._clock = clock

    @classmethod
    def open(
        cls,
        folder: Path,
        trust_domain: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        others: Callable[[], Iterable[str]] = tuple,
    ) -> TokenAuthenticator:
        """Open the key in this folder, or make it. Raises StorageError."""
        return cls(_signing_key(folder).public_key(), trust_domain, clock, others)

    async def authenticate(self, token: str) -> Peer:
        """Who bears this token. Raises Refused."""
        try:
            claims = msgspec.json.decode(self._verifier.verify(token), type=Claims)
        except jws.Unsigned as error:
            raise Refused(f"the token is not valid: {error}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Refused("the token does not hold the claims of a ServiceAccount") from None
        self._check(claims)
        bound = claims.kubernetes
        return Peer(
            identity=Identity(self._trust_domain, bound.namespace, bound.serviceaccount.name),
            pod=PodId(bound.namespace, bound.pod.name) if bound.pod else None,
            expires=float(claims.exp),
        )

    def _check(self, claims: Claims) -> None:
        now = self._clock.now().timestamp()
        bound = claims.kubernetes
        names = [bound.namespace, bound.serviceaccount.name, *([bound.pod.name] if bound.pod else [])]
        if claims.iss not in set(map(_issuer_name, (self._trust_domain, *self._others()))):
            raise Refused(f"the token was not issued for trust domain {self._trust_domain}", Reason.ACCOUNT)
        if AUDIENCE not in claims.aud:
            raise Refused(f"the token is not meant for {AUDIENCE}", Reason.AUDIENCE)
        if now >= claims.exp:
            raise Refused("the token has expired", Reason.TIME)
        if now < claims.nbf - SKEW.total_seconds():
            raise Refused("the token is not valid yet", Reason.TIME)
        if not all(is_segment(name) for name in names):
            raise Refused("the token names what can't be the name of an object")
        if claims.sub != _subject(bound.namespace, bound.serviceaccount.name):
            raise Refused("the token's subject is not its ServiceAccount")


def _subject(namespace: str, service_account: str) -> str:
    return f"system:serviceaccount:{namespace}:{service_account}"


def _issuer_name(trust_domain: str) -> str:
    return f"spiffe://{trust_domain}"


def _signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    folder = Folder.open(path)
    with folder.locked():
        pem = folder.read(KEY)
        if pem is None:
            key = new_key()
            folder.write(KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return key
    try:
        found = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        # The parser's own words may quote what it could not read.
        raise StorageError(f"{path / KEY} is not a key: remove it, and every pod gets a new token") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        raise StorageError(f"{path / KEY} is not a P-256 key: remove it, and every pod gets a new token")
    return found
