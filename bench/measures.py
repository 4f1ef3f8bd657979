"""The measurements: each takes a size, runs the whole way from a manifest to the last ACK, and returns plain numbers.

Rule: an event is the renaming of the changed file (of a certificate: the order to replace it); it ends for a stream
when its ACK has been handed to TLS. Nothing is discarded but the first change, which warms up.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from bench.lab import Lab, Wire
from bench.world import Size

QUIET: Final = 300
"""Milliseconds without a message after which a change is over."""
LIMIT: Final = 60_000
"""Milliseconds a measurement waits for what should come."""
CHANGES: Final = 20
STALE_SERVICES: Final = 50
SAMPLE: Final = 20
"""Of every so manieth stream, all marks are recorded (bench/client/load.c)."""

ONE_EACH: Final = Wire()
"""A connection and a TLS session for each proxy."""

Result = dict[str, Any]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def converge(size: Size, change: str, wire: Wire = ONE_EACH) -> Result:
    """One change at a time, each when the one before has come to rest."""
    with Lab(size, wire) as lab:
        _all_synced(lab, "open fresh")
        changes: dict[str, Callable[[int], float]] = {
            "endpoint": lambda number: lab.folder.endpoint(0, number),
            "split": lab.folder.split,
            "target": lab.folder.target,
            "certificate": lambda _: lab.certificate("sa0"),
        }
        told = _first_change(lab, changes[change])
        before, costs = lab.stats(), lab.costs()
        taken = [_one_change(lab, changes[change], number, told) for number in range(2, CHANGES + 2)]
        after, spent = lab.stats(), lab.costs()
    latencies = [latency for one in taken for latency, _ in one]
    pushes = after["pushes"] - before["pushes"]
    server_ms = spent.server - costs.server
    return {
        **_about(size, wire),
        "change": change,
        "changes": CHANGES,
        "streams_told": pushes / CHANGES,
        "p50_ms": _ms(percentile(latencies, 0.5)),
        "p99_ms": _ms(percentile(latencies, 0.99)),
        "last_ms": _ms(statistics.median(max(latency for latency, _ in one) for one in taken)),
        "first_ms": _ms(statistics.median(min(latency for latency, _ in one) for one in taken)),
        "round_ms": round(after["round_ms"], 2),
        "server_cpu_ms": round(server_ms / CHANGES, 2),
        "client_cpu_ms": round((spent.client - costs.client) / CHANGES, 2),
        "server_cpu_us_per_push": round(server_ms * 1000 / pushes, 1),
        "bytes_per_proxy": round(sum(size for one in taken for _, size in one) / len(latencies)),
        "assembled": (after["assembled"] - before["assembled"]) / CHANGES,
        "wakeups": (after["wakeups"] - before["wakeups"]) / CHANGES,
        "rss_mb": round(after["rss_mb"], 1),
    }


def sync(size: Size, wire: Wire = ONE_EACH) -> Result:
    """All proxies come at once: with nothing, and again with all they had."""
    with Lab(size, wire) as lab:
        empty = lab.stats()
        fresh = _storm(lab, "open fresh")
        held = lab.stats()
        lab.client("close")
        _until_alone(lab)
        resumed = _storm(lab, "open resume")
        after = lab.stats()
    return {
        **_about(size, wire),
        "fresh": fresh,
        "reconnect": resumed,
        "rss_mb_without_proxies": round(empty["rss_mb"], 1),
        "rss_mb": round(held["rss_mb"], 1),
        "rss_kb_per_proxy": round((held["rss_mb"] - empty["rss_mb"]) * 1024 / size.proxies, 1),
        "rss_mb_after_reconnect": round(after["rss_mb"], 1),
    }


def churn(size: Size, rate: float, seconds: float, wire: Wire = ONE_EACH) -> Result:
    """Endpoints of 50 services change in turn, `rate` times a second."""
    with Lab(size, wire) as lab:
        _all_synced(lab, "open fresh")
        services = min(STALE_SERVICES, size.services)
        before, costs = lab.stats(), lab.costs()
        events: list[tuple[int, float]] = [(0, 0.0)]
        began = time.monotonic()
        while (due := began + len(events) / rate) < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            service = len(events) % services
            events.append((service, lab.folder.endpoint(service, len(events))))
        lasted = time.monotonic() - began
        after_events, spent = lab.stats(), lab.costs()
        lab.client(f"quiet 1000 {LIMIT} 1")
        staleness, unseen = _staleness(events, lab.take(), size.proxies)
        after = lab.stats()
    pushes = after_events["pushes"] - before["pushes"]
    server_ms = spent.server - costs.server
    return {
        **_about(size, wire),
        "asked_per_second": rate,
        "changes_per_second": round((len(events) - 1) / lasted, 1),
        "seconds": round(lasted, 1),
        "staleness_p50_ms": _ms(percentile(staleness, 0.5)),
        "staleness_p99_ms": _ms(percentile(staleness, 0.99)),
        "staleness_worst_ms": _ms(max(staleness)),
        "never_arrived": unseen,
        "rounds_per_second": round((after_events["rounds"] - before["rounds"]) / lasted, 1),
        "pushes_per_second": round(pushes / lasted),
        "server_cpu_percent": round(server_ms / lasted / 10, 1),
        "client_cpu_percent": round((spent.client - costs.client) / lasted / 10, 1),
        "server_cpu_us_per_push": round(server_ms * 1000 / pushes, 1) if pushes else None,
        "rss_mb": round(after["rss_mb"], 1),
    }


def growth(services: Sequence[int], proxies: Sequence[int], still: int) -> list[Result]:
    """`sync` and one endpoint change at sizes that grow, first in services and then in proxies."""
    sizes = [Size(proxies=still, services=count) for count in services]
    sizes += [Size(proxies=count, services=still) for count in proxies]
    found = []
    for size in sizes:
        with Lab(size, ONE_EACH) as lab:
            empty = lab.stats()
            fresh = _storm(lab, "open fresh")
            held = lab.stats()
            change = partial(lab.folder.endpoint, 0)
            told = _first_change(lab, change)
            before = lab.costs()
            taken = [_one_change(lab, change, number, told) for number in range(2, 7)]
            after = lab.stats()
            found.append({
                **_about(size, ONE_EACH),
                "storm_s": fresh["all_synced_s"],
                "storm_cpu_s": fresh["server_cpu_s"],
                "change_last_ms": _ms(statistics.median(max(latency for latency, _ in one) for one in taken)),
                "change_cpu_ms": round((after["cpu_ms"] - before.server) / len(taken), 2),
                "round_ms": round(after["round_ms"], 2),
                "rss_mb_without_proxies": round(empty["rss_mb"], 1),
                "rss_mb": round(held["rss_mb"], 1),
            })  # fmt: skip
    return found


def _about(size: Size, wire: Wire) -> Result:
    shared = f"{wire.connections} TLS connections for all proxies"
    mode = shared if wire.connections else "one connection and TLS per proxy"
    how = {"mode": mode, "transport": str(wire.transport)}
    return {"proxies": size.proxies, "services": size.services, "access": str(size.access), **how}


def _all_synced(lab: Lab, command: str) -> None:
    """Open all streams and wait till each has all its first answers, and no further part of any follows."""
    lab.client(command)
    _, synced, ended, _ = lab.client(f"synced {LIMIT}")
    if int(synced) != lab.size.proxies or int(ended):
        raise SystemExit(f"{synced} of {lab.size.proxies} streams are in step, {ended} have ended")
    lab.client(f"quiet {QUIET} {LIMIT} 0")


def _storm(lab: Lab, command: str) -> Result:
    before, stats = lab.costs(), lab.stats()
    lab.take()
    began = time.monotonic()
    _all_synced(lab, command)
    after, costs = lab.stats(), lab.costs()
    ready: defaultdict[int, float] = defaultdict(float)
    sent: defaultdict[int, int] = defaultdict(int)
    for when, stream, size, kind, _ in lab.take():
        ready[stream] = max(ready[stream], when)
        sent[kind] += size
    kinds = ("clusters", "endpoints", "listeners", "routes", "extensions", "secrets")
    return {
        "all_synced_s": round(max(ready.values()) - began, 3),
        "p50_s": round(percentile(list(ready.values()), 0.5) - began, 3),
        "server_cpu_s": round((costs.server - before.server) / 1000, 3),
        "client_cpu_s": round((costs.client - before.client) / 1000, 3),
        "bytes_per_proxy": {kinds[kind]: round(total / lab.size.proxies) for kind, total in sorted(sent.items())},
        "assembled": after["assembled"] - stats["assembled"],
    }


def _until_alone(lab: Lab) -> None:
    began = time.monotonic()
    while lab.streams():
        if time.monotonic() - began > LIMIT / 1000:
            raise SystemExit("the server keeps streams whose clients are gone")
        time.sleep(0.05)


def _first_change(lab: Lab, change: Callable[[int], float]) -> int:
    """Warms up, and tells how many messages one change brings about."""
    told = len(_one_change(lab, change, 1, 1))
    lab.client(f"quiet {5 * QUIET} {LIMIT} 0")
    return told + len(lab.take())


def _one_change(lab: Lab, change: Callable[[int], float], number: int, least: int) -> list[tuple[float, int]]:
    """Seconds and bytes of each message that followed, of which there will be so many at least."""
    lab.take()
    began = change(number)
    lab.client(f"quiet {QUIET} {LIMIT} {least}")
    return [(when - began, size) for when, _, size, _, _ in lab.take()]


def _staleness(
    events: Sequence[tuple[int, float]], taken: Sequence[tuple[float, int, int, int, int]], proxies: int
) -> tuple[list[float], int]:
    """For each change and each sampled stream: seconds until it, or a later one of its service, was acknowledged."""
    heard: defaultdict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for when, stream, _, _, mark in taken:
        if mark and stream % SAMPLE == 0:
            heard[stream, events[mark][0]].append((when, mark))
    found: list[float] = []
    changes: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for number, (service, when) in enumerate(events[1:], 1):
        changes[service].append((number, when))
    unseen = 0
    for stream in range(0, proxies, SAMPLE):
        for service, made in changes.items():
            coming = heard[stream, service]
            place = 0
            for number, began in made:
                while place < len(coming) and coming[place][1] < number:
                    place += 1
                if place == len(coming):
                    unseen += 1
                else:
                    found.append(coming[place][0] - began)
    return found, unseen


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
