"""One stream of a proxy from its first byte to its last: who is there, what it asks first, its turn, pushes, the end.

Rule: a stream that is up has no task and waits for nobody; it is moved on when something concerns it. Its identity
comes from its token, and its node must be a pod of that identity; all else is refused with a reason.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from xds.admission import Admission, Place
from xds.peer import Authenticator, Peer, Refused, Unknown
from xds.refusals import Refusals, address_of
from xds.session import Commons, Ending, Session
from xds.transport.call import Call
from xds.wire import ProtocolFault

log = structlog.get_logger(__name__)

EARLY_REQUESTS: Final = 64
"""Requests a client may send before it is let in; Envoy sends two or three."""
SLICE: Final = 0.03
"""Seconds of pushing after which requests get their turn. Most of these are ACKs: read in between, they would hold up
those who wait for their push; read late, they hold up nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a stream may take, and may go on."""

    first_request: timedelta
    expiry_grace: timedelta


class TurnedAway(ProtocolFault):
    """Not even looked at, since its address was refused too often. It is counted, and not logged each time."""


class Turns:
    """Streams that are to be moved on, in the order in which something happened to them."""

    def __init__(self) -> None:
        self._waiting: deque[Conversation] = deque()

    def take(self, conversation: Conversation) -> None:
        """Move this one on, soon. All that wait go in one turn of the event loop, unless that takes too long."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(conversation)

    def _run(self) -> None:
        until = time.monotonic() + SLICE
        waiting = self._waiting
        while waiting:
            # Stays in the line while it moves, so that nobody who joins meanwhile schedules a second run.
            try:
                waiting[0].move()
            except Exception:
                # It guards itself; whatever got past that must not stop all who are behind it.
                log.exception("stream could not be moved on")
            waiting.popleft()
            if time.monotonic() >= until:
                break
        if waiting:
            asyncio.get_running_loop().call_soon(self._run)


@dataclass(slots=True)
class Reception:
    """What all conversations of a server share."""

    commons: Commons
    authenticator: Authenticator
    admission: Admission
    patience: Patience
    refusals: Refusals = field(default_factory=Refusals)
    turns: Turns = field(default_factory=Turns)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of a stream, kept alive until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def authenticated(self, call: Call) -> Peer:
        """Who is there. Raises ProtocolFault."""
        if not self.commons.cache.ready:
            raise ProtocolFault("UNAVAILABLE", "this control plane has not read its configuration yet")
        scheme, _, token = call.metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ProtocolFault("UNAUTHENTICATED", "no bearer token in the authorization metadata")
        address = address_of(call.peer)
        if wait := self.refusals.wait(address):
            raise TurnedAway("UNAVAILABLE", f"too many tokens from {address} were refused; wait {wait:.0f} s")
        try:
            return await self.authenticator.authenticate(token.strip())
        except Refused as refused:
            self.refusals.refused(address, refused.reason)
            raise ProtocolFault("UNAUTHENTICATED", str(refused)) from None
        except Unknown as unknown:
            raise ProtocolFault("UNAVAILABLE", str(unknown)) from None


class Conversation:
    """The receiver of one call."""

    __slots__ = (
        "_call",
        "_delta",
        "_early",
        "_entering",
        "_first",
        "_held_back",
        "_only_type",
        "_over",
        "_place",
        "_reception",
        "_scheduled",
        "_session",
        "_task",
    )

    def __init__(self, reception: Reception, call: Call, *, delta: bool, only_type: str) -> None:
        self._reception = reception
        self._call = call
        self._delta = delta
        self._only_type = only_type
        self._session: Session | None = None
        self._place: Place | None = None
        self._first: asyncio.Future[bytes] | None = asyncio.get_running_loop().create_future()
        self._early: list[bytes] = []
        self._entering = False
        self._scheduled = False
        self._held_back = False
        self._over = False
        self._task: asyncio.Task[None] | None = reception.start(self._bring_up())

    # What the transport says.

    def on_request(self, data: bytes) -> None:
        """A request. Those that come before the stream is let in wait, a few of them."""
        if self._session is not None:
            self._heard(self._session, data)
        elif self._first is not None and not self._first.done():
            self._first.set_result(data)
        elif len(self._early) < EARLY_REQUESTS:
            self._early.append(data)
        else:
            self._refuse(ProtocolFault("RESOURCE_EXHAUSTED", "too many requests before the first answer"))

    def on_writable(self) -> None:
        """There is room again."""
        if self._held_back:
            self._held_back = False
            self.wake()

    def on_finished(self) -> None:
        """The client has said all it will: the stream is of no use any more."""
        self._finish(Ending("OK", ""))

    def on_gone(self) -> None:
        """The client is no longer there."""
        self._release()

    # What happens to the stream.

    def wake(self) -> None:
        """Something concerns this stream; it moves on in its turn."""
        if not self._scheduled:
            self._scheduled = True
            self._reception.turns.take(self)

    def move(self) -> None:
        """Do what can be done now: end, wait for a place, or send what is due. A failure costs this stream alone."""
        self._scheduled = False
        session = self._session
        if self._over or session is None:
            return
        try:
            self._push(session)
        except Exception:
            # The proxy keeps what it has and comes back.
            log.exception("push failed", node=session.node)
            self._finish(Ending("INTERNAL", "this control plane failed on the response"))

    def _push(self, session: Session) -> None:
        if session.ending is not None:
            self._finish(session.ending)
            return
        if self._place is None and session.known and not self._enter():
            return
        if not self._call.writable:
            self._held_back = True
            return
        responses = session.pull()
        for response in responses:
            self._call.send(response.data)
        if responses:
            # Now, not when all others have been asked as well: the first are to have it as early as can be.
            self._call.flush()
        if self._place is not None and self._place.held and session.brought_up():
            self._place.free()

    def _enter(self) -> bool:
        """Whether the stream has its place among those that are being brought up, or needs none."""
        if not self._entering:
            self._place = self._reception.admission.at_once()
            if self._place is None:
                self._entering = True
                self._task = self._reception.start(self._wait_for_place())
        return self._place is not None

    async def _wait_for_place(self) -> None:
        place = await self._reception.admission.enter()
        if self._over:
            place.free()
            return
        self._place, self._entering = place, False
        self.wake()

    async def _bring_up(self) -> None:
        """Authentication, the first request, the session. Whatever is wrong ends the stream with its reason."""
        try:
            peer = await self._reception.authenticated(self._call)
            self._call.trust()
            first = await self._first_request()
            session = self._new_session(peer)
            try:
                await session.begin(first, self._lifetime(peer))
            except BaseException:
                session.close()
                raise
        except ProtocolFault as fault:
            self._refuse(fault)
        except Exception:
            log.exception("stream could not be brought up", peer=self._call.peer)
            self._finish(Ending("INTERNAL", "this control plane failed on the first request"))
        else:
            self._let_in(session, peer)

    def _let_in(self, session: Session, peer: Peer) -> None:
        if self._over:
            session.close()
            return
        self._session, self._first, self._task = session, None, None
        self._reception.commons.sessions.add(session)
        self._reception.commons.counters.streams += 1
        log.info("proxy connected", node=session.node, identity=peer.identity.uri)
        early, self._early = self._early, []
        for data in early:
            self._heard(session, data)
        self.wake()

    def _new_session(self, peer: Peer) -> Session:
        commons = self._reception.commons
        return Session(commons, peer, commons.machine(self._delta, self._only_type), self.wake)

    async def _first_request(self) -> bytes:
        """The first request. Raises ProtocolFault where none comes."""
        assert self._first is not None  # noqa: S101 - it goes when the stream is let in, which comes later
        try:
            return await asyncio.wait_for(self._first, self._reception.patience.first_request.total_seconds())
        except TimeoutError:
            raise ProtocolFault("DEADLINE_EXCEEDED", "no first request") from None

    def _lifetime(self, peer: Peer) -> float:
        # Spread, so that streams opened with equal tokens do not all come back at once.
        grace = random.uniform(0, self._reception.patience.expiry_grace.total_seconds())  # noqa: S311 - no secret
        return peer.expires - time.time() + grace

    def _heard(self, session: Session, data: bytes) -> None:
        try:
            session.on_request(data)
        except Exception:
            log.exception("request failed", node=session.node)
            session.end(Ending("INTERNAL", "this control plane failed on the request"))
        if self._place is not None and self._place.held:
            # Perhaps that was its last answer, and others wait for its place.
            self.wake()

    def _refuse(self, fault: ProtocolFault) -> None:
        self._reception.commons.counters.refused[fault.code] += 1
        if not isinstance(fault, TurnedAway):
            log.warning("stream refused", code=fault.code, reason=fault.text, peer=self._call.peer)
        self._finish(Ending(fault.code, fault.text))

    def _finish(self, ending: Ending) -> None:
        """Say why the stream ends, and free everything."""
        if self._over:
            return
        session = self._session
        if session is not None and ending.code != "OK":
            self._reception.commons.counters.ended[ending.code] += 1
            log.info("stream ended", node=session.node, code=ending.code, reason=ending.text)
        self._call.end(ending.code, ending.text)
        self._release()

    def _release(self) -> None:
        if self._over:
            return
        self._over = True
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._place is not None:
            self._place.free()
        if self._session is not None:
            self._reception.commons.sessions.discard(self._session)
            self._session.close()
            self._session = None
        self._early.clear()
