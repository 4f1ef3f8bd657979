"""The issuers of one trust domain, kept in a folder and brought up to date there.

Rule: never make a root where there was one, and never use an issuer that can't be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from ca.issuers import BadIssuer, Issuer, make_intermediate, make_root, read_intermediate, read_root
from ca.rotation import Action, State, Step, Validity, decide
from ca.storage import Folder, StorageError
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


class IssuerFolder:
    """Issuers kept in a Folder. Any number of processes may rotate; one at a time does, the others find its result."""

    def __init__(self, folder: Folder, trust_domain: str, lifetimes: Lifetimes) -> None:
        self._folder = folder
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes

    def settle(self, clock: Clock) -> Issuers:
        """Carry out what `decide` says until nothing is left to do, which makes what is missing and renews what is due.

        Raises StorageError; what was there before still is.
        """
        with self._folder.locked():
            root, intermediate = self._read()
            for _ in range(MOST_STEPS):
                now = clock.now()
                step = decide(State(_validity(root), _validity(intermediate)), now)
                if step.action is Action.MAKE_ROOT:
                    root = make_root(self._trust_domain, now, self._lifetimes.root)
                    self._write(ROOT, root, step)
                elif root and step.action is Action.MAKE_INTERMEDIATE:
                    intermediate = make_intermediate(root, self._trust_domain, now, self._lifetimes.intermediate)
                    self._write(INTERMEDIATE, intermediate, step)
                elif root and intermediate and step.action is Action.KEEP:
                    return Issuers(root, intermediate)
                else:
                    break
        raise StorageError(f"the certificate authority in {self._folder.path} can't be used: {step.reason}")

    def _read(self) -> tuple[Issuer | None, Issuer | None]:
        root_pem, intermediate_pem = self._folder.read(ROOT), self._folder.read(INTERMEDIATE)
        if root_pem is None and intermediate_pem is None:
            return None, None
        if root_pem is None:
            # A new root would cut off every running proxy; that is for a person to decide.
            raise StorageError(
                f"{self._folder.path / ROOT} is gone but {INTERMEDIATE} is there: restore it, "
                "or remove both to start with a new root that no running proxy trusts"
            )
        name = ROOT
        try:
            root = read_root(root_pem, self._trust_domain)
            if intermediate_pem is None:
                return root, None
            name = INTERMEDIATE
            return root, read_intermediate(intermediate_pem, root, self._trust_domain)
        except BadIssuer as error:
            raise StorageError(f"{self._folder.path / name} {error}: restore it from a copy") from error

    def _write(self, name: str, issuer: Issuer, step: Step) -> None:
        self._folder.write(name, issuer.to_pem())
        log.info(str(step.action), reason=step.reason, valid_until=issuer.validity.not_after.isoformat())


def _validity(issuer: Issuer | None) -> Validity | None:
    return issuer.validity if issuer else None
