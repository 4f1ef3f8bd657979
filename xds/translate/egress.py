"""Addresses outside the mesh that EgressPolicies grant: for each such port a listener for all of them.

Rule: a connection is led to one of a few chains, whose contents never change with the policies; which one is told by a
tree, and which requests by routes, both of which Envoy swaps without closing anything. What nothing grants ends in the
chain that refuses. The sidecar of a caller without grants has none of this, byte for byte.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from mesh.model import EgressGrant, Identity, Mesh, MeshedAddress, Protocol
from mesh.remember import RememberedMap
from smi.kinds import EgressProtocol
from xds import pb
from xds.resource import Resource, encode
from xds.translate import clusters, http, lookup, naming, sockets, tcp
from xds.translate.addresses import canonical
from xds.translate.chains import HTTP_PROTOCOLS, Branch, by_protocol, chain, switch, to, tree
from xds.translate.egress_routes import egress_routes
from xds.translate.settings import TranslateSettings

HTTP, BY_NAME, BY_ADDRESS, REFUSED, REFUSED_MESHED = "http", "name", "address", "refused", "refused/meshed"
OUTSIDE: Final = "outside"
"""What all that leaves the mesh is counted under, as where egress is allowed."""


@dataclass(frozen=True, slots=True)
class Way:
    """A port outside the mesh that one identity may use; `meshed` are the meshed Services' addresses with that port."""

    port: int
    grants: tuple[EgressGrant, ...]
    meshed: tuple[MeshedAddress, ...]

    def spoken(self, *protocols: EgressProtocol) -> tuple[EgressGrant, ...]:
        """The grants that name one of these protocols for this port."""
        return tuple(
            grant
            for grant in self.grants
            if any(port.number == self.port and port.protocol in protocols for port in grant.ports)
        )

    @property
    def looked_into(self) -> bool:
        """Whether connections are told apart by what they begin with. Where all is plain TCP they are not."""
        return bool(self.spoken(EgressProtocol.HTTP, EgressProtocol.HTTPS, EgressProtocol.TLS))


def ways(grants: tuple[EgressGrant, ...], meshed: Iterable[MeshedAddress]) -> dict[int, Way]:
    """The ports of an identity's grants."""
    ports = sorted({port.number for grant in grants for port in grant.ports})
    there: dict[int, list[MeshedAddress]] = defaultdict(list)
    for entry in meshed:
        there[entry.port].append(entry)
    return {
        port: Way(
            port,
            tuple(grant for grant in grants if any(item.number == port for item in grant.ports)),
            tuple(there.get(port, ())),
        )
        for port in ports
    }


def way_out(way: Way, settings: TranslateSettings) -> tuple[Resource, ...]:
    """All resources of a port: listener, routes, and clusters of its own, which go when the last grant does."""
    listener = _listener(way, settings)
    by_address = clusters.outside_cluster(naming.egress_addresses(way.port))
    if not way.looked_into:
        return encode(listener.name, listener), by_address
    by_name = lookup.cluster(naming.egress_names(way.port))
    return (
        encode(listener.name, listener),
        by_address,
        by_name,
        egress_routes(way.port, way.spoken(EgressProtocol.HTTP)),
    )


def _listener(way: Way, settings: TranslateSettings) -> pb.Listener:
    name = naming.egress(way.port)
    anywhere = ["0.0.0.0", "::"] if ":" in settings.bind_address else ["0.0.0.0"]  # noqa: S104 - nothing is bound
    listener = sockets.behind(name, [(address, way.port) for address in anywhere])
    listener.filter_chains.append(chain(BY_ADDRESS, tcp.towards(naming.egress_addresses(way.port), OUTSIDE)))
    listener.filter_chains.append(chain(REFUSED_MESHED, http.refusing(settings.observing)))
    if way.looked_into:
        listener.listener_filters.extend([sockets.tls_inspector(), sockets.http_inspector()])
        sockets.wait_at_most(listener, settings.detection_timeout)
        named = [lookup.by_server_name(way.port), tcp.towards(naming.egress_names(way.port), OUTSIDE)]
        listener.filter_chains.append(chain(BY_NAME, *named))
        requests = http.towards_outside(name, lookup.by_authority(), settings.observing)
        listener.filter_chains.append(chain(HTTP, requests))
    refused = tcp.refusing("refused/outside", http.NOT_GRANTED, settings.observing, own=True)
    # Not as the default chain: a matcher that names it finds none, and the connection ends without a log and a count.
    listener.filter_chains.append(chain(REFUSED, refused))
    listener.filter_chain_matcher.CopyFrom(tree(pb.DestinationPortInput, {str(way.port): _by_address(way)}))
    return listener


def _by_address(way: Way) -> Branch:
    meshed, granted = _meshed(way), _by_network(way)
    return switch(pb.DestinationIPInput, meshed, granted) if meshed else granted


def _meshed(way: Way) -> Mapping[str, Branch]:
    """Meshed Services at this port: refused as everywhere (rule A16), whatever network a policy names."""
    found = {}
    for entry in way.meshed:
        if place := canonical(entry.address, entry.port):
            found[place[0]] = to(REFUSED if entry.protocol is Protocol.TCP else REFUSED_MESHED)
    return found


def _by_network(way: Way) -> Branch:
    """By the narrowest network that any grant names; what it leads to is the union of all that hold there (F5)."""
    anywhere = _chains(way, frozenset())
    networks = sorted({cidr for grant in way.grants for cidr in grant.cidrs})
    if not networks:
        return anywhere
    matcher = pb.Matcher(on_no_match=anywhere)
    matcher.matcher_tree.input.name = pb.DestinationIPInput.DESCRIPTOR.name
    matcher.matcher_tree.input.typed_config.CopyFrom(pb.packed(pb.DestinationIPInput()))
    ranges = pb.IPMatcher()
    for network in networks:
        holding = frozenset(other for other in networks if _within(network, other))
        made = ranges.range_matchers.add(on_match=_chains(way, holding))
        address, _, length = network.partition("/")
        made.ranges.add(address_prefix=address, prefix_len=pb.UInt32Value(value=int(length)))
    matcher.matcher_tree.custom_match.name = "networks"
    matcher.matcher_tree.custom_match.typed_config.CopyFrom(pb.packed(ranges))
    return Branch(matcher=matcher)


def _within(network: str, other: str) -> bool:
    inner, outer = ip_network(network), ip_network(other)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # the same version


def _chains(way: Way, networks: frozenset[str]) -> Branch:
    """Where connections to addresses in these networks, and in no other, are led."""
    if any(networks & set(grant.cidrs) for grant in way.spoken(EgressProtocol.TCP)):
        return to(BY_ADDRESS)
    if not way.looked_into:
        return to(REFUSED)
    secure = _by_server_name(way.spoken(EgressProtocol.HTTPS, EgressProtocol.TLS), networks)
    # Requests get their answer from the routes, be it 403.
    plain = by_protocol(dict.fromkeys(HTTP_PROTOCOLS, to(HTTP)), to(REFUSED))
    return switch(pb.TransportProtocolInput, {"tls": secure, "raw_buffer": plain}, to(REFUSED))


def _by_server_name(grants: tuple[EgressGrant, ...], networks: frozenset[str]) -> Branch:
    """Names first, and those that are looked up before those whose address is the caller's choice."""
    looked_up = {host for grant in grants if not grant.cidrs for host in grant.hosts}
    here = [grant for grant in grants if networks & set(grant.cidrs)]
    pinned = {host for grant in here for host in grant.hosts}
    otherwise = to(BY_ADDRESS if any(not grant.hosts for grant in here) else REFUSED)
    matcher = pb.Matcher(on_no_match=otherwise)
    for names, led in ((looked_up, BY_NAME), (pinned - looked_up, BY_ADDRESS)):
        for name in sorted(names):
            matcher.matcher_list.matchers.add(predicate=_is(name), on_match=to(led))
    return Branch(matcher=matcher) if looked_up or pinned else otherwise


def _is(host: str) -> pb.Matcher.MatcherList.Predicate:
    """That the handshake names this host, or one below it."""
    value = pb.XdsStringMatcher(ignore_case=True)
    if host.startswith("*."):
        value.suffix = host.removeprefix("*")
    else:
        value.exact = host
    predicate = pb.Matcher.MatcherList.Predicate()
    predicate.single_predicate.input.name = pb.ServerNameInput.DESCRIPTOR.name
    predicate.single_predicate.input.typed_config.CopyFrom(pb.packed(pb.ServerNameInput()))
    predicate.single_predicate.value_match.CopyFrom(value)
    return predicate


class Exits:
    """The ways out of every identity that has any; what did not change since the last round is the very same object."""

    def __init__(self, settings: TranslateSettings) -> None:
        self._ways = RememberedMap[tuple[Identity, int], Way, tuple[Resource, ...]](lambda way: way_out(way, settings))
        self._by_type = RememberedMap[Identity, tuple[tuple[Resource, ...], ...], Mapping[str, tuple[Resource, ...]]](
            _by_type
        )

    def __call__(self, mesh: Mesh) -> Mapping[Identity, Mapping[str, tuple[Resource, ...]]]:
        """What each identity's sidecars get besides all else, by type."""
        if not mesh.egress:
            return {}
        leading = {identity: ways(grants, mesh.meshed_addresses) for identity, grants in mesh.egress.items()}
        made = self._ways({(identity, port): way for identity, found in leading.items() for port, way in found.items()})
        return self._by_type(
            {identity: tuple(made[identity, port] for port in found) for identity, found in leading.items()}
        )


def _by_type(made: tuple[tuple[Resource, ...], ...]) -> Mapping[str, tuple[Resource, ...]]:
    found: defaultdict[str, tuple[Resource, ...]] = defaultdict(tuple)
    for resources in made:
        for resource in resources:
            found[resource.type_url] += (resource,)
    return dict(found)
