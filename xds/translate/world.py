"""The Mesh as the World: every role's Resources, each encoded once and shared by all roles that have it.

Rule: everything is computed anew each time, and leaves whose own input is equal are remembered; so what a change
affects is found by comparing, never listed. What did not change is the very same object as in the last World.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mesh.model import Identity, InboundPort, Mesh, MeshedAddress, Workload
from mesh.remember import Remembered, RememberedMap
from mesh.settings import AccessLog, Egress
from xds.peers import NO_PEERS, Peers
from xds.resource import CLUSTER, LISTENER, TYPES, Resource
from xds.snapshot import Named, Snapshot, World
from xds.translate import access, clusters, collectors
from xds.translate.egress import Exits
from xds.translate.inbound import bare, inbound_listener
from xds.translate.outbound import outbound_listener
from xds.translate.reach import Outside
from xds.translate.settings import TranslateSettings

__all__ = ["TranslateSettings", "Translator"]

Part = tuple[str, str]
"""A role's id and a type URL."""
RolePort = tuple[str, int]
Own = Mapping[str, Mapping[str, tuple[Resource, ...]]]
"""By role and type: what is not of the scope."""
NOTHING: Final[Named] = {}
NOWHERE: Final[Mapping[str, Any]] = {}


class Translator:
    """Keeps the leaves of the last round; equal Meshes give equal Worlds, whatever came before."""

    def __init__(self, settings: TranslateSettings) -> None:
        self._outside = Outside(settings)
        self._outbound = RememberedMap[Egress, tuple[Egress, tuple[MeshedAddress, ...]], Resource](
            lambda leaf: outbound_listener(*leaf, settings)
        )
        self._inbound = RememberedMap[str, tuple[tuple[InboundPort, ...], AccessLog], Resource](
            lambda leaf: inbound_listener(*leaf, settings)
        )
        self._routes = RememberedMap[RolePort, access.Requesters | None, Resource | None](access.inbound_routes)
        self._all_callers = RememberedMap[str, tuple[str, str, Peers], Resource](lambda leaf: access.all_callers(*leaf))
        self._callers = RememberedMap[RolePort, access.Connectors | None, Resource | None](access.tcp_callers)
        self._own = Remembered[tuple[Mapping[str, Workload], tuple[MeshedAddress, ...], str, Peers], Own](
            lambda given: self._owned(*given)
        )
        self._exits = Exits(settings)
        self._parts = RememberedMap[Part, tuple[Named, tuple[Resource, ...]], Named](lambda leaf: _merged(*leaf))
        self._snapshots = RememberedMap[str, tuple[Identity, tuple[Named, ...]], Snapshot](
            lambda leaf: _snapshot(*leaf)
        )
        self._constant = (
            clusters.passthrough_cluster(), *clusters.inbound_clusters(), *collectors.clusters(settings.observing)
        )  # fmt: skip

    def translate(self, mesh: Mesh, bundle: str, peers: Peers = NO_PEERS) -> World:
        """What every proxy of this Mesh should have. `bundle` is the trust bundle, PEM; `peers` say who is met."""
        reaches = self._outside(mesh, peers)
        shared = {identity: reaches[scope] for identity, scope in mesh.scopes.items()}
        own = self._own((mesh.workloads, mesh.meshed_addresses, bundle, peers))
        exits = self._exits(mesh)
        parts = self._parts(
            {
                (role, kind): (
                    shared.get(workload.identity, NOWHERE).get(kind, NOTHING),
                    own[role].get(kind, ()) + exits.get(workload.identity, NOWHERE).get(kind, ()),
                )
                for role, workload in mesh.workloads.items()
                for kind in TYPES
            }
        )
        snapshots = self._snapshots(
            {
                role: (workload.identity, tuple(parts[role, kind] for kind in TYPES))
                for role, workload in mesh.workloads.items()
            }
        )
        return World(roles=snapshots, proxies=mesh.proxies, bundle=bundle, peers=peers)

    def _owned(
        self, workloads: Mapping[str, Workload], meshed: tuple[MeshedAddress, ...], bundle: str, peers: Peers
    ) -> Own:
        """The constant clusters, the two bound listeners, the rules."""
        outbound = self._outbound({egress: (egress, meshed) for egress in Egress})
        inbound = self._inbound(
            {role: (bare(workload.ports), workload.access_log) for role, workload in workloads.items()}
        )
        ports = {(role, port.port): port for role, workload in workloads.items() for port in workload.ports}
        routes = self._routes({key: access.requesters(port, peers) for key, port in ports.items()})
        callers = self._callers(
            {
                key: access.connectors(port, workloads[key[0]].identity.trust_domain, bundle, peers)
                for key, port in ports.items()
            }
        )
        domains = {workload.identity.trust_domain for workload in workloads.values()}
        everybody = self._all_callers({domain: (domain, bundle, peers) for domain in domains})
        return {
            role: {
                CLUSTER: self._constant,
                LISTENER: (outbound[workload.egress], inbound[role]),
                **_by_type(
                    (
                        *filter(None, (callers[role, port.port] for port in workload.ports)),
                        *filter(None, (routes[role, port.port] for port in workload.ports)),
                        everybody[workload.identity.trust_domain],
                    )
                ),
            }
            for role, workload in workloads.items()
        }


def _by_type(resources: Iterable[Resource]) -> dict[str, tuple[Resource, ...]]:
    found: defaultdict[str, tuple[Resource, ...]] = defaultdict(tuple)
    for resource in resources:
        found[resource.type_url] += (resource,)
    return found


def _merged(shared: Named, own: tuple[Resource, ...]) -> Named:
    return MappingProxyType({**shared, **{resource.name: resource for resource in own}}) if own else shared


def _snapshot(identity: Identity, parts: tuple[Named, ...]) -> Snapshot:
    return Snapshot(identity, dict(zip(TYPES, parts, strict=True)))
