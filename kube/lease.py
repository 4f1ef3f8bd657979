"""Leadership by a Lease: of all replicas at most one is the holder, and it knows when it no longer may be.

Rule: no two clocks are ever compared. A follower measures with its own clock how long the Lease has not changed; the
holder counts from before it sent the renewal that got through, and ends by itself before anybody may follow.
Source: Kubernetes API reference, coordination.k8s.io/v1 Lease.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import SYSTEM_CLOCK, Clock

GROUP: Final = "/apis/coordination.k8s.io/v1"
CONFLICT: Final = 409
NOT_FOUND: Final = 404
FAREWELL: Final = 2.0
"""Seconds for giving the Lease back when we end."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Which Lease, who we are, and the times in seconds.

    `duration`: a Lease unchanged for so long may be taken. `deadline`: without a renewal for so long the holder stops.
    `retry`: between two looks.
    """

    namespace: str
    identity: str
    name: str = "weft-leader"
    duration: int = 15
    deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.deadline < self.duration:
            raise ValueError("a lease needs retry < deadline < duration")


class Leadership:
    """Stands for election and runs something while it is the holder."""

    def __init__(
        self,
        client: Client,
        settings: LeaseSettings,
        clock: Clock = SYSTEM_CLOCK,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._collection = f"{GROUP}/namespaces/{settings.namespace}/leases"
        self._path = f"{self._collection}/{settings.name}"
        self._version = ""
        """The Lease's resourceVersion as last seen, and when we first saw it."""
        self._since = 0.0
        self._good_until = 0.0
        self._trouble = ""
        self.holder = ""
        """Who holds the Lease as far as we know; empty when nobody does or we could not ask yet."""
        self.leading = False
        """Whether we are the holder and may write."""
        self.transitions = 0
        """How often we became the holder."""
        self.looks = 0
        """How often we tried to take or renew the Lease."""

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Stand for election until cancelled; then the Lease is given back, so that another need not wait.

        `lead` is started each time we become the holder and cancelled as soon as we may no longer be it. When it ends
        or fails by itself the Lease is given back, too.
        """
        while True:
            if await self._try():
                await self._hold(lead)
            await self._clock.sleep(self._settings.retry * (1 + 0.2 * self._chance()))

    async def _hold(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.leading = True
        self.transitions += 1
        log.info("became the holder of the lease", lease=self._settings.name, identity=self._settings.identity)
        work = asyncio.create_task(lead(), name="duties of the lease holder")
        renewal = asyncio.create_task(self._renew(), name="lease renewal")
        try:
            await asyncio.wait((work, renewal), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.leading = False
            lost = renewal.done()
            await _end(work)
            await _end(renewal)
            log.info("no longer the holder of the lease", lease=self._settings.name, lost=lost)
            if not lost:
                await self._give_back()

    async def _renew(self) -> None:
        """Keep the Lease; the end of this means that it is lost."""
        while True:
            await self._clock.sleep(self._settings.retry)
            left = self._good_until - self._clock.passed()
            if left <= 0:
                return
            # A request may hang for longer than we may lead.
            attempt, end = asyncio.ensure_future(self._try()), asyncio.ensure_future(self._clock.sleep(left))
            try:
                await asyncio.wait((attempt, end), return_when=asyncio.FIRST_COMPLETED)
                if end.done() or self.holder != self._settings.identity:
                    return
            finally:
                await _end(attempt)
                await _end(end)

    async def _try(self) -> bool:
        """Take or renew the Lease if it is ours to take. What prevents it is said once, not at every try."""
        try:
            taken, trouble = await self._take(), ""
        except ApiUnavailable as error:
            taken, trouble = False, str(error)
        except ApiError as error:
            # Somebody else was faster: that is how it should be.
            taken, trouble = False, "" if error.code == CONFLICT else str(error)
        if trouble and trouble != self._trouble:
            log.warning("the lease can't be had or renewed now", lease=self._settings.name, reason=trouble)
        self._trouble = trouble
        self.looks += 1
        return taken

    async def _take(self) -> bool:
        """One attempt. Raises ApiError and ApiUnavailable."""
        started, me = self._clock.passed(), self._settings.identity
        lease = await self._read()
        if lease is None:
            lease = await self._client.request("POST", self._collection, body=self._claim({}))
        else:
            self._observe(lease)
            if self._is_held(lease.get("spec") or {}):
                return False
            lease = await self._client.request("PUT", self._path, body=self._claim(lease))
        self._observe(lease)
        self.holder, self._good_until = me, started + self._settings.deadline
        return True

    async def _read(self) -> dict[str, Any] | None:
        try:
            lease: dict[str, Any] = await self._client.request("GET", self._path)
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return lease

    def _observe(self, lease: dict[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if version != self._version:
            self._version, self._since = version, self._clock.passed()
        self.holder = (lease.get("spec") or {}).get("holderIdentity") or ""

    def _is_held(self, spec: dict[str, Any]) -> bool:
        """Whether another holds the Lease, or may still believe so."""
        if self.holder in {"", self._settings.identity}:
            return False
        duration = spec.get("leaseDurationSeconds") or self._settings.duration
        return self._clock.passed() - self._since < duration

    def _claim(self, lease: dict[str, Any]) -> dict[str, Any]:
        """The Lease as ours. It keeps its resourceVersion, so that only one of several can succeed."""
        spec, now = lease.get("spec") or {}, f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"
        mine = spec.get("holderIdentity") == self._settings.identity
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": lease.get("metadata") or {"name": self._settings.name, "namespace": self._settings.namespace},
            "spec": {
                "holderIdentity": self._settings.identity,
                "leaseDurationSeconds": self._settings.duration,
                "acquireTime": spec.get("acquireTime") if mine and spec.get("acquireTime") else now,
                "renewTime": now,
                "leaseTransitions": (spec.get("leaseTransitions") or 0) + (0 if mine or not lease else 1),
            },
        }

    async def _give_back(self) -> None:
        """Let another follow at once. Should that fail, it follows after `duration`."""
        metadata = {
            "name": self._settings.name, "namespace": self._settings.namespace, "resourceVersion": self._version
        }  # fmt: skip
        free = self._claim({"metadata": metadata})
        free["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(FAREWELL):
                await self._client.request("PUT", self._path, body=free)
            self.holder = ""
        except (ApiError, ApiUnavailable, TimeoutError) as error:
            log.info("the lease could not be given back", lease=self._settings.name, reason=str(error))


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel it and wait for its end. A failure of ours is logged here and nowhere else."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a duty of the lease holder failed", exc_info=error)
