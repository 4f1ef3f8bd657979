"""Who a request is from, and ServiceAccount tokens. Rule: a token is as good as the objects it is bound to.

Source: Kubernetes page "Authenticating", kubernetes/pkg/serviceaccount (claims.go, jwt.go).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.fakes import errors
from tests.fakes.hooks import User
from tests.fakes.requests import Request
from tests.fakes.storage import Object

if TYPE_CHECKING:
    from tests.fakes.api import Api

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"
LEEWAY = 60  # seconds an object may have been deleted for
EXTRA = "authentication.kubernetes.io/"


class BadTokenError(Exception):
    """A token that proves nothing; the text says why."""


class Authenticator:
    """Bearer tokens of tests, ServiceAccount tokens, and impersonation."""

    def __init__(self, api: Api, issuer: str = "https://kubernetes.default.svc.cluster.local") -> None:
        self._api = api
        self.issuer = issuer
        self.audiences = (issuer,)
        self._tokens: dict[str, User] = {}
        self._key = rsa.generate_private_key(65537, 2048)

    def add(self, name: str, groups: Sequence[str] = ()) -> str:
        """A bearer token of a user."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = User(name, (*groups, AUTHENTICATED))
        return token

    def user(self, request: Request) -> User:
        """Raises 401 for a token that proves nothing."""
        header = request.headers.get("authorization", "")
        kind, _, token = header.partition(" ")
        if not header:
            return ANONYMOUS
        if kind.lower() != "bearer" or not token:
            return ANONYMOUS
        try:
            return self.of_token(token.strip(), self.audiences)[0]
        except BadTokenError:
            raise errors.unauthorized() from None

    def of_token(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]]:
        """Whose token it is, and for which of the audiences; raises BadTokenError."""
        if found := self._tokens.get(token):
            return found, list(audiences)
        claims = self._claims(token)
        meant = [each for each in claims["aud"] if each in audiences]
        if not meant:
            shown, wanted = (_quoted(each) for each in (claims["aud"], audiences))
            raise BadTokenError(f"token audiences {shown} is invalid for the target audiences {wanted}")
        return self._checked(claims), meant

    def _claims(self, token: str) -> Any:
        try:
            head, body, signature = token.split(".")
            self._key.public_key().verify(
                _unpacked(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            return msgspec.json.decode(_unpacked(body))
        except (ValueError, InvalidSignature, binascii.Error, msgspec.DecodeError):
            raise BadTokenError("invalid bearer token") from None

    def _checked(self, claims: Any) -> User:
        now = self._api.clock()
        if now > claims["exp"] + LEEWAY:  # go-jose's default leeway
            raise BadTokenError("service account token has expired")
        if now < claims["nbf"] - LEEWAY:
            raise BadTokenError("service account token is not valid yet")
        held = claims["kubernetes.io"]
        namespace, account = held["namespace"], held["serviceaccount"]
        self._bound("serviceaccounts", "service account", namespace, account)
        extra: dict[str, list[str]] = {f"{EXTRA}credential-id": [f"JTI={claims['jti']}"]}
        if "secret" in held:
            self._bound("secrets", "secret", namespace, held["secret"])
        if "pod" in held:
            self._bound("pods", "pod", namespace, held["pod"])
            extra |= {f"{EXTRA}pod-name": [held["pod"]["name"]], f"{EXTRA}pod-uid": [held["pod"]["uid"]]}
        if "node" in held:
            extra |= {f"{EXTRA}node-name": [held["node"]["name"]], f"{EXTRA}node-uid": [held["node"]["uid"]]}
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra)

    def _bound(self, plural: str, said: str, namespace: str, ref: Mapping[str, str]) -> None:
        found = self._api.store.get(("", plural), (namespace, ref["name"]))
        if found is None:
            gone = plural == "serviceaccounts"
            raise BadTokenError(
                f'serviceaccounts "{ref["name"]}" not found' if gone else "service account token has been invalidated"
            )
        uid = found.object["metadata"]["uid"]
        if uid != ref["uid"]:
            claim = "claim" if plural == "serviceaccounts" else f"service account {said} ref claim"
            raise BadTokenError(f"{said} UID ({uid}) does not match {claim} ({ref['uid']})")
        deleted = found.object["metadata"].get("deletionTimestamp")
        if deleted and self._api.seconds(deleted) < self._api.clock() - LEEWAY:
            raise BadTokenError("service account token has been invalidated")

    def mint(
        self, account: Object, audiences: Sequence[str], seconds: int, bound: Mapping[str, Object]
    ) -> tuple[str, int]:
        """A signed token of a ServiceAccount and when it expires; `bound` has objects under pod, node or secret."""
        now = int(self._api.clock())
        metadata = account["metadata"]
        held: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        for kind, each in bound.items():
            held[kind] = {"name": each["metadata"]["name"], "uid": each["metadata"]["uid"]}
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": held,
            "nbf": now,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        signed = f"{_packed({'alg': 'RS256', 'kid': 'fake'})}.{_packed(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}", now + seconds


def impersonated(user: User, request: Request) -> User | None:
    """Whom the request wants to act as; None for itself."""
    name = request.headers.get("impersonate-user", "")
    if not name:
        if any(each.startswith("impersonate-") for each in request.headers):
            raise errors.StatusError(500, "InternalError", "requested impersonation without impersonating a user")
        return None
    groups = [each for each in request.headers.get("impersonate-group", "").split(",") if each]
    if name.startswith("system:serviceaccount:") and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{name.split(':')[2]}"]
    if name != "system:anonymous" and AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    return User(name, tuple(groups), request.headers.get("impersonate-uid", ""))


def _packed(document: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _quoted(texts: Sequence[str]) -> str:
    return "[" + " ".join(f'"{each}"' for each in texts) + "]"
