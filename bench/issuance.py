"""How fast the CA is on one core. Rule: prints what it measured, nothing else.

`python bench/issuance.py [identities]`, by default 1,000 at once.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import structlog

from ca.authority import Authority
from mesh.model import Identity

DOMAIN = "cluster.local"
ROUNDS = 5


def identities(count: int) -> list[Identity]:
    return [Identity(DOMAIN, f"namespace-{number % 50}", f"service-{number}") for number in range(count)]


async def at_once(authority: Authority, count: int) -> tuple[float, float]:
    """Seconds until all who ask at once are served, and the longest the event loop was held up meanwhile."""
    longest, last = 0.0, time.perf_counter()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    asking = [asyncio.create_task(authority.secrets(identity)) for identity in identities(count)]
    # All have got to the point where they wait for their leaf; what counts is the loop while they do.
    await asyncio.sleep(0)
    started = last = time.perf_counter()
    watching = asyncio.create_task(watch())
    await asyncio.gather(*asking)
    seconds = time.perf_counter() - started
    watching.cancel()
    authority.forget(identities(count))
    return seconds, longest


async def one_by_one(authority: Authority, count: int) -> float:
    """Seconds of processor time."""
    started = time.process_time()
    for identity in identities(count):
        await authority.secrets(identity)
    seconds = time.process_time() - started
    authority.forget(identities(count))
    return seconds


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.open(Path(folder) / "ca", DOMAIN)
        alone = [await one_by_one(authority, count) for _ in range(ROUNDS)]
        together = [await at_once(authority, count) for _ in range(ROUNDS)]
    seconds = statistics.median(seconds for seconds, _ in together)
    longest = statistics.median(longest for _, longest in together)
    each = statistics.median(alone) / count
    print(f"from key to SDS secret: {1 / each:,.0f} leaves a second of processor time, {each * 1e6:.0f} µs each")
    print(f"{count:,} identities at once: all served after {seconds * 1e3:.0f} ms (median of {ROUNDS} rounds)")
    print(f"the event loop was held up for {longest * 1e3:.2f} ms at the longest (median of {ROUNDS} rounds)")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))


if __name__ == "__main__":
    main()
