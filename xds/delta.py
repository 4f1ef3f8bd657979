"""Incremental xDS: the machine behind DeltaAggregatedResources.

Rule: a name in `resource_names_subscribe` is always answered, with the resource or with its absence (R40, R41); no
request is refused for its nonce (R19); what the client is known to hold is not sent again (R44, R55).
"""

from __future__ import annotations

from typing import ClassVar

from xds.dialogue import Dialogue, Sent
from xds.interest import after_delta
from xds.machine import Machine
from xds.requests import RequestReader
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION
from xds.resourceset import ALL, EVERYTHING, GREETING, NO_NAMES, Plan, ResourceSet
from xds.wire import DeltaRequest, Response


class DeltaMachine(Machine[DeltaRequest]):
    """One delta stream. Feed it `receive` and `show`; `pull` says what to send."""

    protocol: ClassVar[str] = "delta"

    _unfollowed: frozenset[str] = NO_NAMES
    """Clusters sent before the client asked for endpoints: their endpoints are sent even if it has them (rule R58)."""

    @staticmethod
    def read(reader: RequestReader, data: bytes) -> DeltaRequest:
        """The request in these bytes. Raises ProtocolFault."""
        return reader.delta(data)

    def receive(self, request: DeltaRequest, now: float) -> None:
        """Take in a request: an answer, a change of the subscription, or both (R16, R20). Raises ProtocolFault."""
        type_url = self._type_of(request)
        dialogue = self.dialogues.get(type_url)
        if dialogue is None:
            self.calm = False
            self._first(type_url, request, now)
            return
        sent = dialogue.sent
        if request.rejection is not None:
            self.calm = False
        if sent is not None and request.nonce == sent.response.nonce:
            self._answer(dialogue, sent, request)
        if request.subscribe or request.unsubscribe:
            self.calm = False
            interest, asked = after_delta(dialogue.interest, request.subscribe, request.unsubscribe)
            interest = self._interned(interest)
            if request.unsubscribe:
                dialogue.narrow(interest)
            dialogue.interest = interest
            dialogue.ask(asked)

    def _first(self, type_url: str, request: DeltaRequest, now: float) -> None:
        interest, asked = after_delta(None, request.subscribe, request.unsubscribe)
        dialogue = self._open(type_url, interest, now)
        if len(request.initial):
            # The client comes back with what another stream gave it, perhaps another replica (rules R55–R58).
            dialogue.resumed = True
            dialogue.held = interest.of(request.initial)
            # Whoever only comes back has all that it asks for: the set of what it has tells so by its size.
            held_all = not interest.wildcard and len(dialogue.held) == len(asked)
            asked = NO_NAMES if held_all else asked.difference(request.initial.named)
            if ALL in asked:
                asked = asked - EVERYTHING | {GREETING}
        dialogue.asked = asked
        if type_url == ENDPOINTS and self._unfollowed:
            names, self._unfollowed = self._unfollowed, NO_NAMES
            dialogue.ask(names & interest.names)

    def _follow(self, names: frozenset[str]) -> None:
        if ENDPOINTS not in self.dialogues:
            self._unfollowed |= names
        super()._follow(names)

    def _answer(self, dialogue: Dialogue, sent: Sent, request: DeltaRequest) -> None:
        self.unanswered -= 1
        nack = dialogue.answered(request.rejection)
        if nack is not None:
            self.nacks.append(nack)
            # "Refused" is not "nothing taken in": Envoy applies the good clusters of a refused response (rule R17).
            dialogue.restore(sent)
            dialogue.doubt(sent.response.names)

    def _is_due(self, dialogue: Dialogue, plan: Plan) -> bool:
        return bool(plan.adds or plan.answer or (plan.missing and dialogue.type_url != EXTENSION))

    def _left_over(self, dialogue: Dialogue, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - state of the world asks it
        return plan.vanished + plan.withheld

    def _tried(self, plan: Plan, response: Response) -> tuple[str, ...]:
        # The response's own tuple, mostly: a stream that starts would make one of all its names for each type.
        return response.names + plan.missing

    def _send(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        part = plan.part
        if part is None or part.stage is None:
            return super()._send(dialogue, offered, plan)
        # A long response goes in parts (rule R70), each after the ACK of the one before. The client is led over stages
        # that all clients with the same need share, so every part is put together once; what changes meanwhile is
        # simply part of what differs from the stage.
        return super()._send(dialogue, part.stage, part)

    def _assemble(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        last = dialogue.last.serial if dialogue.last is not None else 0
        shared = plan.responses.get(self.protocol)
        if shared is None or shared.serial <= last:
            missing = plan.missing if dialogue.type_url != EXTENSION else ()
            shared = self._assembler.delta(dialogue.type_url, offered.version, plan.adds, missing, last)
            plan.responses[self.protocol] = shared
        return shared

    def _removals(self, dialogue: Dialogue, now: float) -> Response | None:
        if dialogue.sent is not None or dialogue.trials or dialogue.gated_since is not None or not dialogue.odd:
            return None
        if dialogue.type_url == EXTENSION:
            # Envoy drops the filter when told of a removal, and answers 5xx: it is never told, and keeps it (rule R45).
            return None
        offered = self.offered(dialogue)
        gone = tuple(
            name
            for name, have in dialogue.odd.items()
            if have is not None and name not in offered and not dialogue.refuses(name, None)
        )
        if dialogue.type_url == CLUSTER:
            gone = self._releasable(dialogue, gone, now)
        if dialogue.type_url == ENDPOINTS and self._clusters_busy():
            return None
        if not gone:
            return None
        later = tuple(name for name in dialogue.odd if name not in gone)
        return self._send(dialogue, offered, Plan(missing=gone, withheld=later))

    def _clusters_busy(self) -> bool:
        """Endpoints go after their clusters (rule R61)."""
        clusters = self.dialogues.get(CLUSTER)
        return clusters is not None and (clusters.sent is not None or bool(clusters.doomed))
