"""Questions about traffic answered: by resource, between two, and by backend of a split.

Rule: workloads, pods, nodes and namespaces are told what they served, by their own sidecars; Services and splits what
callers' sidecars sent them. Who called whom comes from callers' sidecars: servers know no workload (decision 0091).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from controlplane.traffic.facts import Counts, Series, Side, Traffic
from controlplane.traffic.inventory import Inventory, Split
from controlplane.traffic.kinds import WORKLOADS, Resource
from mesh.model import ServiceId

NOTHING: Final = Counts()


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend of a split. `weight` is as written."""

    apex: str
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class Row:
    """The traffic of one resource, perhaps with one other (`peer`), perhaps of one backend.

    `incoming` says whether the resource was called. `peer` may be a ServiceAccount, where only the certificate tells.
    """

    resource: Resource
    side: Side
    incoming: bool = True
    peer: Resource | None = None
    backend: Backend | None = None
    counts: Counts = NOTHING
    failures: float = 0
    open: float = 0
    codes: dict[str, float] = field(default_factory=dict)

    @property
    def successes(self) -> float:
        """Requests that did not fail."""
        return self.counts.requests - self.failures


Resources = Iterable[Resource]


class Answers:
    """All questions about one Traffic."""

    def __init__(self, traffic: Traffic, inventory: Inventory) -> None:
        self.traffic = traffic
        self.inventory = inventory

    def resources(self, kind: str) -> list[Row]:
        """A row for each resource of a kind, those without traffic included; for each backend of splits."""
        if kind == "trafficsplits":
            return [row for split in self.inventory.splits for row in self._backends(split)]
        side = Side.CLIENT if kind == "services" else Side.SERVER
        ends = self.called if kind == "services" else self._counting
        found: dict[Resource, Row] = {known: Row(known, side) for known in self.inventory.known(kind)}
        for series, counts, still in self._of(side):
            for resource in ends(series):
                if resource.kind == kind:
                    found[resource] = _with(found.get(resource) or Row(resource, side), series, counts, still)
        return _sorted(found.values())

    def outgoing(self, kind: str, chosen: Callable[[Series], bool]) -> list[Row]:
        """What each resource of a kind sent, of the series that are chosen."""
        found: dict[Resource, Row] = {}
        for series, counts, still in self._of(Side.CLIENT):
            for resource in self._counting(series):
                if resource.kind == kind and chosen(series):
                    row = found.get(resource) or Row(resource, Side.CLIENT, incoming=False)
                    found[resource] = _with(row, series, counts, still)
        return _sorted(found.values())

    def received(self, kind: str, chosen: Callable[[Series], bool]) -> list[Row]:
        """What each resource of a kind was sent, as callers' sidecars counted, of the series that are chosen."""
        found: dict[Resource, Row] = {}
        for series, counts, still in self._of(Side.CLIENT):
            for resource in self.called(series):
                if resource.kind == kind and chosen(series):
                    found[resource] = _with(found.get(resource) or Row(resource, Side.CLIENT), series, counts, still)
        return _sorted(found.values())

    def edges(self, kind: str) -> list[Row]:
        """A row for each pair that had traffic: workloads, namespaces, or a workload and the Service it called."""
        found: dict[tuple[Resource, Resource], Row] = {}
        for series, counts, still in self._of(Side.CLIENT):
            for caller in self._callers(series, kind):
                for called in self.called(series):
                    if called.kind == kind or (kind in WORKLOADS and _worker(called, series)):
                        row = found.get((caller, called)) or Row(called, Side.CLIENT, peer=caller)
                        found[caller, called] = _with(row, series, counts, still)
        return _sorted(found.values())

    def edges_of(self, resource: Resource) -> list[Row]:
        """A row for each other end of one resource's traffic (SMI Traffic Metrics, "Edge")."""
        if resource.kind == "trafficsplits":
            splits = [split for split in self.inventory.splits if split.resource == resource]
            return [row for split in splits for row in self._backends(split, by_caller=True)]
        rows = [replace(row, resource=resource) for row in self._sent_by(resource)]
        if resource.kind in {*WORKLOADS, "namespaces", "services"}:
            return rows + [row for row in self.edges(resource.kind) if row.resource == resource]
        return rows + self._served_by(resource)

    def _sent_by(self, resource: Resource) -> Iterator[Row]:
        """Whom one resource called, each as the other end."""
        kind = "namespaces" if resource.kind == "namespaces" else ""
        found: dict[Resource, Row] = {}
        for series, counts, still in self._of(Side.CLIENT):
            if resource not in self.inventory.owners_of(series.pod):
                continue
            for called in self.called(series):
                if called.kind == kind or (not kind and _worker(called, series)):
                    row = found.get(called) or Row(resource, Side.CLIENT, incoming=False, peer=called)
                    found[called] = _with(row, series, counts, still)
        return iter(_sorted(found.values()))

    def _served_by(self, resource: Resource) -> list[Row]:
        """Who called one resource of which callers know nothing, such as a pod: by certificate."""
        found: dict[Resource, Row] = {}
        for series, counts, still in self._of(Side.SERVER):
            account = account_of(series.peer)
            if account is not None and resource in self.inventory.owners_of(series.pod):
                found[account] = _with(
                    found.get(account) or Row(resource, Side.SERVER, peer=account), series, counts, still
                )
        return _sorted(found.values())

    def _backends(self, split: Split, *, by_caller: bool = False) -> list[Row]:
        """A row for each backend of a split, and for each caller if asked."""
        rows: dict[tuple[ServiceId, Resource | None], Row] = {}
        backends = {service: Backend(split.apex.name, service.name, weight) for service, weight in split.weights}
        if not by_caller:
            rows = {(at, None): Row(split.resource, Side.CLIENT, backend=each) for at, each in backends.items()}
        for series, counts, still in self._of(Side.CLIENT):
            if series.asked != split.apex or series.service not in backends:
                continue
            caller = self.inventory.workload_of(series.pod) if by_caller else None
            made = Row(split.resource, Side.CLIENT, peer=caller, backend=backends[series.service])
            key = series.service, caller
            rows[key] = _with(rows.get(key) or made, series, counts, still)
        return list(rows.values()) if not by_caller else _sorted(rows.values())

    def _of(self, side: Side) -> Iterator[tuple[Series, Counts, float]]:
        """Every series of a side, what was counted, and how many connections there are."""
        for series in dict.fromkeys((*self.traffic.counts, *self.traffic.open)):
            if series.side is side:
                yield series, self.traffic.counts.get(series, NOTHING), self.traffic.open.get(series, 0)

    def _counting(self, series: Series) -> Resources:
        return self.inventory.owners_of(series.pod)

    def _callers(self, series: Series, kind: str) -> Resources:
        if kind in {"services", *WORKLOADS}:
            return (self.inventory.workload_of(series.pod),)
        return (each for each in self.inventory.owners_of(series.pod) if each.kind == kind)

    def called(self, series: Series) -> Iterator[Resource]:
        """What a caller's sidecar knows of whom it called: the workload, the Service, the namespace."""
        namespace = ""
        if (service := self.inventory.service(series.service)) is not None:
            namespace = service.namespace
            yield Resource("services", *service)
        if series.workload is not None:
            namespace = series.workload.namespace
            yield self.inventory.workload_named(series.workload)
        if namespace:
            yield Resource("namespaces", "", namespace)


def _worker(called: Resource, series: Series) -> bool:
    """Whether this is who did the work: the workload, or the Service where that is all a caller knows."""
    return called.kind not in {"services", "namespaces"} or (called.kind == "services" and series.workload is None)


def account_of(peer: str) -> Resource | None:
    """The ServiceAccount that a SPIFFE ID of ours stands for."""
    path = peer.partition("://")[2].split("/")
    return Resource("serviceaccounts", path[2], path[4]) if len(path) == 5 and path[1::2] == ["ns", "sa"] else None


def _with(row: Row, series: Series, counts: Counts, still: float) -> Row:
    """The row with one series more."""
    codes = row.codes
    if series.code and counts.requests:
        codes = {**codes, series.code: codes.get(series.code, 0) + counts.requests}
    return replace(
        row,
        counts=row.counts + counts,
        failures=row.failures + (counts.requests if series.failed else 0),
        open=row.open + still,
        codes=codes,
    )


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.resource[1:], row.peer or ("", "", "")))
