"""Where everybody asks about traffic: the command line through the admin API, and the metrics API.

Rule: one reader, chosen when the control plane starts: the sidecars themselves, or a Prometheus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controlplane.traffic.answers import Answers
from controlplane.traffic.embedded import Embedded, scraper
from controlplane.traffic.facts import TrafficReader
from controlplane.traffic.http import Http
from controlplane.traffic.inventory import Inventories, Inventory, targets
from controlplane.traffic.prometheus import Prometheus, asker
from sources.store import Store


@dataclass(frozen=True, slots=True)
class Telling:
    """`run` is what has to run meanwhile, until cancelled."""

    reader: TrafficReader
    inventory: Callable[[], Inventory]
    run: Callable[[], Coroutine[Any, Any, None]]

    async def answers(self, window: timedelta) -> Answers:
        """Everything about the last `window`. Raises TrafficError."""
        # A large mesh's inventory takes a while, and streams are served meanwhile.
        return Answers(await self.reader.read(window), await asyncio.to_thread(self.inventory))


def telling(store: Store, cluster_domain: str, prometheus_url: str) -> Telling:
    """What tells of the mesh in this store. Without a URL the sidecars are asked."""
    http, inventories = Http(), Inventories(store, cluster_domain)
    if prometheus_url:
        return Telling(Prometheus(asker(http, prometheus_url)), inventories, http.closed_at_the_end)
    embedded = Embedded(lambda: targets(store.current), scraper(http))

    async def run() -> None:
        try:
            await embedded.run()
        finally:
            await http.close()

    return Telling(embedded, inventories, run)
