"""Streams of pods that are gone: ended, so that a token that outlives its pod keeps nobody connected.

Rule: only what the API server says counts, while it says it: a source that is out of step ends nothing (fail static),
and what is gone must stay gone for a while. Envoy keeps what it has when its stream ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import PodId
from xds.peer import Peer
from xds.server import XdsServer
from xds.session import Ending

log = structlog.get_logger(__name__)

ENDING: Final = Ending("UNAUTHENTICATED", "the pod of this stream's token is gone")
LOOKS: Final = 6
"""How often it is looked within the grace."""

Pod = tuple[PodId, str]
"""A pod and its uid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of pods: the uid of the one of a name (None: there is none), and whether that is the newest."""

    uid_of: Callable[[PodId], str | None]
    in_step: Callable[[], bool]


class Departed:
    """Looks again and again at whose streams there are. `grace` is how long a pod must be gone."""

    def __init__(
        self,
        server: XdsServer,
        sight: Sight,
        grace: timedelta = timedelta(minutes=1),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._server = server
        self._sight = sight
        self._grace = grace.total_seconds()
        self._clock = clock
        self._missed: dict[Pod, float] = {}
        """Since when a pod with a stream is gone, in passing time."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._grace / LOOKS)
            self.look()

    def look(self) -> int:
        """End the streams whose time is over; how many."""
        if not self._sight.in_step():
            self._missed.clear()
            return 0
        now = self._clock.passed()
        gone = {pod for pod in map(_pod, self._server.peers()) if pod is not None and self._is_gone(pod)}
        self._missed = {pod: self._missed.get(pod, now) for pod in gone}
        over = {pod for pod, since in self._missed.items() if now - since >= self._grace}
        ended = self._server.end_streams(lambda peer: _pod(peer) in over, ENDING) if over else 0
        if ended:
            log.info("streams of pods that are gone were ended", streams=ended, pods=[str(pod) for pod, _ in over][:20])
        return ended

    def _is_gone(self, pod: Pod) -> bool:
        return self._sight.uid_of(pod[0]) != pod[1]


def _pod(peer: Peer) -> Pod | None:
    return (peer.pod, peer.uid) if peer.pod is not None and peer.uid else None
