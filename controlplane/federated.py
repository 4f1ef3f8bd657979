"""What other meshes and people are told of our bundle and of theirs: the endpoint for meshes, and the admin API.

Rule: everything here is public: roots, names, and what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ca.authority import Authority
from ca.spiffe_bundle import write_bundle
from controlplane.bundle_endpoint import REFRESH, BundleEndpoint
from controlplane.federating import Federation
from controlplane.metrics_api.tls import Served

OURSELVES: Final = ("weft-system", "weft")
"""Namespace and ServiceAccount in the SPIFFE ID of our bundle endpoint."""


def federation_routes(authority: Authority, federation: Federation | None) -> APIRouter:
    """GET /ca/bundle, GET /ca/bundle.pem and GET /ca/federation."""
    routes = APIRouter()

    @routes.get("/ca/bundle")
    async def bundle() -> Response:
        return Response(our_bundle(authority), media_type="application/json")

    @routes.get("/ca/bundle.pem")
    async def pem() -> Response:
        return Response(authority.bundle_pem(), media_type="application/x-pem-file")

    @routes.get("/ca/federation")
    async def others() -> dict[str, Any]:
        if federation is None:
            return {"trouble": "", "federates_with": []}
        return {"trouble": federation.trouble, "federates_with": federation.view()}

    return routes


class FederationCollector(Collector):
    """Metrics of each trust domain that is federated with."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All series; every name begins with `weft_federation_`."""
        known = self._federation.view()
        roots = GaugeMetricFamily("weft_federation_roots", "Roots known of another mesh.", labels=["trust_domain"])
        trouble = GaugeMetricFamily(
            "weft_federation_trouble", "1 while its bundle can't be had; the last one stays.", labels=["trust_domain"]
        )
        for each in known:
            roots.add_metric([each["trust_domain"]], each["roots"])
            trouble.add_metric([each["trust_domain"]], float(bool(each["trouble"])))
        yield roots
        yield trouble
        yield GaugeMetricFamily(
            "weft_federation_file_trouble", "1 while the file that names them can't be used.",
            float(bool(self._federation.trouble)),
        )  # fmt: skip


def our_bundle(authority: Authority) -> bytes:
    """Our roots as a SPIFFE bundle."""
    return write_bundle(authority.issuers.roots, REFRESH)


def bundle_endpoint(authority: Authority, address: str, port: int) -> BundleEndpoint:
    """Our bundle for other meshes, served as spiffe://<trust domain>/ns/weft-system/sa/weft."""

    def served() -> Served:
        leaf = authority.own_svid(*OURSELVES)
        return Served(leaf.chain_pem, leaf.key_pem, "")

    return BundleEndpoint(address, port, lambda: our_bundle(authority), served)
