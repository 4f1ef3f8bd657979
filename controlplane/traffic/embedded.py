"""Counts read from the sidecars themselves, for meshes without a Prometheus.

Rule: sidecars are asked only while people ask us, and for a while after; nobody who does not use it pays. Whoever asks
first waits for two rounds. Rounds take no more than a fifth of the time, however many sidecars there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from controlplane.traffic import exposition
from controlplane.traffic.facts import LONGEST_WINDOW, Traffic, TrafficError
from controlplane.traffic.http import AnsweredError, Http
from controlplane.traffic.windows import Seen, Windows
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import PodId
from proxy import ports
from proxy.exposition import LARGEST, OWN_PATH, PATH

log = structlog.get_logger(__name__)

INTERVAL: Final = 5.0
"""Seconds between two rounds: as often as Envoy adds to its histograms."""

LINGER: Final = 300.0
"""Seconds that rounds go on after the last question, so that who asks every minute has whole windows."""

SHARE: Final = 4
"""A round is followed by a pause this many times as long at least."""

AT_ONCE: Final = 32
"""Sidecars that are asked together."""

PATIENCE: Final = 4.0
"""Seconds that a sidecar may take."""

FIRST_ANSWER: Final = 30.0
"""Seconds that whoever asks first waits for two rounds."""


@dataclass(frozen=True, slots=True)
class Target:
    """A pod with a sidecar. `uid` is empty where pods have none; `address` is an IP address."""

    pod: PodId
    uid: str
    address: str


Fetch = Callable[[str], Awaitable[str]]
"""The text that is told at the metrics port of an address. Raises OSError or TimeoutError."""


class Embedded:
    """Implements TrafficReader. `targets` gives the pods with a sidecar that run now."""

    def __init__(self, targets: Callable[[], Iterable[Target]], fetch: Fetch, clock: Clock = SYSTEM_CLOCK) -> None:
        self._targets = targets
        self._fetch = fetch
        self._clock = clock
        self._windows = Windows(LONGEST_WINDOW)
        self._asked: float | None = None
        self._wanted = asyncio.Event()
        self._news = asyncio.Condition()

    async def read(self, window: timedelta) -> Traffic:
        """What was counted in the last `window`, or since somebody asked. Raises TrafficError."""
        self._asked = self._clock.passed()
        self._wanted.set()
        try:
            async with asyncio.timeout(FIRST_ANSWER), self._news:
                await self._news.wait_for(lambda: self._windows.ready)
        except TimeoutError:
            raise TrafficError("the sidecars could not be asked twice within half a minute; try again") from None
        return self._windows.read(window)

    async def run(self) -> None:
        """Ask while anybody wants to know, until cancelled."""
        while True:
            await self._wanted.wait()
            # The time of day may be set meanwhile; windows are as long as what passed.
            began, passed = self._clock.now(), self._clock.passed()
            while self._clock.passed() - (self._asked or 0) < LINGER:
                started = self._clock.passed()
                seen = await self._round()
                self._windows.add(began + timedelta(seconds=started - passed), seen)
                async with self._news:
                    self._news.notify_all()
                took = self._clock.passed() - started
                await self._clock.sleep(max(INTERVAL - took, SHARE * took))
            self._wanted.clear()
            self._windows = Windows(LONGEST_WINDOW)

    async def _round(self) -> dict[PodId, Seen]:
        """Ask every sidecar once."""
        turns = asyncio.Semaphore(AT_ONCE)
        targets = list(self._targets())

        async def ask(target: Target) -> Seen:
            async with turns:
                return Seen(target.uid, await self._sample(target))

        answers = await asyncio.gather(*map(ask, targets))
        return {target.pod: seen for target, seen in zip(targets, answers, strict=True)}

    async def _sample(self, target: Target) -> exposition.Sample | None:
        try:
            async with asyncio.timeout(PATIENCE):
                text = await self._fetch(target.address)
        except (OSError, TimeoutError) as error:
            log.debug("a sidecar does not tell", pod=str(target.pod), error=str(error) or type(error).__name__)
            return None
        try:
            return await asyncio.to_thread(exposition.read, target.pod, text)
        except Exception:
            # Whatever somebody made a sidecar say costs that one's counts, and not the control plane.
            log.exception("what a sidecar tells could not be read", pod=str(target.pod))
            return None


def scraper(http: Http) -> Fetch:
    """Fetches by HTTP from the port where sidecars tell."""

    async def fetch(address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        try:
            body = await http.ask("GET", f"http://{host}:{ports.METRICS}{OWN_PATH}", most=LARGEST)
        except AnsweredError as error:
            if error.status != 404:
                raise
            # A sidecar from before there was this path tells all it knows.
            body = await http.ask("GET", f"http://{host}:{ports.METRICS}{PATH}", most=LARGEST)
        return body.decode(errors="replace")

    return fetch
