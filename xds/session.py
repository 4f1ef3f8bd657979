"""A Session: one authenticated stream, between a transport and a protocol machine.

Rule: whoever holds it knows `on_request(bytes)`, `pull()` and is woken; nothing here knows what carries the bytes.
A slow stream holds no queue: what to send is decided when it can be sent (rule R79).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from mesh.model import Identity, PodId
from xds.audience import Watch
from xds.cache import Cache
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import Machine
from xds.names import pod_id
from xds.peer import Peer
from xds.requests import RequestReader
from xds.resource import CLUSTER, LISTENER, RUNTIME
from xds.resourceset import ResourceSet
from xds.snapshot import Named, NoSecretsNow, SecretSource
from xds.sotw import SotwMachine
from xds.status import Counters, ProxyStatus, short_name, type_status
from xds.switches import Switches, switched
from xds.view import View
from xds.wire import Assembler, ProtocolFault, Response

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends: a gRPC status name, and a sentence for the other side."""

    code: str
    text: str


_EXPIRED: Final = Ending(
    "UNAUTHENTICATED", "the token this stream was opened with has expired; come back with a new one"
)
NAMES_LOGGED: Final = 20


class Commons:
    """What all streams of a server share."""

    def __init__(self, cache: Cache, secrets: SecretSource) -> None:
        self.cache = cache
        self.secrets = secrets
        self.assembler = Assembler()
        self.reader = RequestReader()
        self.names = Names()
        self.counters = Counters()
        self.switches = Switches(self._refresh)
        self.sessions: set[Session] = set()
        """The streams that were let in."""
        self._fetching: dict[Identity, asyncio.Task[Named]] = {}

    async def fetch_secrets(self, identity: Identity) -> None:
        """Put the identity's secrets into the Cache, asking for them once however many streams wait.

        Raises ProtocolFault where there are none to be had.
        """
        task = self._fetching.get(identity)
        if task is None:
            task = self._fetching[identity] = asyncio.create_task(self.secrets.secrets(identity))
            task.add_done_callback(lambda _: self._fetching.pop(identity, None))
        try:
            named = await asyncio.shield(task)
        except NoSecretsNow as error:
            raise ProtocolFault("UNAVAILABLE", f"there is no certificate for {identity.uri}: {error}") from error
        except Exception as error:
            log.exception("no secrets for an identity", identity=identity.uri)
            raise ProtocolFault("UNAVAILABLE", f"the certificates of {identity.uri} can't be had now") from error
        # What was pushed meanwhile is newer.
        if not self.cache.has_secrets(identity):
            self.cache.publish_secrets(identity, named)

    def _refresh(self, pods: frozenset[PodId]) -> None:
        for session in self.sessions:
            session.refresh(pods)

    def machine(self, delta: bool, only_type: str) -> Machine[Any]:
        """A protocol machine for a new stream."""
        kind = DeltaMachine if delta else SotwMachine
        return kind(self.assembler, self.names, only_type)


class Session:
    """One stream of a proxy that has proved who it is. `begin` first, `close` in the end."""

    def __init__(self, commons: Commons, peer: Peer, machine: Machine[Any], wake: Callable[[], None]) -> None:
        """`wake` is called when `pull` may have something, or the stream is to end."""
        self.ending: Ending | None = None
        self.node = ""
        self._commons = commons
        self._peer = peer
        self._machine = machine
        self._wake = wake
        self._connected = time.time()
        self._watch: Watch | None = None
        self._pod: PodId | None = None
        self._switched: tuple[View, ResourceSet, View] | None = None
        """The role's View, what is switched for this pod, and both together, while something is."""
        self._expiry: asyncio.TimerHandle | None = None
        self._gate: asyncio.TimerHandle | None = None
        self._woken_for: float | None = None
        """When the change was seen that this stream was woken for and has not been told yet."""
        self._told_of: float | None = None
        """When the change was seen whose acknowledgement is awaited."""

    async def begin(self, data: bytes, lifetime: float) -> None:
        """Take the first request, check its node against the peer, and wait for the peer's secrets.

        The stream ends after `lifetime` seconds. Raises ProtocolFault where it can't begin.
        """
        request = self._machine.read(self._commons.reader, data)
        self.node = request.node_id
        pod = pod_id(self.node)
        if pod is None:
            text = f"node.id {self.node!r} is not namespace/pod" if self.node else "the first request has no node.id"
            raise ProtocolFault("INVALID_ARGUMENT", text)
        if self._peer.pod is not None and self._peer.pod != pod:
            raise ProtocolFault("PERMISSION_DENIED", f"the token is bound to pod {self._peer.pod}, not to {pod}")
        self._pod = pod
        self._watch = self._commons.cache.watch(pod, self._peer.identity, self._on_view)
        self._check(self._watch.view)
        await self._have_secrets()
        self._machine.receive(request, time.monotonic())
        self._subscribe()
        if self._watch.view is None:
            log.info("proxy is not known yet, its stream waits", node=self.node)
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, lifetime), self.end, _EXPIRED)
        self._wake()

    def close(self) -> None:
        """Free everything (rule R60)."""
        for timer in (self._expiry, self._gate):
            if timer is not None:
                timer.cancel()
        if self._watch is not None:
            self._commons.cache.leave(self._watch)

    def end(self, ending: Ending) -> None:
        """The stream is to end. The first reason counts."""
        self.ending = self.ending or ending
        self._wake()

    def on_request(self, data: bytes) -> None:
        """The client has said something. A broken request ends the stream."""
        self._commons.counters.requests += 1
        machine = self._machine
        try:
            machine.receive(machine.read(self._commons.reader, data), time.monotonic())
            if self._told_of is not None and not machine.unanswered and (machine.calm or self.brought_up()):
                self._commons.counters.convergence.add(time.monotonic() - self._told_of)
                self._told_of = None
            if machine.calm:
                return  # an ACK, and nothing waits behind it
            self._subscribe()
        except ProtocolFault as fault:
            self.end(Ending(fault.code, fault.text))
        self._report_nacks()
        self._wake()

    def pull(self) -> list[Response]:
        """What is to be sent now, in this order; taken to be sent."""
        now = time.monotonic()
        self._look()
        responses = self._machine.pull(now)
        counters = self._commons.counters
        if responses and self._woken_for is not None:
            self._told_of, self._woken_for = self._told_of or self._woken_for, None
        for response in responses:
            counters.pushes[response.type_url] += 1
            counters.bytes[response.type_url] += len(response.data)
            counters.resources[response.type_url] += len(response.names)
            counters.removals[response.type_url] += len(response.gone)
        if self._machine.wake_at is not None:
            self._wake_in(self._machine.wake_at - now, self._wake)
        return responses

    @property
    def peer(self) -> Peer:
        """Who is there."""
        return self._peer

    @property
    def known(self) -> bool:
        """Whether there is anything to tell this stream: its pod is in the World."""
        return self._watch is not None and self._watch.view is not None

    def brought_up(self) -> bool:
        """Whether the client has answered all it asked for, listeners among that, which Envoy asks for last."""
        dialogues = self._machine.dialogues
        return (LISTENER in dialogues or not self._starting()) and all(
            dialogue.at_rest() for dialogue in dialogues.values()
        )

    def _starting(self) -> bool:
        """Whether the client is one that will want listeners: Envoy asks for its runtime, then for clusters, first."""
        return not self._machine.dialogues.keys().isdisjoint({CLUSTER, RUNTIME})

    def refresh(self, pods: frozenset[PodId]) -> None:
        """What is switched for these pods has changed."""
        if self._pod in pods:
            self._wake()

    def holds_all(self, type_url: str) -> bool:
        """Whether the client has acknowledged all it wants of this type, as it is offered now.

        While it has not asked for listeners yet, it may still say that it holds older resources of any type.
        """
        self._look()
        machine, dialogues = self._machine, self._machine.dialogues
        if machine.view is None or (self._starting() and LISTENER not in dialogues):
            return False
        dialogue = dialogues.get(type_url)
        return dialogue is None or dialogue.has_acknowledged(machine.offered(dialogue))

    def status(self) -> ProxyStatus:
        """How this stream stands."""
        self._look()
        machine = self._machine
        return ProxyStatus(
            node=self.node,
            connected=self._connected,
            protocol=machine.protocol,
            identity=self._peer.identity.uri,
            known=self.known,
            types={short_name(url): type_status(machine, dialogue) for url, dialogue in machine.dialogues.items()},
        )

    async def _have_secrets(self) -> None:
        """Make sure the Cache has the secrets of this identity, in the View we hold, too. Raises ProtocolFault."""
        if self.ending is None and not self._commons.cache.has_secrets(self._peer.identity):
            await self._commons.fetch_secrets(self._peer.identity)
        if self.ending is not None:
            raise ProtocolFault(self.ending.code, self.ending.text)

    def _subscribe(self) -> None:
        """Have the Cache wake this stream for what its client wants, and for nothing else."""
        if self._watch is None:
            return
        for type_url, dialogue in self._machine.dialogues.items():
            if self._watch.interests.get(type_url) is not dialogue.interest:
                self._watch.want(type_url, dialogue.interest)

    def _look(self) -> None:
        """Go by the View of this moment. What does not concern a stream changes its View without a word to it."""
        view = self._watch.view if self._watch is not None else None
        layer = self._commons.switches.layer(self._pod) if self._pod is not None else None
        if view is not None and layer is not None:
            known = self._switched
            if known is None or known[0] is not view or known[1] is not layer:
                known = self._switched = (view, layer, switched(view, layer))
            view = known[2]
        if view is not None and view is not self._machine.view:
            self._machine.show(view)

    def _on_view(self, view: View, changed: frozenset[str]) -> bool:
        """Something in the new View of this stream concerns it; says whether that wakes it."""
        self._check(view)
        if self.ending is not None:
            return False
        if changed.isdisjoint(self._machine.dialogues):
            return False
        self._woken_for = self._woken_for or self._commons.cache.seen
        self._wake()
        return True

    def _check(self, view: View | None) -> None:
        """End the stream if the World says that another identity runs in this pod."""
        if view is not None and view.identity != self._peer.identity:
            text = f"pod {self.node} runs as {view.identity.uri}, but the token is {self._peer.identity.uri}'s"
            self.end(Ending("PERMISSION_DENIED", text))

    def _wake_in(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._gate is not None:
            self._gate.cancel()
        self._gate = asyncio.get_running_loop().call_later(seconds, callback)

    def _report_nacks(self) -> None:
        nacks, self._machine.nacks = self._machine.nacks, []
        for nack in nacks:
            self._commons.counters.nacks[nack.type_url] += 1
            log.warning(
                "proxy rejected configuration",
                node=self.node, type=short_name(nack.type_url), nonce=nack.nonce, code=nack.code,
                resources=nack.names[:NAMES_LOGGED], resource_count=len(nack.names), message=nack.message,
            )  # fmt: skip
