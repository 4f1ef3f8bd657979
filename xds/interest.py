"""What a client wants of one type, and the arithmetic of its requests (rules R22–R26, R37–R43, R53).

Rule: pure. The two protocols differ in how a request changes the Interest; from there on they are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary, ref

from xds.resourceset import ALL, EVERYTHING, NO_NAMES, ResourceSet


@dataclass(frozen=True, slots=True)
class Interest:
    """Everything (`wildcard`), these names, or both: a name beside a wildcard matters when it does not exist (R26).

    `legacy`: the wildcard came from an empty first request and so, in state of the world, ends with the first name.
    """

    wildcard: bool = False
    names: frozenset[str] = NO_NAMES
    legacy: bool = False

    def of(self, offered: ResourceSet) -> ResourceSet:
        """What the client should have of what is offered."""
        return offered if self.wildcard else offered.only(self.names)

    def covers(self, name: str) -> bool:
        """Whether the client wants this name if it exists."""
        return self.wildcard or name in self.names


class Names:
    """Interned sets of names: streams with equal subscriptions hold the same object, which makes comparing free."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[frozenset[str], ref[frozenset[str]]] = WeakKeyDictionary()

    def intern(self, names: frozenset[str]) -> frozenset[str]:
        """The set that is equal to this one and shared."""
        known = self._known.get(names)
        found = known() if known is not None else None
        if found is None:
            found = names
            self._known[names] = ref(names)
        return found


def after_delta(
    before: Interest | None, subscribe: frozenset[str], unsubscribe: frozenset[str]
) -> tuple[Interest, frozenset[str]]:
    """The Interest after a delta request, and the names that must be answered, `*` among them; None: the first request.

    Every name in `subscribe` is answered, also when it was subscribed before: the client may have forgotten it (R40).
    A name unsubscribed beside a wildcard is answered too (R43).
    """
    legacy = before is None and not subscribe and not unsubscribe
    known = before or Interest()
    wildcard = known.wildcard or legacy or ALL in subscribe
    asked = EVERYTHING if legacy else subscribe
    names = subscribe - EVERYTHING if ALL in subscribe else subscribe
    names = known.names | names if known.names else names
    if unsubscribe:
        dropped = names & unsubscribe
        names -= unsubscribe
        asked -= unsubscribe
        wildcard = wildcard and ALL not in unsubscribe
        if wildcard:
            asked |= dropped
    return Interest(wildcard, names), asked


def after_sotw(before: Interest | None, names: frozenset[str]) -> tuple[Interest, frozenset[str]]:
    """The Interest after a state-of-the-world request, and what is newly asked for; None: the first request.

    An empty list is everything at first, and nothing once any name was sent (R24, R25).
    """
    if not names and (before is None or before.legacy):
        return Interest(wildcard=True, legacy=True), EVERYTHING if before is None else NO_NAMES
    known = before or Interest()
    wildcard = ALL in names
    explicit = names - EVERYTHING if wildcard else names
    asked = explicit - known.names
    if wildcard and (not known.wildcard or known.legacy):
        asked |= EVERYTHING
    return Interest(wildcard, explicit), asked
