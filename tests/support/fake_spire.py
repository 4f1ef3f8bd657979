"""A SPIRE agent beside each pod: SDS on its Workload API's Unix socket, as SPIRE serves it to an Envoy.

Rule: only whoever connects to a pod's socket gets that pod's certificate. The bundle is a SPIFFE validator's, which is
what SPIRE's agent answers to Envoy's v3 API unless it is told otherwise.
Source: SPIRE's page "Using Envoy with SPIRE" and its agent's SDS options (`default`, `ROOTCA`); Envoy's SDS protocol.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from company_ca import Signer, pem
from xds import pb
from xds.resource import SECRET

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"
DOMAIN = "cluster.local"


class FakeSpire:
    """One pod's socket. `uri` is who SPIRE says the pod is."""

    def __init__(self, socket: Path, signer: Signer, uri: str) -> None:
        self.socket = socket
        self.asked: set[str] = set()
        self.serial = 0
        self._signer = signer
        self._uri = uri
        self._server = grpc.aio.server()
        self._changed: set[asyncio.Event] = set()
        self._nonces = itertools.count(1)
        self.rotate()

    async def start(self) -> None:
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve, pb.DiscoveryRequest.FromString, pb.DiscoveryResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"StreamSecrets": handler}),)
        )
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        self.socket.chmod(0o777)

    async def stop(self) -> None:
        await self._server.stop(0)

    def rotate(self, uri: str = "") -> None:
        """Give the pod another certificate and key, and perhaps another name."""
        self._uri = uri or self._uri
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self._uri)])
        request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
        leaf = self._signer.sign(request.sign(key, SHA256()).public_bytes(Encoding.PEM), now, timedelta(hours=1))
        self.serial = x509.load_pem_x509_certificate(leaf).serial_number
        self._certificate = pb.TlsCertificate(
            certificate_chain=pb.DataSource(inline_bytes=leaf + self._signer.chain_pem),
            private_key=pb.DataSource(
                inline_bytes=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            ),
        )
        for each in self._changed:
            each.set()

    async def _serve(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[Any]:
        first = await anext(requests)
        names, changed = list(first.resource_names), asyncio.Event()
        self.asked |= set(names)
        self._changed.add(changed)
        # Acknowledgements are taken and mean nothing here.
        reader = asyncio.create_task(_drain(requests))
        try:
            while not reader.done():
                changed.clear()
                yield self._answer(names)
                await changed.wait()
        finally:
            self._changed.discard(changed)
            reader.cancel()

    def _answer(self, names: list[str]) -> Any:
        answer = pb.DiscoveryResponse(version_info=str(self.serial), type_url=SECRET, nonce=str(next(self._nonces)))
        for secret in (self._secret(name) for name in names):
            if secret is not None:
                answer.resources.append(pb.packed(secret))
        return answer

    def _secret(self, name: str) -> Any:
        if name == "default":
            return pb.Secret(name=name, tls_certificate=self._certificate)
        if name != "ROOTCA":
            return None
        bundle = pb.DataSource(inline_bytes=pem(self._signer.root))
        domain = pb.SPIFFECertValidatorConfig.TrustDomain(name=DOMAIN, trust_bundle=bundle)
        validator = pb.TypedExtensionConfig(
            name="envoy.tls.cert_validator.spiffe",
            typed_config=pb.packed(pb.SPIFFECertValidatorConfig(trust_domains=[domain])),
        )
        return pb.Secret(
            name=name, validation_context=pb.CertificateValidationContext(custom_validator_config=validator)
        )


async def _drain(requests: AsyncIterator[Any]) -> None:
    async for _ in requests:
        pass
