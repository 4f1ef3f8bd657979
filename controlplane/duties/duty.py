"""One duty of the lease holder, and how it is performed: looked at each second, done when something changed or in turn.

Rule: a duty brings about a state and is done again and again, so nothing that was missed, lost or changed by others
stays wrong. A duty that fails holds up no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from ca.issuance import Expired
from ca.storage import StorageError
from kube.client import ApiError, ApiUnavailable
from kube.clock import SYSTEM_CLOCK, Clock

LOOK: Final = 1.0
"""Seconds between two looks at what concerns a duty; that costs no request."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """`carry_out` makes it so, and does nothing where it is so already.

    It is called when `concerns` gives another value than when it last succeeded, and every `period` seconds anyway,
    to mend what others changed.
    """

    name: str
    carry_out: Callable[[], Awaitable[None]]
    concerns: Callable[[], object]
    period: float = 15.0


class Duties:
    """All duties of one replica. What became of them is counted for the metrics, `troubles` is for people."""

    def __init__(self, duties: Iterable[Duty], clock: Clock = SYSTEM_CLOCK) -> None:
        self._duties = tuple(duties)
        self._clock = clock
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.troubles: dict[str, str] = {}
        """Duty → why it can't be done now."""

    async def perform(self) -> None:
        """Perform all of them until cancelled, which ends them at once."""
        self.troubles.clear()
        async with asyncio.TaskGroup() as tasks:
            for duty in self._duties:
                tasks.create_task(self._perform(duty), name=f"duty: {duty.name}")

    async def _perform(self, duty: Duty) -> None:
        settled: object = None
        due = self._clock.passed()
        while True:
            concern = duty.concerns()
            if concern != settled or self._clock.passed() >= due:
                settled = concern if await self._attempt(duty) else None
                due = self._clock.passed() + duty.period
            await self._clock.sleep(LOOK)

    async def _attempt(self, duty: Duty) -> bool:
        """Whether it is so now. What prevents it is said once, not at every attempt."""
        try:
            await duty.carry_out()
        except (ApiError, ApiUnavailable, StorageError, Expired) as error:
            trouble = str(error)
        except Exception as error:
            # Our own failure: the other duties, the Lease and all streams go on.
            log.exception("duty failed", duty=duty.name)
            trouble = f"{type(error).__name__}: {error}"
        else:
            self.done[duty.name] += 1
            self.troubles.pop(duty.name, None)
            return True
        self.failed[duty.name] += 1
        if self.troubles.get(duty.name) != trouble:
            log.warning("duty can't be done now", duty=duty.name, reason=trouble)
        self.troubles[duty.name] = trouble
        return False
