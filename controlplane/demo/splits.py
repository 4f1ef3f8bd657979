"""Claims (c) and (d): a TrafficSplit's weights hold to within chance, and its header rule holds exactly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from controlplane.demo.access import CATALOG
from controlplane.demo.claim import Claim
from controlplane.demo.shop import Shop, traffic_split

REQUESTS = 1000
DEVIATIONS = 3
DRAWS = 2
"""A right weight falls outside three standard deviations once in 370 draws, so one such draw is drawn again."""
WEIGHTS = ((90, 10), (50, 50), (0, 100))
CONNECTIONS: dict[str, tuple[str, ...]] = {"one connection": (), "a connection each": ("--no-keep-alive",)}
SPLIT_FILE = "canary/catalog.yaml"
TESTER = ("-H", "x-visitor=tester")
ALMOST_TESTER = ("-H", "x-visitor=testers")


@dataclass(frozen=True, slots=True)
class Draw:
    """How many of some requests each version answered, beside what a binomial distribution lets one expect."""

    requests: int
    connections: int
    answered_by_v2: int
    expected: float
    deviation: float
    all_answered: bool

    @property
    def within(self) -> bool:
        """Whether chance explains the difference: at most three standard deviations; none at 0 and at 100 %."""
        return self.all_answered and abs(self.answered_by_v2 - self.expected) <= DEVIATIONS * self.deviation


def weights_hold(shop: Shop) -> Claim:
    """(c) 1,000 requests for each pair of weights, over one connection and over as many as requests."""
    measured: dict[str, Any] = {}
    told: list[str] = []
    holds = True
    for weights in WEIGHTS:
        set_weights(shop, *weights)
        shop.settle()
        pair = f"{weights[0]}/{weights[1]}"
        for how, options in CONNECTIONS.items():
            draws = _draws(shop, weights, options)
            holds = holds and draws[-1].within
            measured[f"{pair} over {how}"] = [{**asdict(draw), "within": draw.within} for draw in draws]
        told.append(f"{pair}: " + " and ".join(_told(measured[f"{pair} over {how}"]) for how in CONNECTIONS))
    sentence = f"{REQUESTS:,} requests follow each pair of weights to within three standard deviations"
    return Claim("c", sentence, holds, "; ".join(told) + "; over one connection and over one each", measured)


def testers_see_version_2(shop: Shop) -> Claim:
    """(d) Everybody has version 1, but for visitors whose header says so."""
    set_weights(shop, 100, 0)
    shop.apply("ab")
    asked = {"tester": TESTER, "almost": ALMOST_TESTER, "nobody": ()}
    versions = {
        who: shop.ask("storefront", CATALOG, "--count", "100", *header)["versions"] for who, header in asked.items()
    }
    holds = versions == {"tester": {"v2": 100}, "almost": {"v1": 100}, "nobody": {"v1": 100}}
    told = "100 of 100 with `x-visitor: tester` got version 2, 200 of 200 without it version 1"
    return Claim("d", "The A/B split follows the header", holds, told if holds else f"{versions}", versions)


def set_weights(shop: Shop, v1: int, v2: int) -> int:
    """Write the canary's weights; the moment before (`Shop.write`)."""
    return shop.write(SPLIT_FILE, [traffic_split("catalog-canary", "catalog", {"catalog-v1": v1, "catalog-v2": v2})])


def draw(counts: dict[str, Any], share: float) -> Draw:
    """What a client counted, as a draw of version 2 with this share."""
    requests = counts["requests"]
    return Draw(
        requests=requests,
        connections=counts["connections"],
        answered_by_v2=counts["versions"].get("v2", 0),
        expected=requests * share,
        deviation=round(math.sqrt(requests * share * (1 - share)), 3),
        all_answered=counts["statuses"] == {"200": requests},
    )


def _draws(shop: Shop, weights: tuple[int, int], options: tuple[str, ...]) -> list[Draw]:
    draws: list[Draw] = []
    while len(draws) < DRAWS and not (draws and draws[-1].within):
        counts = shop.ask("storefront", CATALOG, "--count", str(REQUESTS), *options)
        draws.append(draw(counts, weights[1] / sum(weights)))
    return draws


def _told(draws: list[dict[str, Any]]) -> str:
    last = draws[-1]
    failed = "" if last["all_answered"] else ", not all answered"
    return f"{last['requests'] - last['answered_by_v2']}/{last['answered_by_v2']}{failed}"
