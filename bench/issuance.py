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
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from ca.authority import Authority, leaf_secret
from ca.issuance import Issuance, key_pem
from ca.issuers import new_key
from ca.providers.authority import ProvidedAuthority, ProvidedSettings
from ca.providers.handed_over import HandedOver, folder_reader
from ca.providers.own import OwnIssuers
from ca.providers.records import FolderRecords
from ca.storage import Folder
from kube.clock import SYSTEM_CLOCK
from mesh.model import Identity

DOMAIN = "cluster.local"
LEAF = timedelta(hours=24)
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


def parts(authority: Authority, count: int) -> dict[str, float]:
    """Seconds of processor time for each step of `count` leaves."""
    issuance = Issuance(authority.issuers.intermediate, DOMAIN, LEAF, lambda: 0.5)
    whole = issuance.workload(identities(1)[0], SYSTEM_CLOCK.now())
    key = new_key()
    steps: dict[str, Callable[[], object]] = {
        "key": new_key,
        "certificate": lambda: issuance.certified(identities(1)[0], key.public_key(), SYSTEM_CLOCK.now()),
        "key as PEM": lambda: key_pem(key),
        "SDS secret": lambda: leaf_secret(whole),
    }
    found: dict[str, float] = {}
    for name, step in steps.items():
        started = time.process_time()
        for _ in range(count):
            step()
        found[name] = time.process_time() - started
    return found


async def provided(folder: Path, authority: Authority, count: int) -> float:
    """Seconds of processor time where an intermediate that was handed over signs: a request and checks come on top."""
    issuers = authority.issuers
    for name, content in {
        "ca-cert.pem": issuers.intermediate.certificate_pem, "ca-key.pem": key_pem(issuers.intermediate.key),
        "root-cert.pem": issuers.root.certificate_pem,
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    handed = HandedOver(folder_reader(folder), DOMAIN, SYSTEM_CLOCK, str(folder))
    own = OwnIssuers(lambda: authority.issuers, DOMAIN, LEAF, SYSTEM_CLOCK)
    settings = ProvidedSettings(trust_domain=DOMAIN, leaf=LEAF)
    signing = ProvidedAuthority(handed, own, FolderRecords(Folder.open(folder)), settings, SYSTEM_CLOCK, lambda: 0.5)
    await signing.begin()
    started = time.process_time()
    for identity in identities(count):
        await signing.secrets(identity)
    return time.process_time() - started


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.open(Path(folder) / "ca", DOMAIN)
        alone = [await one_by_one(authority, count) for _ in range(ROUNDS)]
        together = [await at_once(authority, count) for _ in range(ROUNDS)]
        steps = parts(authority, count)
        by_provider = await provided(Path(folder), authority, count) / count
    seconds = statistics.median(seconds for seconds, _ in together)
    longest = statistics.median(longest for _, longest in together)
    each = statistics.median(alone) / count
    print(f"from key to SDS secret: {1 / each:,.0f} leaves a second of processor time, {each * 1e6:.0f} µs each")
    print("of which: " + ", ".join(f"{name} {seconds / count * 1e6:.0f} µs" for name, seconds in steps.items()))
    print(f"by an intermediate that was handed over, request and checks included: {by_provider * 1e6:.0f} µs each")
    print(f"{count:,} identities at once: all served after {seconds * 1e3:.0f} ms (median of {ROUNDS} rounds)")
    print(f"the event loop was held up for {longest * 1e3:.2f} ms at the longest (median of {ROUNDS} rounds)")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))


if __name__ == "__main__":
    main()
