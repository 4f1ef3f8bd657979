"""A Vault on loopback with TLS: the Kubernetes auth method and one PKI mount, as far as Vault's API pages tell of them.

Rule: what a page says Vault refuses is refused here, with its code and `errors`.
Source: Vault's API pages "Kubernetes auth method", "Token auth method", "PKI secrets engine", "Namespaces".
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from company_ca import Signer, pem
from tests.fakes.certificates import serving

JWT = "the ServiceAccount's token"


@dataclass
class FakeVault:
    """`sealed`, `lease` (seconds), `renewable` and what its role allows are the test's to change."""

    signer: Signer
    namespace: str = ""
    sealed: bool = False
    lease: int = 3600
    renewable: bool = True
    allowed: str = "spiffe://cluster.local/"
    max_ttl: timedelta = timedelta(hours=72)
    tokens: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    ca_pem: bytes = b""
    comment: bytes = b""
    """What stands before its chain."""
    _runner: web.AppRunner | None = None

    async def start(self, folder: Path) -> FakeVault:
        """Listen on a free port of loopback."""
        self.ca_pem, certificate, key = serving()
        (folder / "vault.pem").write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "vault.pem")
        app = web.Application(middlewares=[self._gate])
        app.router.add_post("/v1/auth/kubernetes/login", self._login)
        app.router.add_post("/v1/auth/token/renew-self", self._renew)
        app.router.add_post("/v1/pki/sign/{role}", self._sign)
        app.router.add_get("/v1/pki/ca_chain", self._chain)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path.removeprefix('/v1/')}")
        if self.sealed:
            return _refused(503, "Vault is sealed")
        if request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return _refused(404)
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return _refused(404)
        return response

    async def _login(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("role") != "weft":
            return _refused(400, f'invalid role name "{body.get("role")}"')
        if body.get("jwt") != JWT:
            return _refused(403, "permission denied")
        return self._auth(f"hvs.{len(self.asked)}")

    async def _renew(self, request: web.Request) -> web.Response:
        token = request.headers.get("X-Vault-Token", "")
        if token not in self.tokens:
            return _refused(403, "permission denied")
        return self._auth(token) if self.renewable else _refused(400, "lease is not renewable")

    async def _sign(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Vault-Token", "") not in self.tokens:
            return _refused(403, "permission denied")
        if request.match_info["role"] != "mesh":
            return _refused(400, f"unknown role: {request.match_info['role']}")
        body = await request.json()
        names = [each for each in body.get("uri_sans", "").split(",") if each]
        if wrong := [each for each in names if not each.startswith(self.allowed)]:
            return _refused(400, f"URI {wrong[0]} is not allowed by this role")
        life = min(timedelta(seconds=int(body["ttl"].removesuffix("s"))), self.max_ttl)
        try:
            leaf = self.signer.sign(body["csr"].encode(), datetime.now(UTC), life, uris=names)
        except ValueError:
            return _refused(400, "certificate request could not be parsed")
        chain = [pem(each).decode() for each in (self.signer.certificate, *self.signer.above)]
        data = {"certificate": leaf.decode(), "issuing_ca": chain[0], "ca_chain": chain, "serial_number": "0"}
        return _answer({"data": data})

    async def _chain(self, _: web.Request) -> web.Response:
        chain = (self.signer.certificate, *self.signer.above)
        return web.Response(
            body=self.comment + b"".join(map(pem, chain)), content_type="application/pem-certificate-chain"
        )

    def _auth(self, token: str) -> web.Response:
        self.tokens.add(token)
        return _answer({"auth": {"client_token": token, "lease_duration": self.lease, "renewable": self.renewable}})


def _answer(body: Mapping[str, Any], code: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=code, content_type="application/json")


def _refused(code: int, *words: str) -> web.Response:
    return _answer({"errors": list(words)}, code)
