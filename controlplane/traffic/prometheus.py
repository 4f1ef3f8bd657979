"""The same counts asked of a Prometheus that scrapes the sidecars (deploy/observability/prometheus.yaml).

Rule: one question for requests and two for connections, whatever is asked of us; rows carry the same labels as the
sidecars' own. Prometheus' `increase` reaches beyond the samples it has, so counts have fractions.
Source: Prometheus documentation, "HTTP API", "Query functions".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any, Final

import msgspec

from controlplane.traffic.exposition import COUNTERS, HISTOGRAM, Raw, series_of
from controlplane.traffic.facts import Series, Traffic, TrafficError
from controlplane.traffic.http import Http
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import PodId
from proxy.exposition import BUCKETS

LABELS: Final = (
    "namespace, pod, reporter, source_principal, destination_principal, destination_workload, "
    "destination_workload_namespace, destination_service, requested_service, response_code, grpc_response_status"
)
"""By what is summed; `namespace` and `pod` are the target's."""

PATIENCE: Final = 20.0
"""Seconds that Prometheus may take."""

_PLACES: Final = {**{float(limit): place for place, limit in enumerate(BUCKETS)}, float("inf"): len(BUCKETS)}


class _Element(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(msgspec.Struct):
    result: list[_Element]


Ask = Callable[[str], Awaitable[Any]]
"""The decoded `data` of an instant query. Raises TrafficError."""


class Prometheus:
    """Implements TrafficReader."""

    def __init__(self, ask: Ask, clock: Clock = SYSTEM_CLOCK) -> None:
        self._ask = ask
        self._clock = clock

    async def read(self, window: timedelta) -> Traffic:
        """What Prometheus says was counted in the last `window`. Raises TrafficError."""
        span = f"[{max(1, round(window.total_seconds()))}s]"
        now = self._clock.now()
        raws: dict[Series, Raw] = {}
        for series, labels, value in await self._rows(f"sum by (le, {LABELS}) (increase({HISTOGRAM}{span}))"):
            raw = raws.setdefault(series, Raw(series))
            raw.buckets = raw.buckets or [0.0] * (len(BUCKETS) + 1)
            if (place := _place(labels.get("le", ""))) is not None:
                raw.buckets[place] += value
        grown = " or ".join(
            f'label_replace(sum by ({LABELS}) (increase({name}{span})), "counter", "{counter}", "", "")'
            for name, counter in COUNTERS.items()
        )
        for series, labels, value in await self._rows(grown):
            if (counter := labels.get("counter", "")) in COUNTERS.values():
                counters = raws.setdefault(series, Raw(series)).counters
                counters[counter] = counters.get(counter, 0) + value
        counts = {series: each for series, raw in raws.items() if (each := raw.counts())}
        return Traffic(now - window, now, counts, await self._open())

    async def _open(self) -> dict[Series, float]:
        opened, closed = (f"sum by ({LABELS}) ({name})" for name in list(COUNTERS)[:2])
        found: dict[Series, float] = {}
        for series, _, value in await self._rows(f"{opened} - ({closed} or 0 * {opened})"):
            found[series] = found.get(series, 0) + value
        return {series: value for series, value in found.items() if value > 0}

    async def _rows(self, query: str) -> list[tuple[Series, Mapping[str, str], float]]:
        return list(_read(await self._ask(query)))


def _read(data: object) -> Iterator[tuple[Series, Mapping[str, str], float]]:
    """Series, labels and value of each element of an instant vector."""
    try:
        for element in msgspec.convert(data, _Vector).result:
            pod = PodId(element.metric.get("namespace", ""), element.metric.get("pod", ""))
            value = float(element.value[1])
            if isfinite(value) and (series := series_of(pod, element.metric)) is not None:
                yield series, element.metric, value
    except (msgspec.ValidationError, ValueError) as error:
        raise TrafficError(f"Prometheus' answer can't be read: {error}") from None


def _place(limit: str) -> int | None:
    """Which bucket has this upper limit."""
    try:
        return _PLACES.get(float(limit))
    except ValueError:
        return None


def asker(http: Http, url: str) -> Ask:
    """Asks the Prometheus at `url`, such as `http://prometheus.monitoring:9090`, by its HTTP API."""

    async def ask(query: str) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                document = msgspec.json.decode(
                    await http.ask("POST", f"{url.rstrip('/')}/api/v1/query", form={"query": query})
                )
        except (OSError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TrafficError(f"Prometheus at {url} does not tell: {error or type(error).__name__}") from None
        return document.get("data") if isinstance(document, dict) else None

    return ask
