"""cert-manager signs: a CertificateRequest for each leaf, whatever its issuer is.

Rule: roots come from a file that a person chose. What an issuer writes into status.ca is never believed: whoever signs
does not choose whom the mesh trusts.
Source: cert-manager's API reference, cert-manager.io/v1 CertificateRequest, and its pages "CertificateRequest" and
"Approval": conditions Approved, Denied, InvalidRequest and Ready with the reasons Pending, Issued, Failed, Denied.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from ca.providers.provider import ProviderError, RootsFile, Wanted
from ca.providers.request_objects import Object, RequestObjects, conditions, decoded, status

USAGES: Final = ["digital signature", "server auth", "client auth"]
API: Final = "cert-manager.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRef:
    """Who signs: an Issuer of our namespace, a ClusterIssuer, or somebody else's kind."""

    name: str
    kind: str = "Issuer"
    group: str = "cert-manager.io"


class CertManager:
    """Implements ca.providers.provider.Provider."""

    name = "cert-manager"
    at_once = 8

    def __init__(self, requests: RequestObjects, issuer: IssuerRef, roots: RootsFile) -> None:
        self._requests = requests
        self._issuer = issuer
        self._roots = roots

    async def roots(self) -> Sequence[x509.Certificate]:
        """Those of the file. Raises ProviderError."""
        found = self._roots.read()
        await self._requests.sweep()
        return found

    async def sign(self, wanted: Wanted) -> bytes:
        """As Provider says."""
        issuer = self._issuer
        spec = {
            "request": b64encode(wanted.request_pem).decode(),
            "duration": f"{int(wanted.lifetime.total_seconds())}s",
            "isCA": False,
            "usages": USAGES,
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
        }
        body = {"apiVersion": API, "kind": "CertificateRequest", "spec": spec}
        return await self._requests.fulfilled(body, wanted.identity.uri, _answer)

    async def close(self) -> None:
        """Nothing is held."""


def _answer(found: Object) -> bytes | None:
    told = conditions(found)
    for kind in ("Denied", "InvalidRequest"):
        if kind in told and told[kind].status == "True":
            raise ProviderError(f"cert-manager: the request is {kind}: {told[kind].words}")
    ready = told.get("Ready")
    if ready is None:
        return None
    if ready.status == "False" and ready.reason in {"Failed", "Denied"}:
        raise ProviderError(f"cert-manager: {ready.words}")
    certificate = status(found).get("certificate")
    return decoded(certificate, "status.certificate") if ready.status == "True" and certificate else None
