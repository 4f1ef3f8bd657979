"""Who watches which pods, and the streams on which sidecars tell requests (Envoy's gRPC access log service).

Rule: what is told comes from the sidecar of a pod that somebody watches, which its token names, and from nobody else.
Who is watched at another replica only is not sent away, for Envoy would come back with each request. What comes faster
than the budget is dropped unread and counted, and the sidecar is held back; it then drops, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from mesh.model import PodId
from xds import pb
from xds.peer import Peer
from xds.switches import Switches
from xds.told import Told, told
from xds.transport.call import Call
from xds.wire import ProtocolFault

log = structlog.get_logger(__name__)

METHOD: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
BYTES_PER_SECOND: Final = 1_048_576
"""Of all sidecars together; a request is about 500 bytes."""
EARLY_BYTES: Final = 131_072
"""What may come before the token is checked: the transport lets in half of it, the 61 KB node included."""
PARKED: Final = 60.0
"""Seconds that a stream is kept from which nobody here wants to hear; it has no room to say anything."""
UNWATCHED: Final = "nobody watches this pod here"
STREAMS: Final = 4_096
"""Each worker thread of a watched sidecar has one or two."""

Take = Callable[[Told], None]
Authenticate = Callable[[Call], Awaitable[Peer]]


@dataclass(eq=False, slots=True)
class Watcher:
    """Somebody who watches these pods. `take` is told each request, and returns at once."""

    take: Take
    pods: frozenset[PodId] = frozenset()


@dataclass(slots=True)
class TapCounters:
    """What was told so far."""

    requests: int = 0
    """Requests and connections that were told to somebody."""
    dropped: int = 0
    """Messages that came faster than they may."""


class Taps:
    """The watchers, and the receivers of streams. `authenticate` says whose a stream is, or raises ProtocolFault."""

    def __init__(
        self, switches: Switches, authenticate: Authenticate, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.counters = TapCounters()
        self._switches = switches
        self._authenticate = authenticate
        self._watchers: set[Watcher] = set()
        self._streams: set[Telling] = set()
        self._budget = Budget(now=now)

    def watch(self, take: Take) -> Watcher:
        """Somebody new, who watches nothing yet."""
        watcher = Watcher(take)
        self._watchers.add(watcher)
        return watcher

    def turn(self, watcher: Watcher, pods: Iterable[PodId]) -> None:
        """The watcher watches these pods from now on."""
        before, watcher.pods = watcher.pods, frozenset(pods)
        self._switches.watch(watcher.pods - before)
        self._switches.leave(before - watcher.pods)
        for stream in [*self._streams]:
            stream.look()

    def leave(self, watcher: Watcher) -> None:
        """The watcher is gone."""
        self.turn(watcher, ())
        self._watchers.discard(watcher)

    def open(self, call: Call) -> Telling | None:
        """The receiver of a new stream."""
        if len(self._streams) >= STREAMS:
            call.end("RESOURCE_EXHAUSTED", "too many access log streams")
            return None
        return Telling(self, call)

    @property
    def waiting(self) -> int:
        """Streams of pods that nobody watches here."""
        return sum(stream.parked for stream in self._streams)

    # For streams.

    async def authenticated(self, call: Call) -> Peer:
        """Whose stream this is. Raises ProtocolFault where it is no pod's, too."""
        peer = await self._authenticate(call)
        if peer.pod is None:
            raise ProtocolFault("PERMISSION_DENIED", "this token is bound to no pod")
        return peer

    def watched(self, pod: PodId) -> bool:
        """Whether somebody watches this pod."""
        return self._switches.watches(pod)

    def affords(self, size: int) -> bool:
        """Whether a message of this size may be read now."""
        if self._budget.take(size):
            return True
        self.counters.dropped += 1
        return False

    def tell(self, request: Told) -> None:
        """Pass a request on to those who watch its pod."""
        self.counters.requests += 1
        for watcher in self._watchers:
            if request.pod in watcher.pods:
                watcher.take(request)

    def add(self, stream: Telling) -> None:
        """A stream begins."""
        self._streams.add(stream)

    def discard(self, stream: Telling) -> None:
        """A stream is over."""
        self._streams.discard(stream)


@dataclass(slots=True)
class Budget:
    """So many bytes in a second, of which what is left over is lost."""

    now: Callable[[], float]
    per_second: int = BYTES_PER_SECOND
    _left: int = 0
    _until: float = field(default=float("-inf"))

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes; then they are taken. One message alone always has."""
        now = self.now()
        if now >= self._until:
            self._left, self._until = self.per_second, now + 1.0
        if self._left <= 0:
            return False
        self._left -= size
        return True


class Telling:
    """The receiver of one stream of access log messages."""

    def __init__(self, taps: Taps, call: Call) -> None:
        self._taps = taps
        self._call = call
        self._peer: Peer | None = None
        self._log_name = ""
        self._early: list[bytes] = []
        self._over = False
        self._held: asyncio.TimerHandle | None = None
        self._parked: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._let_in())
        taps.add(self)

    @property
    def parked(self) -> bool:
        """Whether nobody here wants to hear from it."""
        return self._parked is not None and bool(self._log_name)

    def look(self) -> None:
        """Somebody has begun to watch, or has left."""
        if self._peer is None:
            return
        if self._parked is None and not self._wanted(self._peer):
            self._end("UNAVAILABLE", UNWATCHED)
        elif self._parked is not None and self._wanted(self._peer):
            self._parked.cancel()
            self._parked = None
            self._call.go_on()
            self._call.trust()

    def on_request(self, data: bytes) -> None:
        """A message: who tells, in the first one, and what."""
        if self._over:
            return
        if self._peer is not None:
            self._hear(self._peer, data)
        elif sum(map(len, self._early)) + len(data) <= EARLY_BYTES:
            self._early.append(data)
        else:
            self._end("RESOURCE_EXHAUSTED", "too much before the token was checked")

    def on_writable(self) -> None:
        """Nothing is sent here but the end."""

    def on_finished(self) -> None:
        """The sidecar has nothing more to tell."""
        self._end("OK", "")

    def on_gone(self) -> None:
        """The sidecar is gone."""
        self._release()

    async def _let_in(self) -> None:
        try:
            peer = await self._taps.authenticated(self._call)
        except ProtocolFault as fault:
            self._end(fault.code, fault.text)
        except Exception:
            log.exception("an access log stream could not be brought up", peer=self._call.peer)
            self._end("INTERNAL", "this control plane failed on the stream")
        else:
            self._peer = peer
            if self._wanted(peer):
                self._call.trust()
            else:
                self._parked = asyncio.get_running_loop().call_later(PARKED, self._end, "UNAVAILABLE", UNWATCHED)
            early, self._early = self._early, []
            for data in early:
                self._hear(peer, data)

    def _hear(self, peer: Peer, data: bytes) -> None:
        # The first message names the log, so it is read in any case.
        if self._log_name and self._parked is None and not self._taps.affords(len(data)):
            self._hold()
        if self._log_name and (self._parked is not None or self._held is not None):
            return
        try:
            message = pb.StreamAccessLogsMessage.FromString(data)
        except pb.DecodeError:
            self._end("INVALID_ARGUMENT", "this is no StreamAccessLogsMessage")
            return
        self._log_name = self._log_name or message.identifier.log_name or "unknown"
        if self._parked is not None:
            self._call.hold()
            return
        assert peer.pod is not None  # noqa: S101 - others are not let in
        for request in told(message, self._log_name, peer.pod, peer.identity):
            self._taps.tell(request)

    def _wanted(self, peer: Peer) -> bool:
        return peer.pod is not None and self._taps.watched(peer.pod)

    def _hold(self) -> None:
        if self._held is None:
            self._call.hold()
            self._held = asyncio.get_running_loop().call_later(1.0, self._go_on)

    def _go_on(self) -> None:
        self._held = None
        self._call.go_on()

    def _end(self, code: str, text: str) -> None:
        if self._over:
            return
        self._call.end(code, text)
        self._release()

    def _release(self) -> None:
        if self._over:
            return
        self._over = True
        self._taps.discard(self)
        for timer in (self._held, self._parked):
            if timer is not None:
                timer.cancel()
        if self._task is not asyncio.current_task():
            self._task.cancel()
