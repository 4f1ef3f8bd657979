"""A signer of the cluster signs: a CertificateSigningRequest for each leaf, approved by somebody else.

Rule: Weft asks and never approves; who may have which name is for the approver to decide.
Source: Kubernetes' pages "Certificates and Certificate Signing Requests" (signerName, expirationSeconds from 600 on,
conditions Approved, Denied and Failed) and "ClusterTrustBundles" (spec.signerName, spec.trustBundle).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from cryptography import x509

from ca.providers.provider import ProviderError, RootsFile, Wanted, roots_of
from ca.providers.request_objects import NOT_FOUND, Object, RequestObjects, conditions, decoded, status
from kube.client import ApiError, ApiUnavailable, Client

COLLECTION: Final = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
USAGES: Final = ["digital signature", "server auth", "client auth"]
SHORTEST: Final = 600
"""Seconds: what expirationSeconds may be at least."""
VERSIONS: Final = ("v1", "v1beta1", "v1alpha1")
"""Of ClusterTrustBundle, the best first."""

Roots = Callable[[], Awaitable[Sequence[x509.Certificate]]]


class ClusterSigner:
    """Implements ca.providers.provider.Provider. `roots` knows whom to trust."""

    name = "kubernetes"
    at_once = 8

    def __init__(self, requests: RequestObjects, signer: str, roots: Roots) -> None:
        self._requests = requests
        self._signer = signer
        self._roots = roots

    async def roots(self) -> Sequence[x509.Certificate]:
        """As Provider says."""
        found = await self._roots()
        await self._requests.sweep()
        return found

    async def sign(self, wanted: Wanted) -> bytes:
        """As Provider says."""
        spec = {
            "request": b64encode(wanted.request_pem).decode(),
            "signerName": self._signer,
            "expirationSeconds": max(SHORTEST, int(wanted.lifetime.total_seconds())),
            "usages": USAGES,
        }
        body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "spec": spec}
        return await self._requests.fulfilled(body, wanted.identity.uri, self._answer)

    async def close(self) -> None:
        """Nothing is held."""

    def _answer(self, found: Object) -> bytes | None:
        told = conditions(found)
        for kind in ("Denied", "Failed"):
            if kind in told and told[kind].status == "True":
                raise ProviderError(f"signer {self._signer}: the request is {kind}: {told[kind].words}")
        certificate = status(found).get("certificate")
        return decoded(certificate, "status.certificate") if certificate else None


def from_file(file: RootsFile) -> Roots:
    """Roots of a file."""

    async def read() -> Sequence[x509.Certificate]:
        return file.read()

    return read


def from_trust_bundles(client: Client, signer: str) -> Roots:
    """Roots of all ClusterTrustBundles of a signer, in whichever version the server has them."""

    async def read() -> Sequence[x509.Certificate]:
        items = await _bundles(client, signer)
        texts = [str((each.get("spec") or {}).get("trustBundle") or "") for each in items]
        if not any(texts):
            raise ProviderError(f"there is no ClusterTrustBundle of signer {signer}")
        return tuple(dict.fromkeys(roots_of("\n".join(texts).encode(), f"the ClusterTrustBundle of signer {signer}")))

    return read


async def _bundles(client: Client, signer: str) -> Sequence[dict[str, Any]]:
    for version in VERSIONS:
        path = f"/apis/certificates.k8s.io/{version}/clustertrustbundles"
        try:
            found = await client.request("GET", path, query={"fieldSelector": f"spec.signerName={signer}"})
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise ProviderError(f"{path} can't be read: {error}") from error
        except ApiUnavailable as error:
            raise ProviderError(f"{path} can't be read: {error}") from error
        else:
            return tuple(found.get("items") or ())
    raise ProviderError("this API server has no ClusterTrustBundles: name a file of roots instead")
