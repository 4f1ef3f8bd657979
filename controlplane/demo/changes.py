"""Claims (f) and (g): how soon a change of a file is felt by the next request, and that none is lost on the way."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from controlplane.demo.access import CATALOG, INVENTORY
from controlplane.demo.claim import Claim
from controlplane.demo.shop import Shop, ShopError
from controlplane.demo.splits import set_weights

TIMES = 5
GRANT_FILE = "access/catalog.yaml"
LOAD_SECONDS = 3.0
WORKERS = 4
CHANGE_EVERY = 0.2
CHANGES = ((100, 0), (0, 100), (50, 50), (1, 99))
Weights = tuple[int, int]


def a_change_is_felt_soon(shop: Shop) -> Claim:
    """(f) From writing the file to the first answer that shows the change; for a weight, a revocation, a grant."""
    shop.remove("ab/catalog.yaml")
    set_weights(shop, 100, 0)
    shop.settle()
    grant = (shop.folder / GRANT_FILE).read_text()
    to_v1, to_v2 = partial(set_weights, shop, 100, 0), partial(set_weights, shop, 0, 100)
    ways: dict[str, tuple[Callable[[], int], tuple[str, ...]]] = {
        "weight": (to_v2, ("--version", "v2")),
        "weight back": (to_v1, ("--version", "v1")),
        "revoked": (partial(shop.remove, GRANT_FILE), ("--status", "403")),
        "granted": (partial(shop.write_text, GRANT_FILE, grant), ("--status", "200")),
    }
    felt: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, (change, options)) in itertools.product(range(TIMES), ways.items()):
        felt[name].append(_milliseconds_until_felt(shop, change, options))
    medians = {name: round(statistics.median(values), 1) for name, values in felt.items()}
    told = ", ".join(f"{name} {median} ms" for name, median in medians.items())
    measured = {"median_ms": medians, "all_ms": felt}
    sentence = "A change of a file is felt by requests within milliseconds"
    return Claim("f", sentence, True, f"{told} (medians of {TIMES})", measured)


def no_request_is_lost(shop: Shop) -> Claim:
    """(g) Weights change five times a second under load, beside one long TCP connection."""
    loading = shop.start("storefront", "load", CATALOG, "--seconds", str(LOAD_SECONDS), "--workers", str(WORKERS))
    talking = shop.start("catalog-v1", "talk", INVENTORY, "--seconds", str(LOAD_SECONDS))
    end = time.monotonic() + LOAD_SECONDS
    changes = 0
    for weights in itertools.cycle(CHANGES):
        if time.monotonic() > end:
            break
        set_weights(shop, *weights)
        changes += 1
        time.sleep(CHANGE_EVERY)
    counts, said = shop.finish(loading), shop.finish(talking)
    measured = {"changes": changes, "http": counts, "tcp": said}
    holds = _all_answered(counts) and said["lines"] > 0 and not said["failure"]
    told = (
        f"{changes} changes, {counts['requests']:,} requests, all answered 200 by {' and '.join(counts['versions'])};"
        f" one TCP connection, {said['lines']} lines"
    )
    failed = f"{counts['failed']} unanswered, {counts['statuses']}, {counts['failures']}, TCP: {said}"
    return Claim("g", "A change of weights under load loses no request", holds, told if holds else failed, measured)


def _all_answered(counts: dict[str, Any]) -> bool:
    return bool(counts["failed"] == 0 and set(counts["statuses"]) == {"200"} and len(counts["versions"]) == 2)


def _milliseconds_until_felt(shop: Shop, change: Callable[[], int], options: tuple[str, ...]) -> float:
    """Asks without a pause, makes the change, and takes the moment the first answer of the new kind had arrived."""
    asking = shop.start("storefront", "wait-for", CATALOG, *options)
    assert asking.stdout is not None  # noqa: S101 - the shop opens all three
    asking.stdout.readline()  # The first answer has arrived.
    before = change()
    seen = shop.finish(asking)
    if seen["at"] is None or seen["requests"] < 2:
        raise ShopError(f"a change was not felt: {' '.join(options)}; {seen['statuses']}, {seen['versions']}")
    return round((int(seen["at"]) - before) / 1e6, 2)
