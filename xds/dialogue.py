"""One resource type on one stream: what the client wants, what it holds, what it has yet to answer, what it refused.

Rule: what a client holds is a shared ResourceSet plus few exceptions (`odd`), so a stream that is in step costs a few
hundred bytes whatever it holds. At most one response is unanswered; changes merge behind it (rule R79).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from xds.interest import Interest
from xds.resource import Resource, unseen
from xds.resourceset import ALL, NO_NAMES, NOT_NAMES, NOTHING, Plan, ResourceSet
from xds.wire import Rejection, Response

UNCERTAIN: Final = "?"
"""The version of what a client may hold in either of two states, after a NACK (rule R17)."""
_NO_EXCEPTIONS: Final[Mapping[str, Resource | None]] = {}


@dataclass(slots=True)
class Sent:
    """A response that waits for its answer, and what the client held before it. Nobody changes it.

    (One is made for each push, and `frozen` would make that four times as expensive.)
    `tried`: what of it the client is asked to take in, by name; `warms`: something is new or changed, so the answer
    comes once it is warm; `round`: the machine's count of views; `complete`: nothing was left for a later response.
    """

    response: Response
    offered: ResourceSet
    tried: tuple[str, ...]
    held: ResourceSet
    odd: Mapping[str, Resource | None]
    round: int
    warms: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Resource (or, version empty, a removal) the client refused, and its words."""

    version: str
    message: str


@dataclass(frozen=True, slots=True)
class Nack:
    """A NACK as it is logged and counted. `names` were in the refused response; one name: it is the one at fault."""

    type_url: str
    nonce: str
    code: int
    message: str
    names: tuple[str, ...]


class Dialogue:
    """The state of one type on one stream. The machines decide; this keeps the books."""

    __slots__ = (
        "armed", "asked", "brought", "bytes_pushed", "doomed", "error", "gated_since", "held", "interest", "last",
        "odd", "opened", "pushes", "refused", "resumed", "sent", "settled", "trials", "type_url",
    )  # fmt: skip

    def __init__(self, type_url: str, interest: Interest, opened: float) -> None:
        self.type_url = type_url
        self.interest = interest
        self.opened = opened
        self.held: ResourceSet = NOTHING
        self.odd: Mapping[str, Resource | None] = _NO_EXCEPTIONS
        self.asked: frozenset[str] = NO_NAMES
        self.sent: Sent | None = None
        self.last: Response | None = None
        self.refused: dict[str, Refusal] = {}
        self.trials: deque[tuple[str, ...]] = deque()
        self.error = ""
        self.doomed: dict[str, int] = {}
        """Names gone from the view, and the round in which that was seen (rule R63)."""
        self.settled = 0
        """The round whose view the client has wholly answered."""
        self.gated_since: float | None = None
        self.armed: frozenset[str] = NO_NAMES
        """State of the world: names whose identical re-request means that they are warming (rule R34)."""
        self.resumed = False
        """Whether the client brought resources along from an earlier stream (rule R55)."""
        self.brought = ""
        """State of the world: the version the client brought along, until it is compared (rule R33)."""
        self.pushes = 0
        self.bytes_pushed = 0

    def at_rest(self) -> bool:
        """Whether nothing is under way, gated, or refused: after a pull, the client has answered the whole view."""
        return self.sent is None and not self.trials and not self.refused and self.gated_since is None

    def has_all_of(self, offered: ResourceSet) -> bool:
        """Whether the client holds exactly this and asks for nothing: told without a look at any name."""
        return offered is self.held and not (self.odd or self.asked or self.refused or self.trials)

    def has_acknowledged(self, offered: ResourceSet) -> bool:
        """Whether the client has answered that it took in all of this."""
        unsure = self.sent is not None or self.odd or self.refused or self.trials
        return not unsure and not offered.differing(self.held)

    def holds(self, name: str) -> Resource | None:
        """What the client has by this name, as far as we know."""
        return self.odd[name] if name in self.odd else self.held.get(name)

    def refuses(self, name: str, want: Resource | None) -> bool:
        """Whether the client refused exactly this already (None: the removal)."""
        refusal = self.refused.get(name)
        return refusal is not None and refusal.version == (want.version if want is not None else "")

    def ask(self, names: frozenset[str]) -> None:
        """These names must be answered, changed or not."""
        self.asked = self.asked | names if self.asked else names

    def narrow(self, interest: Interest) -> None:
        """The client wants less: forget what is wanted no more."""
        self.interest = interest
        if interest.wildcard:
            return
        names = interest.names
        self.held = self.held.only(names)
        self.asked = self.asked & names
        self.odd = {name: have for name, have in self.odd.items() if name in names}
        self.refused = {name: refusal for name, refusal in self.refused.items() if name in names}
        self.doomed = {name: seen for name, seen in self.doomed.items() if name in names}
        self.trials = deque(kept for trial in self.trials if (kept := tuple(n for n in trial if n in names)))
        self._forget_error()

    def plan(self, offered: ResourceSet) -> Plan:
        """What is to be sent now to bring the client to what is offered."""
        if not self.odd and not self.refused and not self.trials:
            return offered.plan(self.held, self.asked)
        return self._trial(offered, self.trials[0]) if self.trials else self._exceptional(offered)

    def _exceptional(self, offered: ResourceSet) -> Plan:
        """A plan for a client unlike the others: it refused something, or holds what we do not know in full."""
        adds: list[Resource] = []
        missing: list[str] = []
        vanished: list[str] = []
        withheld: list[str] = []
        for name in self._candidates(offered):
            have, want = self.holds(name), offered.get(name)
            if not (asked := name in self.asked or ALL in self.asked) and have == want:
                continue
            if self.refuses(name, want) and not asked:
                withheld.append(name)
            elif want is not None:
                adds.append(want)
            else:
                (missing if name in self.asked else vanished).append(name)
        answer = not self.asked.isdisjoint(NOT_NAMES)
        return Plan(tuple(adds), tuple(missing), tuple(vanished), tuple(withheld), answer)

    def _trial(self, offered: ResourceSet, trial: tuple[str, ...]) -> Plan:
        """A plan that sends only these names, of a response that was refused as a whole (rule R17)."""
        names = frozenset(trial)
        adds = tuple(want for name in trial if (want := offered.get(name)) is not None)
        missing = tuple(name for name in trial if name not in offered)
        withheld = tuple(
            name for name in self._candidates(offered) if name not in names and self.holds(name) != offered.get(name)
        )
        return Plan(adds, missing, (), withheld)

    def _candidates(self, offered: ResourceSet) -> dict[str, None]:
        names: dict[str, None] = dict.fromkeys(offered if ALL in self.asked else ())
        names.update(dict.fromkeys(offered.differing(self.held)))
        names.update(dict.fromkeys(self.odd))
        names.update(dict.fromkeys(sorted(self.asked - NOT_NAMES)))
        return names

    def step(self, offered: ResourceSet, later: Iterable[str]) -> None:
        """From now on the client holds what is offered, except `later`, which it holds (or lacks) as before."""
        odd = {name: have for name in later if (have := self.holds(name)) != offered.get(name)}
        self.held = offered
        self.odd = odd or _NO_EXCEPTIONS
        if self.refused:
            # What is tried again, or wanted no more, is refused no more; a new NACK will say so again.
            self.refused = {name: refusal for name, refusal in self.refused.items() if name in odd}

    def answered(self, rejection: Rejection | None) -> Nack | None:
        """The client has answered the response it was sent last: ACK, or NACK with its words."""
        sent, self.sent = self.sent, None
        if sent is None:
            return None
        if rejection is not None:
            return self._refuse(sent, rejection)
        if self.trials and set(sent.tried) <= set(self.trials[0]):
            self.trials.popleft()
        if sent.complete and not self.trials:
            self.settled = sent.round
        self._forget_error()
        return None

    def _refuse(self, sent: Sent, rejection: Rejection) -> Nack:
        self.error = rejection.message or f"refused with code {rejection.code} and no words"
        if self.trials and set(sent.tried) <= set(self.trials[0]):
            self.trials.popleft()
        if len(sent.tried) == 1:
            name = sent.tried[0]
            want = sent.offered.get(name)
            self.refused[name] = Refusal(want.version if want is not None else "", self.error)
        else:
            self.trials.extendleft(reversed(_parts(sent.tried, rejection.message)))
        return Nack(self.type_url, sent.response.nonce, rejection.code, self.error, sent.tried)

    def doubt(self, names: Iterable[str]) -> None:
        """The client may or may not have taken these in: what it holds is known when it answers next (rule R17)."""
        odd = dict(self.odd)
        odd.update((name, unseen(self.type_url, name, UNCERTAIN)) for name in names)
        self.odd = odd

    def restore(self, sent: Sent) -> None:
        """The client holds what it held before this response."""
        odd = dict(self.odd)
        for name in (*sent.tried, *sent.odd, *sent.offered.differing(sent.held)):
            odd[name] = sent.odd[name] if name in sent.odd else sent.held.get(name)
        self.odd = odd

    def _forget_error(self) -> None:
        if not self.refused and not self.trials:
            self.error = ""


def _parts(names: tuple[str, ...], message: str) -> list[tuple[str, ...]]:
    """Parts to try one after the other: those Envoy's words do not name, then each that they do; else two halves."""
    named = [name for name in names if name in message]
    if 0 < len(named) < len(names):
        spoken = set(named)
        return [tuple(name for name in names if name not in spoken), *((name,) for name in named)]
    middle = len(names) // 2
    return [names[:middle], names[middle:]] if len(names) > 1 else []
