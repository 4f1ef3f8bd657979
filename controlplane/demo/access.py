"""Claims (a) and (b): nobody may call until a TrafficTarget lets them, and then only those it names."""

from __future__ import annotations

from typing import Any

from controlplane.demo.claim import Claim
from controlplane.demo.shop import Shop

CALLERS = ("storefront", "catalog-v1", "intruder")
URLS = ("http://storefront/", "http://catalog/", "http://catalog-v1/", "http://catalog-v2/")
CATALOG = "http://catalog/"
INVENTORY = "inventory:9000"
OWN_PAGE = "http://127.0.0.1:8080/"
"""The storefront's page as its own pod sees it. Nothing on loopback goes through a sidecar."""


def nobody_may_call(shop: Shop) -> Claim:
    """(a) Before there is any TrafficTarget: every caller against every service, over HTTP and over TCP."""
    answers = {f"{caller} → {url}": status(shop, caller, url) for caller in CALLERS for url in URLS}
    closed = {f"{caller} → {INVENTORY}": refused_on_tcp(shop, caller) for caller in CALLERS}
    holds = set(answers.values()) == {403} and all(closed.values())
    told = f"{len(answers)} HTTP calls answered 403, {len(closed)} TCP connections closed"
    return Claim(
        "a", "Without TrafficTargets every call is refused", holds,
        told if holds else f"answers: {unlike(answers, 403)}, TCP closed: {closed}",
        {"statuses": answers, "tcp_closed": closed},
    )  # fmt: skip


def only_the_named_may_call(shop: Shop) -> Claim:
    """(b) With the example's TrafficTargets: the page is complete, and the intruder is where it was."""
    shop.apply("access")
    page = shop.ask("storefront", OWN_PAGE)["last"]
    got = {
        "storefront → GET catalog": status(shop, "storefront", CATALOG),
        "storefront → DELETE catalog": status(shop, "storefront", CATALOG, "--method", "DELETE"),
        "intruder → GET catalog": status(shop, "intruder", CATALOG),
    }
    wanted = dict(zip(got, (200, 403, 403), strict=True))
    items = page["catalog"].get("items") if isinstance(page.get("catalog"), dict) else None
    closed = refused_on_tcp(shop, "intruder")
    holds = got == wanted and bool(items) and closed
    told = "storefront 200, through to the inventory; its DELETE 403; intruder 403, and closed on TCP"
    return Claim(
        "b", "With them the storefront gets 200 and the intruder still 403", holds,
        told if holds else f"{got}, page {page}, intruder on TCP {'closed' if closed else 'served'}",
        {"statuses": got, "page": page, "intruder_tcp_closed": closed},
    )  # fmt: skip


def status(shop: Shop, caller: str, url: str, *options: str) -> int:
    """The status of one request; 0 when it was not answered."""
    return int(next(iter(shop.ask(caller, url, *options)["statuses"]), 0))


def refused_on_tcp(shop: Shop, caller: str) -> bool:
    """Whether the inventory's connection is closed without a line answered."""
    said = shop.finish(shop.start(caller, "talk", INVENTORY))
    return said["lines"] == 0 and bool(said["failure"])


def unlike(answers: dict[str, int], wanted: int) -> dict[str, Any]:
    """The answers that are not as wanted."""
    return {call: answer for call, answer in answers.items() if answer != wanted}
