"""The control plane's own metrics, read from its parts when somebody scrapes them; counting costs nothing extra."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.status import Status
from controlplane.view import type_name
from sources.upstream import Upstream
from xds.refusals import Refusals
from xds.resource import SECRET, TYPES
from xds.server import XdsServer
from xds.status import ProxyStatus, State


class ControlPlaneCollector(Collector):
    """Collects from the status and from the xDS server."""

    def __init__(self, status: Status, server: XdsServer) -> None:
        self._status = status
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """All series; every name begins with `weft_`."""
        yield from self._rounds()
        yield from self._streams()

    def _rounds(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        status = self._status
        yield CounterMetricFamily("weft_rounds", "Configurations published.", status.rounds)
        yield CounterMetricFamily("weft_round_failures", "Rounds that failed by a mistake of ours.", status.failures)
        yield GaugeMetricFamily("weft_round_seconds", "How long the newest round took.", status.seconds)
        problems = GaugeMetricFamily("weft_problems", "Mistakes in objects, by severity.", labels=["severity"])
        for severity, count in Counter(str(problem.severity) for problem in status.problems).items():
            problems.add_metric([severity], count)
        yield problems
        if status.upstream is not None:
            yield from _upstream(status.upstream)

    def _streams(self) -> Iterator[Metric]:
        counters = self._server.counters
        yield GaugeMetricFamily("weft_proxies", "Connected proxies.", len(self._server.proxies()))
        yield _by_state(self._server.proxies())
        yield HistogramMetricFamily(
            "weft_convergence_seconds",
            "From a change being handed over by its source until a proxy has acknowledged all that follows.",
            buckets=counters.convergence.buckets(),
            sum_value=counters.convergence.total,
        )
        yield _by_type("weft_xds_pushes", "Responses sent, by resource type.", counters.pushes)
        yield _by_type("weft_xds_pushed_resources", "Resources in those responses, by type.", counters.resources)
        yield _by_type("weft_xds_pushed_bytes", "Bytes sent, by resource type.", counters.bytes)
        yield _by_type("weft_xds_rejections", "Responses that a proxy refused, by resource type.", counters.nacks)
        refused = CounterMetricFamily("weft_xds_refused_streams", "Streams not let in, by status.", labels=["status"])
        for status, count in counters.refused.items():
            refused.add_metric([status], count)
        yield refused
        yield from _refusals(self._server.refusals)
        taps = self._server.taps.counters
        yield CounterMetricFamily("weft_tap_requests", "Requests shown to somebody who watches.", taps.requests)
        yield CounterMetricFamily("weft_tap_dropped", "Messages of watched sidecars that came too fast.", taps.dropped)


def _refusals(refusals: Refusals) -> Iterator[CounterMetricFamily]:
    tokens = CounterMetricFamily("weft_tokens_refused", "Tokens that prove nothing, by reason.", labels=["reason"])
    for reason, count in refusals.by_reason.items():
        tokens.add_metric([reason], count)
    yield tokens
    yield CounterMetricFamily(
        "weft_tokens_turned_away", "Tokens not looked at, after too many refused ones.", refusals.turned_away
    )


def _upstream(upstream: Upstream) -> Iterator[GaugeMetricFamily]:
    in_step = GaugeMetricFamily(
        "weft_source_in_step", "Whether a kind is what the API server says, by kind.", labels=["kind"]
    )
    for kind, state in sorted(upstream.kinds.items()):
        in_step.add_metric([kind], float(state.read and not state.why))
    yield in_step
    since = upstream.stale_since
    yield GaugeMetricFamily(
        "weft_source_stale_since_seconds",
        "Unix time since when what is served may be older than the cluster; 0: it is not.",
        since.timestamp() if since else 0.0,
    )


def _by_state(proxies: Iterable[ProxyStatus]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "weft_proxy_types", "What proxies subscribe to, by resource type and state.", labels=["type", "state"]
    )
    counted = Counter((name, each.state) for proxy in proxies for name, each in proxy.types.items())
    for kind in sorted({kind for kind, _ in counted}):
        for state in State:
            family.add_metric([kind, state], counted[kind, state])
    return family


def _by_type(name: str, meaning: str, counts: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=["type"])
    for type_url in sorted({*TYPES, SECRET, *counts}):  # those that never happened too, so that a first one is seen
        family.add_metric([type_name(type_url)], counts[type_url])
    return family
