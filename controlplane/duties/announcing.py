"""Tells Problems and rejected configuration as Events on the objects, so that `kubectl describe` shows them.

Rule: told when it appears, counted when it comes again, and renewed while it lasts, for the API server forgets Events
after an hour. What is more than the budget is told later, never lost; one object can't use up the budget of all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from controlplane.duties.duty import Duty
from kube.client import ApiError, Client
from kube.clock import SYSTEM_CLOCK, Clock
from kube.events import EventWriter, Regarding, Said
from kube.problem import Ref

RENEWAL: Final = 1800.0
"""Seconds after which a Problem that lasts is counted again: half of the API server's default of an hour."""
REMEMBERED: Final = 10_000
"""Announcements known at most, those that are over among them."""

PATHS: Final = {
    "Namespace": ("v1", "namespaces"),
    "Service": ("v1", "services"),
    "Pod": ("v1", "pods"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Secret": ("v1", "secrets"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "TrafficSplit": ("split.smi-spec.io/v1alpha4", "trafficsplits"),
    "TrafficTarget": ("access.smi-spec.io/v1alpha3", "traffictargets"),
    "IdentityBinding": ("access.smi-spec.io/v1alpha4", "identitybindings"),
    "HTTPRouteGroup": ("specs.smi-spec.io/v1alpha4", "httproutegroups"),
    "TCPRoute": ("specs.smi-spec.io/v1alpha4", "tcproutes"),
    "UDPRoute": ("specs.smi-spec.io/v1alpha4", "udproutes"),
    "EgressPolicy": ("weft.dev/v1alpha1", "egresspolicies"),
}
"""Kind → apiVersion and plural, where the uid of an object is asked for. Of SMI kinds the newest version."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Bucket:
    """So many at once, and one more every `1 / per_second` seconds."""

    burst: float
    per_second: float
    left: float
    at: float

    def has(self, now: float) -> bool:
        """Whether there is one left."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        return self.left >= 1

    def take(self) -> None:
        """One less."""
        self.left -= 1


@dataclass(slots=True)
class _History:
    """How often this was told, when last, and whether it was still so at the last look."""

    count: int
    at: float
    lasting: bool


class Announcer:
    """Brings the Events in step with what is to be told: `wanted` gives all of it, each time anew.

    `concerns` changes whenever `wanted` may; `version_of` gives the apiVersion an object was read in, if it was.
    """

    def __init__(
        self,
        client: Client,
        instance: str,
        wanted: Callable[[], Iterable[tuple[Ref, Said]]],
        concerns: Callable[[], object],
        version_of: Callable[[Ref], str | None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._writer = EventWriter(client, instance)
        self._wanted = wanted
        self._concerns = concerns
        self._version_of = version_of
        self._clock = clock
        self._budget = Bucket(100, 5.0, 100, clock.passed())
        self._budgets: OrderedDict[Ref, Bucket] = OrderedDict()
        self._histories: OrderedDict[tuple[Ref, Said], _History] = OrderedDict()
        self.written = 0
        """Events written or counted so far."""
        self.waiting = 0
        """What had to wait for a later turn, last time."""

    @property
    def duty(self) -> Duty:
        """As a duty of the lease holder."""
        return Duty(name="events", carry_out=self.carry_out, concerns=self._what, period=30.0)

    def _what(self) -> object:
        """While something waits, each look is another."""
        return (self._concerns(), self._clock.passed() if self.waiting else 0.0)

    async def carry_out(self) -> None:
        """Tell what is new or due. Raises ApiUnavailable, and ApiError where the fault is not the object's."""
        wanted = dict.fromkeys(pair for pair in self._wanted() if pair[0].kind in PATHS)
        for pair, history in self._histories.items():
            history.lasting = history.lasting and pair in wanted
        self.waiting = 0
        for pair in wanted:
            if self._is_due(pair):
                if self._may(pair[0]):
                    await self._tell(*pair)
                else:
                    self.waiting += 1

    def _is_due(self, pair: tuple[Ref, Said]) -> bool:
        history = self._histories.get(pair)
        return history is None or not history.lasting or self._clock.passed() - history.at >= RENEWAL

    def _may(self, ref: Ref) -> bool:
        """Whether the budgets allow one more Event, for this object and for all together."""
        now = self._clock.passed()
        own = self._budgets.get(ref)
        if own is None:
            own = self._budgets[ref] = Bucket(25, 1 / 300, 25, now)
            while len(self._budgets) > REMEMBERED:
                self._budgets.popitem(last=False)
        if not (own.has(now) and self._budget.has(now)):
            return False
        own.take()
        self._budget.take()
        return True

    async def _tell(self, ref: Ref, said: Said) -> None:
        history = self._histories.get((ref, said))
        count = history.count + 1 if history is not None else 1
        regarding = await self._found(ref)
        if regarding is not None:
            try:
                await self._writer.tell(regarding, said, self._clock.now(), count)
                self.written += 1
            except ApiError as error:
                if error.code not in {400, 403, 404, 422}:
                    raise
                # A namespace that is going, or words the API server does not take: trying again would not help.
                log.info("event not written", object=str(ref), reason=said.reason, because=str(error))
        self._histories[ref, said] = _History(count, self._clock.passed(), lasting=True)
        self._histories.move_to_end((ref, said))
        while len(self._histories) > REMEMBERED:
            self._histories.popitem(last=False)

    async def _found(self, ref: Ref) -> Regarding | None:
        """The object with its uid, which `kubectl describe` looks for; None when it is gone or we may not read it."""
        version, plural = PATHS[ref.kind]
        version = self._version_of(ref) or version
        prefix = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        path = f"{prefix}/namespaces/{ref.namespace}/{plural}/{ref.name}" if ref.namespace else (
            f"{prefix}/{plural}/{ref.name}"
        )  # fmt: skip
        try:
            found = await self._client.request("GET", path)
        except ApiError as error:
            if error.code in {403, 404}:
                return None
            raise
        return Regarding(ref, version, found["metadata"]["uid"])
