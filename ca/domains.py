"""A change of the trust domain: how far it has come, what comes next, and how that is carried out.

Rule: nothing is signed under a name that somebody who may meet it does not accept yet, and no name is given up while a
leaf or a connection of it may live (docs/decisions/0083). One root proves both names; intermediates are bound to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ca.issuers import TRUST_DOMAIN
from ca.rotation import Action, Onlookers, Step, leaves_gone, why_wait

FORMER: Final = 16
"""As many earlier names are remembered."""


@dataclass(frozen=True, slots=True)
class Domains:
    """The trust domain that leaves are of, and a change of it. `next` and `previous` are never there together.

    With `next` the rules that accept both are being distributed, since `since`. With `previous` its leaves run out:
    since `since`, or, None, some replica may still sign under it. `leaf` is the longest life that has to be outlasted.
    Then, `renewing`, sidecars connect anew, for each request is judged by the certificate its connection began with.
    `former` are the names of the past.
    """

    signs: str
    next: str = ""
    previous: str = ""
    since: datetime | None = None
    leaf: timedelta = timedelta(0)
    renewing: bool = False
    former: tuple[str, ...] = ()

    @property
    def changing(self) -> bool:
        """Whether a change is under way."""
        return bool(self.next or self.previous)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names that ours are accepted by, in an order that stays the same when the roles of two change."""
        return tuple(sorted(filter(None, {self.signs, self.next, self.previous})))

    @property
    def serving(self) -> tuple[str, ...]:
        """The names that servers are accepted by; as soon as these change sidecars connect anew."""
        return (self.signs,) if self.renewing else self.accepted

    @property
    def known(self) -> frozenset[str]:
        """All names that this authority has, had, or is about to have."""
        return frozenset({*self.accepted, *self.former})


def begun(domains: Domains, name: str, leaf: timedelta, now: datetime) -> Domains:
    """The change to this name, begun. Raises ValueError, a sentence, for what is no trust domain or not another one."""
    if not TRUST_DOMAIN.fullmatch(name):
        raise ValueError(f"{name!r} is not a trust domain (SPIFFE-ID §2.1: a-z, 0-9, '.', '-', '_')")
    if domains.changing:
        raise ValueError("a change of the trust domain is under way: wait for its end, or roll it back")
    if name == domains.signs:
        raise ValueError(f"{name} is the trust domain already")
    return replace(domains, next=name, since=now, leaf=leaf)


def decide_domain(domains: Domains, leaf: timedelta, seen: Onlookers, now: datetime, *, back: bool) -> Step:
    """The next step of a change that is under way. `leaf`: how long leaves live now, `back`: a person takes it back."""
    leaf = max(leaf, domains.leaf)
    if back and domains.renewing:
        return Step(Action.DROP_WISH, "servers are no longer accepted by the previous name: change to it anew")
    if back and domains.next:
        return Step(Action.ABANDON_DOMAIN, "a person asked for it, and nothing was signed under the next name")
    if back:
        return Step(Action.SIGN_PREVIOUS_DOMAIN, "a person asked for it, and everybody accepts both trust domains")
    if domains.next:
        wait = why_wait(seen, domains.since, leaf, now, "the rules that accept both trust domains")
        return wait or Step(Action.SIGN_NEXT_DOMAIN, "everybody who holds a valid leaf accepts both trust domains")
    return _decide_drain(domains, leaf, seen, now)


def _decide_drain(domains: Domains, leaf: timedelta, seen: Onlookers, now: datetime) -> Step:
    if domains.since is None:
        if seen.behind:
            return Step(Action.WAIT, f"replicas still sign under the other trust domain: {', '.join(seen.behind)}")
        return Step(Action.START_DOMAIN_DRAIN, "nobody signs under the previous trust domain any more")
    gone = leaves_gone(domains.since, leaf)
    if now < gone:
        return Step(Action.WAIT, f"leaves of {domains.previous} may live until {gone:%F %T} UTC")
    if not domains.renewing:
        return Step(Action.RENEW_CONNECTIONS, f"no leaf of {domains.previous} lives any more, but connections may")
    # Who is away holds no leaf that is valid.
    wait = why_wait(replace(seen, away=()), None, leaf, now, "the servers' new names")
    return wait or Step(Action.RETIRE_DOMAIN, f"nobody sends requests as one of {domains.previous} any more")


def moved(domains: Domains, action: Action, leaf: timedelta, now: datetime) -> Domains:
    """The names after this step."""
    return _MOVES[action](replace(domains, leaf=max(leaf, domains.leaf)), now)


def _sign_next(domains: Domains, _: datetime) -> Domains:
    return replace(domains, signs=domains.next, next="", previous=domains.signs, since=None)


def _sign_previous(domains: Domains, _: datetime) -> Domains:
    return replace(domains, signs=domains.previous, previous=domains.signs, since=None)


def _start_drain(domains: Domains, now: datetime) -> Domains:
    return replace(domains, since=now)


def _renew(domains: Domains, _: datetime) -> Domains:
    return replace(domains, renewing=True)


def _end(domains: Domains, _: datetime) -> Domains:
    former = dict.fromkeys((*filter(None, (domains.previous,)), *domains.former))
    former.pop(domains.signs, None)
    return Domains(domains.signs, former=tuple(former)[:FORMER])


_MOVES: Final[dict[Action, Callable[[Domains, datetime], Domains]]] = {
    Action.SIGN_NEXT_DOMAIN: _sign_next,
    Action.SIGN_PREVIOUS_DOMAIN: _sign_previous,
    Action.START_DOMAIN_DRAIN: _start_drain,
    Action.RENEW_CONNECTIONS: _renew,
    Action.DROP_WISH: lambda domains, _: domains,
    Action.ABANDON_DOMAIN: _end,
    Action.RETIRE_DOMAIN: _end,
}
SIGNING: Final = frozenset({Action.SIGN_NEXT_DOMAIN, Action.SIGN_PREVIOUS_DOMAIN})
"""After these an intermediate of the other name signs."""
