"""State of the world: the machine behind StreamAggregatedResources.

Rule: listeners and clusters are sent whole, in one response, and absence deletes (R27); of all other types only what is
new, changed or asked for is sent, and absence means nothing (R28). A request with a stale nonce is ignored (R18).
"""

from __future__ import annotations

from typing import ClassVar, Final

from xds.dialogue import Dialogue, Sent
from xds.interest import after_sotw
from xds.machine import REFERRERS, Machine
from xds.requests import RequestReader
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from xds.resourceset import EVERYTHING, NO_NAMES, Plan, ResourceSet
from xds.wire import Response, SotwRequest

WHOLE: Final = frozenset({CLUSTER, LISTENER})
"""Types whose responses are the complete state."""
WARMED_BY: Final = {CLUSTER: (SECRET,), LISTENER: (ROUTES, EXTENSION, SECRET)}
"""What Envoy asks for again, in the same words, after a response of a type (rule R34). Endpoints: see `_follow`."""


class SotwMachine(Machine[SotwRequest]):
    """One state-of-the-world stream. Feed it `receive` and `show`; `pull` says what to send."""

    protocol: ClassVar[str] = "sotw"

    @staticmethod
    def read(reader: RequestReader, data: bytes) -> SotwRequest:
        """The request in these bytes. Raises ProtocolFault."""
        return reader.sotw(data)

    def receive(self, request: SotwRequest, now: float) -> None:
        """Take in a request: an answer, a change of the subscription, or both (rule R16). Raises ProtocolFault."""
        type_url = self._type_of(request)
        self.calm = False
        dialogue = self.dialogues.get(type_url)
        if dialogue is None:
            self._first(type_url, request, now)
            return
        if dialogue.last is not None and request.nonce != dialogue.last.nonce:
            return
        interest, asked = after_sotw(dialogue.interest, request.names)
        if dialogue.sent is not None:
            self._answer(dialogue, dialogue.sent, request)
        elif interest == dialogue.interest and dialogue.armed:
            # Said before, answered before, and said again after a push of what depends on it: it warms (rule R34).
            asked, dialogue.armed = dialogue.armed, NO_NAMES
        if interest != dialogue.interest:
            interest = self._interned(interest)
            dialogue.narrow(interest)
        dialogue.ask(asked)

    def _first(self, type_url: str, request: SotwRequest, now: float) -> None:
        interest, asked = after_sotw(None, request.names)
        dialogue = self._open(type_url, interest, now)
        dialogue.asked = asked
        if interest.legacy and type_url in WHOLE:
            dialogue.brought = request.version

    def _answer(self, dialogue: Dialogue, sent: Sent, request: SotwRequest) -> None:
        self.unanswered -= 1
        nack = dialogue.answered(request.rejection)
        if nack is not None:
            self.nacks.append(nack)
            dialogue.restore(sent)

    def _follow(self, names: frozenset[str]) -> None:
        super()._follow(names)
        endpoints = self.dialogues.get(ENDPOINTS)
        if endpoints is not None:
            endpoints.armed |= names & endpoints.interest.names

    def _additions(self, dialogue: Dialogue, now: float) -> Response | None:
        if dialogue.brought:
            # A wildcard client that has this very set needs nothing (rule R33).
            brought, dialogue.brought = dialogue.brought, ""
            offered = self.offered(dialogue)
            if offered.version == brought and dialogue.asked == EVERYTHING:
                dialogue.asked = NO_NAMES
                dialogue.step(offered, ())
                return None
        return super()._additions(dialogue, now)

    def _send(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        response = super()._send(dialogue, offered, plan)
        for type_url in WARMED_BY.get(dialogue.type_url, ()):
            if type_url in self.dialogues:
                self.dialogues[type_url].armed = EVERYTHING
        return response

    def _is_due(self, dialogue: Dialogue, plan: Plan) -> bool:
        # A whole set answers names that do not exist, too: by their absence.
        return bool(plan.adds or (dialogue.type_url in WHOLE and (plan.answer or plan.missing)))

    def _left_over(self, dialogue: Dialogue, plan: Plan) -> tuple[str, ...]:
        if dialogue.type_url not in WHOLE:
            return plan.withheld
        if plan.adds and not self._retains(dialogue):
            return plan.withheld
        return plan.vanished + plan.withheld

    def _retains(self, dialogue: Dialogue) -> bool:
        """Whether vanished clusters stay in the response because something may still refer to them (rule R63)."""
        return dialogue.type_url == CLUSTER and not all(
            self._in_step(self.dialogues[type_url]) for type_url in REFERRERS if type_url in self.dialogues
        )

    def _in_step(self, dialogue: Dialogue) -> bool:
        quiet = dialogue.sent is None and not dialogue.odd and not dialogue.asked
        return quiet and not self.offered(dialogue).differing(dialogue.held)

    def _tried(self, plan: Plan, response: Response) -> tuple[str, ...]:  # noqa: ARG002 - a whole set repeats what is held
        return tuple(resource.name for resource in plan.adds)

    def _assemble(self, dialogue: Dialogue, offered: ResourceSet, plan: Plan) -> Response:
        last = dialogue.last.serial if dialogue.last is not None else 0
        if dialogue.type_url in WHOLE and (kept := self._left_over(dialogue, plan)):
            whole = _replaced(offered, {name: dialogue.holds(name) for name in kept})
            return self._assembler.sotw(dialogue.type_url, whole.version, tuple(whole.named.values()), last)
        shared = plan.responses.get(self.protocol)
        if shared is None or shared.serial <= last:
            resources = tuple(offered.named.values()) if dialogue.type_url in WHOLE else plan.adds
            shared = self._assembler.sotw(dialogue.type_url, offered.version, resources, last)
            plan.responses[self.protocol] = shared
        return shared

    def _removals(self, dialogue: Dialogue, now: float) -> Response | None:
        if dialogue.type_url not in WHOLE or dialogue.sent is not None or dialogue.trials or not dialogue.odd:
            return None
        if dialogue.gated_since is not None:
            return None
        offered = self.offered(dialogue)
        gone = tuple(name for name, have in dialogue.odd.items() if have is not None and name not in offered)
        if dialogue.type_url == CLUSTER:
            gone = self._releasable(dialogue, gone, now)
        if not gone:
            return None
        return self._send(dialogue, offered, Plan(withheld=tuple(name for name in dialogue.odd if name not in gone)))


def _replaced(offered: ResourceSet, kept: dict[str, Resource | None]) -> ResourceSet:
    """What is offered, with some names as the client holds them: in an older version, or not at all."""
    named = dict(offered.named)
    for name, resource in kept.items():
        if resource is None:
            named.pop(name, None)
        else:
            named[name] = resource
    return ResourceSet(offered.type_url, named)
