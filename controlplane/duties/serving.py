"""The certificate that the webhook serves with: made by our CA, kept in a Secret, replaced in time.

Rule: decided by a pure function that says why; the API server's trust (`controlplane.duties.callers`) is the bundle,
in which a root stays for as long as what was signed under it, so replacing a certificate never breaks a call.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ca.authority import Authority
from ca.rotation import RENEW_AFTER
from controlplane.duties.duty import Duty
from kube.client import ApiError, Client
from kube.clock import SYSTEM_CLOCK, Clock

NAME: Final = "weft-webhook-tls"
LIFETIME: Final = timedelta(days=30)
"""Long enough that a control plane that is away for days leaves the webhook working."""
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
ROOT: Final = "ca.crt"

log = structlog.get_logger(__name__)


def why_new(data: dict[str, bytes], bundle_pem: bytes, root_pem: bytes, dns_names: Sequence[str], now: datetime) -> str:
    """Why the webhook needs another certificate than this Secret holds; empty when it needs none.

    It is made anew as soon as another root signs: the bundle keeps the older one long enough for the new files to
    reach the webhook.
    """
    if not data:
        return "there is none yet"
    try:
        chain = x509.load_pem_x509_certificates(data.get(CERTIFICATE, b""))
        key = load_pem_private_key(data.get(KEY, b""), password=None)
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return "what is there is no certificate with its key"
    faults = {
        "the key is another certificate's": key.public_key() != chain[0].public_key(),
        "it was not made under the root of the mesh": data.get(ROOT) != bundle_pem or not _leads_to(chain, root_pem),
        "it is for other names": set(names.get_values_for_type(x509.DNSName)) != set(dns_names),
        "it is not valid now, or two thirds of its life are over": not _young(chain, now),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _young(chain: Sequence[x509.Certificate], now: datetime) -> bool:
    start, end = chain[0].not_valid_before_utc, min(each.not_valid_after_utc for each in chain[:2])
    return start <= now < start + (end - start) * RENEW_AFTER


def _leads_to(chain: Sequence[x509.Certificate], root_pem: bytes) -> bool:
    """Whether leaf and intermediate do; behind them may be what leads to older roots."""
    own = chain[:2]
    try:
        for certificate, issuer in zip(own, [*own[1:], x509.load_pem_x509_certificate(root_pem)], strict=True):
            certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


class ServingCertificate:
    """Keeps the Secret as it should be."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        authority: Authority,
        dns_names: Sequence[str],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._authority = authority
        self._dns_names = tuple(dns_names)
        self._clock = clock
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self.ends: datetime | None = None
        """When the certificate ends that is in the Secret, as far as we know."""

    @property
    def duty(self) -> Duty:
        """As a duty of the lease holder."""
        return Duty(name="webhook certificate", carry_out=self.carry_out, concerns=self._roots)

    async def carry_out(self) -> None:
        """Put a new certificate there if one is needed. Raises ApiError, ApiUnavailable, and ca.issuance.Expired."""
        secret = await self._read()
        data = _decoded(secret.get("data") or {}) if secret else {}
        bundle, root = self._roots()
        reason = why_new(data, bundle, root, self._dns_names, self._clock.now())
        if reason:
            leaf = self._authority.served_elsewhere(self._dns_names, LIFETIME)
            await self._write(secret, {CERTIFICATE: leaf.chain_pem, KEY: leaf.key_pem, ROOT: bundle})
            self.ends = leaf.validity.not_after
            log.info("made a certificate for the webhook", reason=reason, valid_until=self.ends.isoformat())
        else:
            self.ends = x509.load_pem_x509_certificate(data[CERTIFICATE]).not_valid_after_utc

    def _roots(self) -> tuple[bytes, bytes]:
        """The bundle, and the root that signs."""
        return self._authority.bundle_pem(), self._authority.issuers.root.certificate_pem

    async def _read(self) -> dict[str, Any] | None:
        try:
            secret: dict[str, Any] = await self._client.request("GET", f"{self._collection}/{NAME}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return secret

    async def _write(self, secret: dict[str, Any] | None, data: dict[str, bytes]) -> None:
        encoded = {name: b64encode(content).decode() for name, content in data.items()}
        if secret is not None:
            await self._client.request("PUT", f"{self._collection}/{NAME}", body={**secret, "data": encoded})
            return
        metadata = {"name": NAME, "namespace": self._namespace, "labels": {"app.kubernetes.io/part-of": "weft"}}
        body = {
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": encoded
        }  # fmt: skip
        await self._client.request("POST", self._collection, body=body)


def dns_names(service: str, namespace: str) -> tuple[str, ...]:
    """The names by which the API server calls a Service."""
    return f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"


def _decoded(data: dict[str, Any]) -> dict[str, bytes]:
    """The Secret's content; what is no base64 counts as empty."""
    found: dict[str, bytes] = {}
    for name, content in data.items():
        try:
            found[name] = b64decode(content, validate=True)
        except (binascii.Error, ValueError, TypeError):
            found[name] = b""
    return found
