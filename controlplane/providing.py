"""Who signs workloads' leaves where Weft does not, put together; its metrics and its part of `weft ca status`.

Rule: Weft's own issuers stay, for Weft's own servers: a control plane can always be reached, whatever a provider does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ca.authority import Authority, Observe, Publish
from ca.providers.authority import ProvidedAuthority, ProvidedSettings
from ca.providers.own import OwnIssuers
from ca.providers.provider import RootsFile
from ca.providers.records import Records
from ca.providers.settings import ProviderFile, SpireFile, Surroundings, provider
from ca.providers.spire import SpireAuthority
from ca.reports import NOTHING_SEEN
from ca.settling import fingerprint
from controlplane.pipeline import Issuing
from kube.clock import SYSTEM_CLOCK, Clock
from xds.snapshot import SecretSource

FAILURES: Final = ("provider", "refused")
"""The provider did not sign, or what it signed can't be used."""


SHOWN: Final = 100
"""Names in a list, at most."""


class Workloads(SecretSource, Issuing, Protocol):
    """Who keeps workloads' leaves."""

    @property
    def leaves_end(self) -> tuple[datetime, ...]:
        """When each workload's leaf in use ends."""

    @property
    def trouble(self) -> str:
        """What keeps it from its work, in words; empty while all is well."""

    async def begin(self) -> None:
        """Wait until it is known whom to trust."""

    async def run(self, publish: Publish, observe: Observe = lambda _: NOTHING_SEEN) -> None:
        """Keep them fresh until cancelled."""


def workloads(
    settings: ProviderFile | None, own: Authority, records: Records, around: Surroundings
) -> ProvidedAuthority | SpireAuthority | None:
    """Who signs in Weft's place; None where nobody does. Raises ca.providers.settings.ProviderSettingsError."""
    if settings is None:
        return None
    if isinstance(settings, SpireFile):
        return SpireAuthority(RootsFile(Path(settings.roots)), around.clock, lambda: own.peers)
    leaf = own.lifetimes.leaf
    before = OwnIssuers(lambda: own.issuers, around.trust_domain, leaf, around.clock)
    wanted = ProvidedSettings(trust_domain=around.trust_domain, leaf=leaf)
    signer = provider(settings, around)
    return ProvidedAuthority(signer, before, records, wanted, around.clock, random.random, lambda: own.peers)


class ProviderCollector(Collector):
    """Metrics of a provider; there are none where Weft signs."""

    def __init__(self, provided: ProvidedAuthority, clock: Clock = SYSTEM_CLOCK) -> None:
        self._provided = provided
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All series; every name begins with `weft_ca_provider_`."""
        standing, name, now = self._provided.standing, self._provided.provider.name, self._clock.now()
        trouble = GaugeMetricFamily(
            "weft_ca_provider_trouble", "1 while the provider does not sign or can't be used.", labels=["provider"]
        )
        trouble.add_metric([name], float(bool(standing.trouble)))
        yield trouble
        signed = CounterMetricFamily(
            "weft_ca_provider_signed", "Leaves that the provider signed and that are used.", labels=["provider"]
        )
        signed.add_metric([name], standing.signed)
        yield signed
        failed = CounterMetricFamily(
            "weft_ca_provider_failures", "Attempts that failed: the provider did, or what it signed was refused.",
            labels=["provider", "kind"],
        )  # fmt: skip
        for kind in FAILURES:
            failed.add_metric([name, kind], standing.failed[kind])
        yield failed
        left = GaugeMetricFamily(
            "weft_ca_provider_issuer_seconds_to_expiry", "Seconds until the first issuer above the newest leaf ends.",
            labels=["provider"],
        )  # fmt: skip
        if standing.issuer_ends is not None:
            left.add_metric([name], (standing.issuer_ends - now).total_seconds())
        yield left


def tell_of(workloads: Workloads | None, registry: CollectorRegistry) -> Callable[[], dict[str, Any] | None]:
    """Have metrics tell of the provider. What the admin API shows; None where Weft signs."""
    if isinstance(workloads, ProvidedAuthority):
        registry.register(ProviderCollector(workloads))
        return lambda: provider_view(workloads)
    if isinstance(workloads, SpireAuthority):
        return lambda: {"name": "spire", "trouble": workloads.trouble}
    return lambda: None


def provider_view(provided: ProvidedAuthority) -> dict[str, Any]:
    """How it stands with the provider, for `weft ca status`. JSON values."""
    standing, record = provided.standing, provided.record
    return {
        "name": provided.provider.name,
        "signed": standing.signed,
        "failed": {kind: standing.failed[kind] for kind in FAILURES},
        "issuer_ends": standing.issuer_ends.isoformat() if standing.issuer_ends is not None else None,
        "roots": [
            _root(certificate, held=entry.held, gone=entry.gone is not None)
            for certificate, entry in zip(record.roots, record.entries, strict=True)
        ],
        "waiting_for": [
            *standing.onlookers.behind[:SHOWN], *standing.onlookers.lacking[:SHOWN], *standing.onlookers.away[:SHOWN]
        ],
        "trouble": standing.trouble,
    }  # fmt: skip


def _root(certificate: x509.Certificate, *, held: bool, gone: bool) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "sha256": fingerprint(certificate),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "state": "on the way out" if gone else "trusted" if held else "being distributed",
    }
