"""Sidecars that take their certificates from a SPIFFE Workload API: rules hold, and no key passes through us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from company_ca import Signer, company_root, pem
from fake_spire import FakeSpire
from proxy.bootstrap import BootstrapSettings, bootstrap
from shop_mesh import CATALOG_IP, shop
from sidecars import Pod, Sidecars, missing, sidecars
from talk import get, mirror
from xds.names import WORKLOAD_API_CLUSTER
from xds.translate.certificates import Certificates
from xds.translate.settings import TranslateSettings

SPIRE = Certificates(leaf="default", bundle="ROOTCA", elsewhere=True)
STOREFRONT = "spiffe://cluster.local/ns/shop/sa/storefront"


@dataclass
class NoSecrets:
    """The control plane's part: roots for those who are told callers in the handshake, and no certificate."""

    bundle: str

    def secrets(self, _: object) -> list[Any]:
        return []


@dataclass
class SpireLab:
    """Pods with their agents' sockets."""

    running: Sidecars
    signer: Signer
    agents: dict[str, FakeSpire] = field(default_factory=dict)

    async def start(self, name: str, number: int) -> None:
        """A pod of the ServiceAccount of its name."""
        agent = FakeSpire(self.socket(name), self.signer, f"spiffe://cluster.local/ns/shop/sa/{name}")
        self.agents[name] = agent
        await agent.start()
        await self.running.start(name, number)

    async def taken(self, name: str) -> None:
        """Until a sidecar uses the certificate that its agent gave last."""

        async def shown() -> bool:
            # Envoy shows serial numbers in hexadecimal.
            return f"{self.agents[name].serial:x}" in await self.running.pods[name].admin("/certs")

        await self.running.until(shown, "the new certificate is in use")

    def socket(self, name: str) -> Any:
        return self.running.ads.socket.parent / f"{name}.sock"

    def clusters(self, pod: Pod) -> list[dict[str, Any]]:
        """The cluster of a sidecar's real bootstrap document."""
        document = bootstrap(BootstrapSettings(spiffe_socket=str(self.socket(pod.id.name))))
        return [each for each in document["static_resources"]["clusters"] if each["name"] == WORKLOAD_API_CLUSTER]


@pytest.fixture
async def lab() -> AsyncIterator[SpireLab]:
    if reason := missing():
        pytest.skip(reason)
    now = datetime.now(UTC)
    signer = company_root("spire root", now).below("spire intermediate", now)
    async with sidecars(TranslateSettings(certificates=SPIRE)) as running:
        made = SpireLab(running, signer)
        running.authority = NoSecrets(pem(signer.root).decode())  # type: ignore[assignment]
        running.more_clusters = made.clusters
        running.apply(shop())
        try:
            for number, name in enumerate(("storefront", "catalog"), start=1):
                await made.start(name, number)
            yield made
            assert running.ads.rejected == []
        finally:
            for agent in made.agents.values():
                await agent.stop()


async def test_rules_hold_among_sidecars_whose_certificates_spire_gives_and_rotates(lab: SpireLab) -> None:
    storefront, catalog = lab.running.pods["storefront"], lab.running.pods["catalog"]
    await catalog.serve(8080, mirror)
    answer = await get(storefront, CATALOG_IP, 80)
    assert (answer.status, f"URI={STOREFRONT}" in answer.body) == (200, True)
    assert (await get(storefront, CATALOG_IP, 80, "/nothing")).status == 403
    assert {"default", "ROOTCA"} <= lab.agents["storefront"].asked
    given = {name for sent in lab.running.ads.pushed for name in sent[2]}
    assert not given & {"leaf", "bundle", "default", "ROOTCA"}, "the control plane gives neither key nor bundle"
    first = lab.agents["catalog"].serial
    lab.agents["catalog"].rotate()
    await lab.taken("catalog")
    assert first != lab.agents["catalog"].serial
    assert (await get(storefront, CATALOG_IP, 80)).status == 200


async def test_a_server_of_which_spire_says_another_name_is_refused(lab: SpireLab) -> None:
    storefront, catalog = lab.running.pods["storefront"], lab.running.pods["catalog"]
    await catalog.serve(8080, mirror)
    lab.agents["catalog"].rotate("spiffe://cluster.local/ns/shop/sa/impostor")
    await lab.taken("catalog")
    assert (await get(storefront, CATALOG_IP, 80)).status == 503
    assert sum((await storefront.stats("ssl.fail_verify_san")).values()) >= 1
