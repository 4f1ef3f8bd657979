"""What a replica in a cluster is besides a server of configuration: a candidate for the Lease, with its duties.

Rule: made once by the composition root; read by the admin API and the metrics, which change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ca.authority import Authority
from ca.token_review import TokenReviewer
from controlplane.duties.announcing import Announcer
from controlplane.duties.duty import Duties
from controlplane.duties.reasons import reason
from controlplane.duties.rejections import rejections
from controlplane.duties.serving import ServingCertificate
from controlplane.status import Status
from kube.events import Said
from kube.lease import Leadership
from kube.objects import Namespace
from kube.problem import Problem, Ref
from sources.store import Store
from xds.server import XdsServer


@dataclass(frozen=True, slots=True)
class Cluster:
    """The parts a replica in a cluster has and one that reads folders has not."""

    instance: str
    leadership: Leadership
    duties: Duties
    authority: Authority
    reviewer: TokenReviewer
    announcers: tuple[Announcer, ...]
    serving: ServingCertificate | None

    def view(self) -> dict[str, Any]:
        """What `/status` shows."""
        served_until = self.serving.ends if self.serving is not None else None
        root_ends, intermediate_ends = self.authority.ends
        return {
            "instance": self.instance,
            "leader": self.leadership.holder,
            "leading": self.leadership.leading,
            "duties": dict(sorted(self.duties.troubles.items())) if self.leadership.leading else {},
            "certificate_authority": {
                "root_ends": root_ends.isoformat(),
                "intermediate_ends": intermediate_ends.isoformat(),
                "trouble": self.authority.trouble,
            },
            "webhook_certificate_ends": served_until.isoformat() if served_until is not None else None,
            "tokens": dict(sorted(self.reviewer.counted.items())),
        }


class Namespaces:
    """The names of all namespaces that are not going, worked out once for each state of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: object = None
        self._names: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """The names."""
        resources = self._store.current
        if resources is not self._seen:
            found = resources.of(Namespace)
            self._names = frozenset(each.name for each in found if each.metadata.deletion_timestamp is None)
            self._seen = resources
        return self._names


class Troubled(Protocol):
    """What may be kept from keeping certificates."""

    @property
    def trouble(self) -> str:
        """By what, in words."""


class ProblemNews:
    """All Problems as they are to be told on their objects, the one of the CA's Secret among them."""

    def __init__(self, status: Status, authority: Troubled, secret: Ref) -> None:
        self._status = status
        self._authority = authority
        self._secret = secret

    def concerns(self) -> object:
        """Another value whenever there is something else to tell."""
        return self._status.problems, self._authority.trouble

    def wanted(self) -> Iterator[tuple[Ref, Said]]:
        """Object and words."""
        problems: Iterable[Problem] = self._status.problems
        if self._authority.trouble:
            problems = (*problems, Problem(self._secret, "", f"{self._authority.trouble}.", "ca"))
        for problem in problems:
            field = f"{problem.field}: " if problem.field else ""
            yield problem.object, Said(reason(problem), "Translate", f"{field}{problem.message} [{problem.rule}]")


class RejectionNews:
    """What the proxies of this replica refuse, as it is to be told on the objects it came from."""

    def __init__(self, status: Status, server: XdsServer) -> None:
        self._status = status
        self._server = server

    def concerns(self) -> object:
        """Another value whenever a proxy refused something more."""
        return self._server.counters.nacks.total()

    def wanted(self) -> Iterator[tuple[Ref, Said]]:
        """Object and words; nobody is asked while no proxy ever refused anything."""
        if self._server.counters.nacks.total():
            yield from rejections(self._server.proxies(), self._status.mesh)


def version_of(store: Store) -> Callable[[Ref], str | None]:
    """The apiVersion in which an object was read."""

    def known(ref: Ref) -> str | None:
        found = store.current.objects.get(ref)
        return (found.api_version or None) if found is not None else None

    return known
