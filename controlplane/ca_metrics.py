"""Metrics of the certificate authority, read when somebody scrapes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ca.authority import Authority
from ca.rotation import NOBODY
from controlplane.ca_api import domain_phase, phase
from kube.clock import SYSTEM_CLOCK, Clock

PHASES = ("none", "distribute", "drain")


class Leaves(Protocol):
    """Who keeps workloads' leaves."""

    @property
    def leaves_end(self) -> tuple[datetime, ...]:
        """When each of them ends."""


class AuthorityCollector(Collector):
    """Collects from the authority; seconds to expiry are negative once it is over."""

    def __init__(self, authority: Authority, clock: Clock = SYSTEM_CLOCK, leaves: Leaves | None = None) -> None:
        """`leaves` is who keeps those of workloads, where the authority does not."""
        self._authority = authority
        self._leaves = leaves or authority
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All series; every name begins with `weft_`."""
        now, issuers = self._clock.now(), self._authority.issuers
        left = GaugeMetricFamily(
            "weft_ca_seconds_to_expiry", "Seconds until an issuer ends, by issuer.", labels=["issuer"]
        )
        for name, issuer in (("root", issuers.root), ("intermediate", issuers.intermediate)):
            left.add_metric([name], (issuer.validity.not_after - now).total_seconds())
        yield left
        ends = self._leaves.leaves_end
        yield GaugeMetricFamily("weft_leaves", "Workloads' certificates in use.", len(ends))
        soonest = (min(ends) - now).total_seconds() if ends else None
        yield GaugeMetricFamily("weft_leaf_seconds_to_expiry", "Seconds until the first of them ends.", soonest)
        rotation = GaugeMetricFamily(
            "weft_ca_rotation_phase", "1 for the phase that a rotation of the root is in.", labels=["phase"]
        )
        for name in PHASES:
            rotation.add_metric([name], float(phase(issuers) == name))
        yield rotation
        naming = GaugeMetricFamily(
            "weft_ca_trust_domain_phase", "1 for the phase that a change of the trust domain is in.", labels=["phase"]
        )
        for name in PHASES:
            naming.add_metric([name], float(domain_phase(issuers) == name))
        yield naming
        progress = self._authority.progress
        seen = progress.onlookers if progress is not None else NOBODY
        waiting = GaugeMetricFamily(
            "weft_ca_rotation_waiting", "For how many the next step of a rotation waits, by what they are.",
            labels=["kind"],
        )  # fmt: skip
        for kind, names in (("replica", seen.behind), ("connected_proxy", seen.lacking), ("away_proxy", seen.away)):
            waiting.add_metric([kind], len(names))
        yield waiting
