"""Vault's PKI secrets engine signs; we log in with our ServiceAccount's token.

Rule: Vault's token and ours are never part of a message. A login is renewed in the middle of its life, or made anew;
what Vault refuses is told in Vault's own words.
Source: Vault's API: "PKI secrets engine" (POST /:mount/sign/:role, GET /:mount/ca_chain), "Kubernetes auth method"
(POST /auth/:mount/login), "Token auth method" (POST /auth/token/renew-self), "Namespaces" (X-Vault-Namespace).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from cryptography import x509

from ca.providers.provider import LARGEST, ProviderError, RootsFile, Wanted, roots_of
from kube.clock import Clock

SECONDS: Final = 15.0
"""How long Vault may take to answer."""
REFUSED_TOKEN: Final = 403
TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """Where Vault is, what signs there, and who we are to it.

    `ca_file` are the PEM certificates that Vault's own must chain to, None: those the system trusts. Without `roots`,
    the roots are those that Vault says its PKI leads to.
    """

    address: str
    role: str
    mount: str = "pki"
    auth_role: str = "weft"
    auth_mount: str = "kubernetes"
    token_file: Path = TOKEN_FILE
    namespace: str = ""
    ca_file: Path | None = None
    roots: RootsFile | None = None


@dataclass(slots=True)
class _Login:
    token: str = field(repr=False)
    renewable: bool
    half: float
    """In seconds of the clock, as `end`: when to renew it."""
    end: float


class Vault:
    """Implements ca.providers.provider.Provider."""

    name = "vault"
    at_once = 8

    def __init__(self, settings: VaultSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._trust = b""
        self._login: _Login | None = None

    async def roots(self) -> Sequence[x509.Certificate]:
        """Those of the file, else the self-signed ones of the mount's chain."""
        if self._settings.roots is not None:
            return self._settings.roots.read()
        path = f"{self._settings.mount}/ca_chain"
        body = await self._asked("GET", path, None, {})
        found = roots_of(body, f"Vault's {path}")
        roots = tuple(each for each in found if each.subject == each.issuer)
        if not roots:
            raise ProviderError(f"Vault's {path} holds no root: name a file of roots")
        return roots

    async def sign(self, wanted: Wanted) -> bytes:
        """As Provider says."""
        body = {
            "csr": wanted.request_pem.decode(),
            "uri_sans": wanted.identity.uri,
            "exclude_cn_from_sans": True,
            "ttl": f"{int(wanted.lifetime.total_seconds())}s",
            "format": "pem",
        }
        answer = await self._as_ourselves("POST", f"{self._settings.mount}/sign/{self._settings.role}", body)
        try:
            data = answer["data"]
            chain = data.get("ca_chain") or [data["issuing_ca"]]
            return "\n".join([data["certificate"], *chain]).encode()
        except (KeyError, TypeError, AttributeError) as error:
            raise ProviderError("Vault's answer has no certificate and issuing_ca") from error

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    async def _as_ourselves(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to somebody who is logged in; a token that Vault no longer takes is replaced once."""
        kept = self._login is not None
        login = await self._logged_in()
        try:
            return _json(await self._asked(method, path, body, {"X-Vault-Token": login.token}))
        except _RefusedError as error:
            if error.code != REFUSED_TOKEN or not kept:
                raise
            # Revoked, perhaps; or our role lost its right, which the second answer says.
            self._login = None
            login = await self._logged_in()
            return _json(await self._asked(method, path, body, {"X-Vault-Token": login.token}))

    async def _logged_in(self) -> _Login:
        login, now = self._login, self._clock.passed()
        if login is not None and now < login.half:
            return login
        if login is not None and login.renewable and now < login.end:
            try:
                path, headers = "auth/token/renew-self", {"X-Vault-Token": login.token}
                self._login = self._login_of(_json(await self._asked("POST", path, {}, headers)))
            except ProviderError:
                # It has reached its longest life, mostly.
                self._login = None
        else:
            self._login = None
        if self._login is None:
            body = {"role": self._settings.auth_role, "jwt": self._own_token()}
            path = f"auth/{self._settings.auth_mount}/login"
            self._login = self._login_of(_json(await self._asked("POST", path, body, {})))
        return self._login

    def _login_of(self, answer: dict[str, Any]) -> _Login:
        try:
            auth = answer["auth"]
            lease, now = float(auth["lease_duration"]), self._clock.passed()
            # Zero is a token without an end, such as a root token.
            life = lease or float("inf")
            return _Login(str(auth["client_token"]), bool(auth.get("renewable")), now + life / 2, now + life)
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError("Vault's answer to a login has no token") from error

    def _own_token(self) -> str:
        try:
            return self._settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(f"{self._settings.token_file} can't be read: {type(error).__name__}") from error

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str]) -> bytes:
        url = f"{self._settings.address.rstrip('/')}/v1/{path}"
        sent = {"X-Vault-Request": "true", **headers}
        if self._settings.namespace:
            sent["X-Vault-Namespace"] = self._settings.namespace
        try:
            session = await self._connected()
            async with session.request(method, url, json=body, headers=sent, allow_redirects=False) as response:
                content = await _whole(response)
                if response.status >= 300:
                    raise _RefusedError(
                        response.status, f"Vault, {method} {path}: {response.status} {_errors(content)}"
                    )
                return content
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ProviderError(f"Vault at {url} can't be reached: {error or type(error).__name__}") from error

    async def _connected(self) -> aiohttp.ClientSession:
        """Connections that trust what the file says now."""
        trust = self._settings.ca_file.read_bytes() if self._settings.ca_file is not None else b""
        if self._session is None or trust != self._trust:
            context = ssl.create_default_context(cadata=trust.decode() if trust else None)
            await self.close()
            limits = aiohttp.ClientTimeout(total=SECONDS)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=limits)
            self._trust = trust
        return self._session


class _RefusedError(ProviderError):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """All of an answer, however many pieces it comes in."""
    content = b""
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > LARGEST:
            raise ProviderError(f"Vault's answer is longer than {LARGEST} bytes")
    return content


def _json(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProviderError("Vault's answer is no JSON object") from error


def _errors(content: bytes) -> str:
    """What Vault says; empty lists mean that it does not say why."""
    try:
        told = msgspec.json.decode(content, type=dict[str, Any]).get("errors")
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return "; ".join(" ".join(str(each).split()) for each in told) if isinstance(told, list) else ""
