"""What both protocol machines share: the order of types on a stream, gates between them, and the books they keep.

Rule: no I/O and no clock; time is an argument. Requests and Views go in, `pull` takes out what is due now. A gate never
outlives its patience, and what the client waits for is never gated: Envoy's own patience is 15 s (rules R61–R65, R68).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Final, Generic

from xds.dialogue import Dialogue, Nack, Sent
from xds.interest import Interest, Names
from xds.requests import RequestReader
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SERVED, TYPES
from xds.resourceset import NO_NAMES, Plan, ResourceSet
from xds.view import View
from xds.wire import AnyRequest, Assembler, ProtocolFault, Response

GATE_PATIENCE: Final = 5.0
"""Seconds that changed listeners and routes wait for the ACK of clusters, which comes once those are warm (R62)."""
RESUME_PATIENCE: Final = 1.0
"""Seconds that removals of clusters wait for a reconnecting client to ask for what may refer to them (R63)."""
TYPES_AT_MOST: Final = 64
NAMES_AT_MOST: Final = 200_000
"""Per type. A client that wants more is not one of ours (bounded client state)."""

REFERRERS: Final = (LISTENER, ROUTES, EXTENSION)
"""Types whose resources name clusters."""
_LAST: Final = (CLUSTER, ENDPOINTS)
"""Removals of these go after all other removals: nothing may name what is taken away."""


class Machine(ABC, Generic[AnyRequest]):
    """One stream's side of the protocol.

    `only_type`: the stream is one of a service for this type alone (rule R4). `eds_name` tells under which name a
    cluster's endpoints are discovered.
    """

    protocol: ClassVar[str]

    def __init__(
        self, assembler: Assembler, names: Names, only_type: str = "", eds_name: Callable[[str], str] = str
    ) -> None:
        self.dialogues: dict[str, Dialogue] = {}
        self.nacks: list[Nack] = []
        """NACKs since somebody last took them out."""
        self.wake_at: float | None = None
        """When to pull again even if nothing happens, after a pull that left something behind a gate."""
        self.view: View | None = None
        self.calm = False
        """Whether an ACK of what is unanswered leaves nothing to do: then nobody need pull when it comes, and when the
        view changes only what changed need be looked at."""
        self.unanswered = 0
        """Responses that wait for their answers, at most one of each type."""
        self._assembler = assembler
        self._names = names
        self._only_type = only_type
        self._eds_name = eds_name
        self._round = 0
        self._order: list[Dialogue] = []
        """The dialogues in the order in which their types are sent."""
        self._removal_order: list[Dialogue] = []
        self._news: set[str] = set()
        """Types that another view changed since the last pull, on a calm stream."""

    @staticmethod
    @abstractmethod
    def read(reader: RequestReader, data: bytes) -> AnyRequest:
        """The request in these bytes. Raises ProtocolFault."""

    @abstractmethod
    def receive(self, request: AnyRequest, now: float) -> None:
        """Take in a request: an answer, a change of the subscription, or both. Raises ProtocolFault."""

    def show(self, view: View) -> None:
        """From now on the client should have this. Nothing is sent before the first View (rule R9)."""
        before, self.view = self.view, view
        self._round += 1
        if before is not None and self.calm:
            self._news |= view.news(before) & self.dialogues.keys()

    def pull(self, now: float) -> list[Response]:
        """The responses that are due, in the order in which to send them. Each is taken to be sent."""
        self.wake_at = None
        if self.view is None:
            return []
        # On a calm stream only the types of which there is news need a look: with a thousand streams the time goes
        # into fetching their books from memory. Clusters concern all types.
        quick = self.calm and CLUSTER not in self._news
        order = [self.dialogues[url] for url in SERVED if url in self._news] if quick else self._order
        sent = [self._additions(dialogue, now) for dialogue in order if dialogue.sent is None]
        for dialogue in _removal_order(order) if quick else self._removal_order:
            if dialogue.doomed:
                self._spare(dialogue)
            if dialogue.odd:
                sent.append(self._removals(dialogue, now))
            if dialogue.at_rest():
                dialogue.settled = self._round
        self.calm = self.wake_at is None and all(map(self._will_rest, order))
        self._news.clear()
        return [response for response in sent if response is not None]

    def _will_rest(self, dialogue: Dialogue) -> bool:
        """Whether this type is done once the client has acknowledged what it was sent last."""
        if dialogue.asked or dialogue.odd or dialogue.doomed or dialogue.trials or dialogue.refused:
            return False
        sent = dialogue.sent
        return sent is None or (sent.complete and dialogue.held is self.offered(dialogue))

    def _sort(self) -> None:
        rank = {type_url: place for place, type_url in enumerate(TYPES)}
        self._order = sorted(self.dialogues.values(), key=lambda each: rank.get(each.type_url, len(rank)))
        self._removal_order = _removal_order(self._order)

    def offered(self, dialogue: Dialogue) -> ResourceSet:
        """What the client should have of this type."""
        assert self.view is not None  # noqa: S101 - callers look first
        return dialogue.interest.of(self.view.offered(dialogue.type_url))

    def _additions(self, dialogue: Dialogue, now: float) -> Response | None:
        """What is new, changed or asked for. Not called while a response of this type waits for its answer."""
        offered = self.offered(dialogue)
        if dialogue.has_all_of(offered):
            dialogue.gated_since = None
            return None
        plan = self._next_plan(dialogue, offered)
        if not self._is_due(dialogue, plan):
            self._pass(dialogue, offered, plan)
            return None
        if self._gated(dialogue, now):
            return None
        return self._send(dialogue, offered, plan)

    def _next_plan(self, dialogue: Dialogue, offered: ResourceSet) -> Plan:
        plan = dialogue.plan(offered)
        while dialogue.trials and not self._is_due(dialogue, plan):
            # Nothing of this trial is left to be sent: it was removed or replaced meanwhile.
            dialogue.trials.popleft()
            plan = dialogue.plan(offered)
        return plan

    def _pass(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> None:
        """Nothing to add: go on from what is offered now, with what must be removed or withheld kept in mind."""
        dialogue.asked = NO_NAMES
        dialogue.gated_since = None
        dialogue.step(offered, self._left_over(dialogue, plan))

    def _send(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        response = self._assemble(dialogue, offered, plan)
        later = self._left_over(dialogue, plan)
        if not dialogue.trials:
            dialogue.asked = plan.rest
        dialogue.sent = Sent(
            response, offered, self._tried(plan, response), dialogue.held, dialogue.odd, self._round,
            warms=bool(plan.adds), complete=not later and plan.stage is None,
        )  # fmt: skip
        self.unanswered += 1
        dialogue.last = response
        dialogue.gated_since = None
        dialogue.pushes += 1
        dialogue.bytes_pushed += len(response.data)
        dialogue.step(offered, later)
        if dialogue.type_url == CLUSTER and plan.adds:
            self._follow(frozenset(self._eds_name(resource.name) for resource in plan.adds))
        return response

    def _gated(self, dialogue: Dialogue, now: float) -> bool:
        """Whether a change must wait until the clusters it may name are warm (rules R21, R62)."""
        clusters = self.dialogues.get(CLUSTER)
        if dialogue.type_url not in {LISTENER, ROUTES} or clusters is None or clusters.sent is None:
            return False
        unsent = bool(clusters.trials or self.offered(clusters).differing(clusters.held))
        if not unsent and (dialogue.asked or not clusters.sent.warms):
            # What the client asked for is not held back for clusters it has got already.
            return False
        if dialogue.gated_since is None:
            dialogue.gated_since = now
        return self._wait_until(dialogue.gated_since + GATE_PATIENCE, now)

    def _wait_until(self, end: float, now: float) -> bool:
        if now >= end:
            return False
        self.wake_at = min(end, self.wake_at or end)
        return True

    def _spare(self, clusters: Dialogue) -> None:
        """Clusters that came back are not gone: should they vanish again, what was answered before counts no more."""
        offered = self.offered(clusters)
        clusters.doomed = {name: seen for name, seen in clusters.doomed.items() if name not in offered}

    def _releasable(self, clusters: Dialogue, names: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of these vanished clusters that nothing the client may still use refers to (rule R63)."""
        doomed = {name: clusters.doomed.get(name, self._round) for name in names}
        free = tuple(name for name, seen in doomed.items() if self._referrers_answered(clusters, seen, now))
        clusters.doomed = {name: seen for name, seen in doomed.items() if name not in free}
        return free

    def _referrers_answered(self, clusters: Dialogue, seen: int, now: float) -> bool:
        for type_url in REFERRERS:
            dialogue = self.dialogues.get(type_url)
            if dialogue is None:
                resuming = clusters.resumed and type_url != EXTENSION
                if resuming and self._wait_until(clusters.opened + RESUME_PATIENCE, now):
                    return False
            elif dialogue.settled < seen:
                # What the client refused leaves the older version in force, and that may name the cluster.
                return False
        return True

    def _follow(self, names: frozenset[str]) -> None:
        """These clusters were sent: send their endpoints again, or the clusters warm for 15 s (rules R64, R65)."""
        endpoints = self.dialogues.get(ENDPOINTS)
        if endpoints is None:
            return
        wanted = names & endpoints.interest.names
        if endpoints.interest.wildcard:
            wanted |= names & self.offered(endpoints).named.keys()
        if wanted:
            endpoints.ask(wanted)

    def _open(self, type_url: str, interest: Interest, now: float) -> Dialogue:
        if len(self.dialogues) >= TYPES_AT_MOST:
            raise ProtocolFault("RESOURCE_EXHAUSTED", f"more than {TYPES_AT_MOST} resource types on one stream")
        dialogue = self.dialogues[type_url] = Dialogue(type_url, self._interned(interest), now)
        self._sort()
        return dialogue

    def _interned(self, interest: Interest) -> Interest:
        if len(interest.names) > NAMES_AT_MOST:
            raise ProtocolFault("RESOURCE_EXHAUSTED", f"more than {NAMES_AT_MOST} names of one type on one stream")
        return Interest(interest.wildcard, self._names.intern(interest.names), interest.legacy)

    def _type_of(self, request: AnyRequest) -> str:
        type_url = request.type_url or self._only_type
        if not type_url:
            raise ProtocolFault("INVALID_ARGUMENT", "type_url is missing: an aggregated stream can't guess the type")
        if self._only_type and type_url != self._only_type:
            raise ProtocolFault("INVALID_ARGUMENT", f"this service serves {self._only_type}, not {type_url}")
        return type_url

    @abstractmethod
    def _is_due(self, dialogue: Dialogue, plan: Plan) -> bool:
        """Whether this plan needs a response."""

    @abstractmethod
    def _left_over(self, dialogue: Dialogue, plan: Plan) -> tuple[str, ...]:
        """Names of the plan that the client goes on holding as before."""

    @abstractmethod
    def _tried(self, plan: Plan, response: Response) -> tuple[str, ...]:
        """What the client is asked to take in, and may refuse."""

    @abstractmethod
    def _assemble(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        """The response of this plan."""

    @abstractmethod
    def _removals(self, dialogue: Dialogue, now: float) -> Response | None:
        """What is to be taken away now."""


def _removal_order(order: list[Dialogue]) -> list[Dialogue]:
    """The order in which to take things away."""
    if len(order) < 2:
        return order
    return sorted(order, key=lambda each: each.type_url in _LAST)
