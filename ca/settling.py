"""Issuers brought up to date, wherever they are kept: read with care, made where they are missing, replaced when due.

Rule: never make a root where there was one, and never use an issuer that can't be trusted. Pure but for fresh keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from ca.issuers import BadIssuer, Issuer, make_intermediate, make_root, read_intermediate, read_root
from ca.rotation import Action, State, Step, Validity, decide
from ca.storage import StorageError
from kube.clock import Clock

ROOT: Final = "root.pem"
INTERMEDIATE: Final = "intermediate.pem"
MOST_STEPS: Final = 3
"""A root, an intermediate, and then nothing is left to do; lifetimes that make more of it are nonsense."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long certificates live. Each is cut to what is left of its issuer's."""

    root: timedelta = timedelta(days=3650)
    intermediate: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(hours=24)


DEFAULT_LIFETIMES: Final = Lifetimes()


@dataclass(frozen=True, slots=True)
class Issuers:
    """The root that peers trust and the intermediate that signs."""

    root: Issuer
    intermediate: Issuer

    @property
    def state(self) -> State:
        """What rotation decides by."""
        return State(self.root.validity, self.intermediate.validity)


class IssuerStore(Protocol):
    """Where issuers are kept: a folder, or a Secret that replicas share."""

    async def refreshed(self, issuers: Issuers, clock: Clock) -> Issuers:
        """Those to use from now on in place of these; mostly these. Raises StorageError: then these stay in force."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Issuers that need nothing now, and those of them that were made for it, by name, with the reason."""

    issuers: Issuers
    made: dict[str, tuple[Issuer, Step]]

    def tell(self) -> None:
        """Log what was made, once it is written down."""
        for issuer, step in self.made.values():
            log.info(str(step.action), reason=step.reason, valid_until=issuer.validity.not_after.isoformat())


def read_issuers(
    root_pem: bytes | None, intermediate_pem: bytes | None, trust_domain: str, place: Callable[[str], str]
) -> tuple[Issuer | None, Issuer | None]:
    """What is kept. `place` tells a person where something of this name is. Raises StorageError."""
    if root_pem is None and intermediate_pem is None:
        return None, None
    if root_pem is None:
        # A new root would cut off every running proxy; that is for a person to decide.
        raise StorageError(
            f"{place(ROOT)} is gone but {INTERMEDIATE} is there: restore it, "
            "or remove both to start with a new root that no running proxy trusts"
        )
    name = ROOT
    try:
        root = read_root(root_pem, trust_domain)
        if intermediate_pem is None:
            return root, None
        name = INTERMEDIATE
        return root, read_intermediate(intermediate_pem, root, trust_domain)
    except BadIssuer as error:
        raise StorageError(f"{place(name)} {error}: restore it from a copy") from error


def settle(
    root: Issuer | None,
    intermediate: Issuer | None,
    trust_domain: str,
    lifetimes: Lifetimes,
    clock: Clock,
    where: str,
) -> Settled:
    """Carry out what `decide` says until nothing is left to do; whoever keeps issuers writes down what was made.

    Raises StorageError, with `where` in its words.
    """
    made: dict[str, tuple[Issuer, Step]] = {}
    for _ in range(MOST_STEPS):
        now = clock.now()
        step = decide(State(_validity(root), _validity(intermediate)), now)
        if step.action is Action.MAKE_ROOT:
            root = make_root(trust_domain, now, lifetimes.root)
            made[ROOT] = (root, step)
        elif root and step.action is Action.MAKE_INTERMEDIATE:
            intermediate = make_intermediate(root, trust_domain, now, lifetimes.intermediate)
            made[INTERMEDIATE] = (intermediate, step)
        elif root and intermediate and step.action is Action.KEEP:
            return Settled(Issuers(root, intermediate), made)
        else:
            break
    raise StorageError(f"the certificate authority in {where} can't be used: {step.reason}")


def _validity(issuer: Issuer | None) -> Validity | None:
    return issuer.validity if issuer else None
