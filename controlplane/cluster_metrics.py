"""Metrics of a replica in a cluster, read from its parts when somebody scrapes them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.cluster import Cluster
from kube.durations import Durations


class ClusterCollector(Collector):
    """Collects from the lease, the duties, the Events and the checks of tokens."""

    def __init__(self, cluster: Cluster, latency: Durations) -> None:
        """`latency` is the API server's."""
        self._cluster = cluster
        self._latency = latency

    def collect(self) -> Iterator[Metric]:
        """All series; every name begins with `weft_`."""
        cluster = self._cluster
        yield GaugeMetricFamily("weft_leader", "Whether this replica holds the lease.", int(cluster.leadership.leading))
        yield CounterMetricFamily(
            "weft_leader_transitions", "How often it became the holder.", cluster.leadership.transitions
        )
        yield CounterMetricFamily(
            "weft_events_written", "Events written or counted.", sum(each.written for each in cluster.announcers)
        )
        yield GaugeMetricFamily(
            "weft_events_waiting",
            "Events held back by the rate limit.",
            sum(each.waiting for each in cluster.announcers),
        )
        yield GaugeMetricFamily(
            "weft_ca_trouble", "Whether the CA can't be kept.", int(bool(cluster.authority.trouble))
        )
        tokens = CounterMetricFamily("weft_tokens", "Tokens of proxies, by what became of them.", labels=["outcome"])
        for outcome, count in cluster.reviewer.counted.items():
            tokens.add_metric([outcome], count)
        yield tokens
        yield from self._duties()
        yield HistogramMetricFamily(
            "weft_api_request_duration_seconds",
            "How long the API server took to begin an answer; for a watch, until it was open.",
            buckets=self._latency.buckets(),
            sum_value=self._latency.total,
        )

    def _duties(self) -> Iterator[CounterMetricFamily]:
        duties = self._cluster.duties
        family = CounterMetricFamily("weft_duties", "Duties of the lease holder.", labels=["duty", "outcome"])
        for outcome, counts in (("done", duties.done), ("failed", duties.failed)):
            for name, count in counts.items():
                family.add_metric([name, outcome], count)
        yield family
