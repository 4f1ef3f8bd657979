"""Who may call, in the three places where Envoy can change it without draining a connection (docs/decisions/0010).

Rule: fail closed. HTTP rules live in the route configuration and override a filter that allows nothing; TCP callers
live in the validation context of the port's handshake, because network RBAC looks only when the caller has sent
something, and a server that speaks first would have been heard by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mesh.model import HttpRule, Identity, InboundPort, Protocol, TcpRule
from xds import pb
from xds.names import CALLERS_SECRET
from xds.peers import NO_PEERS, Peers, trusting
from xds.resource import Resource, encode
from xds.translate import naming, transport
from xds.translate.http import RBAC_FILTER
from xds.translate.matches import permission
from xds.translate.routes import app_routes


@dataclass(frozen=True, slots=True)
class Requesters:
    """Who may send which requests to a port."""

    port: int
    protocol: Protocol
    open: bool
    rules: tuple[HttpRule, ...]
    peers: Peers = NO_PEERS
    http1: bool = False


@dataclass(frozen=True, slots=True)
class Connectors:
    """Who may open connections to a port that are not looked into."""

    port: int
    open: bool
    rules: tuple[TcpRule, ...]
    trust_domain: str
    bundle: str
    peers: Peers = NO_PEERS


def requesters(port: InboundPort, peers: Peers = NO_PEERS) -> Requesters | None:
    """What the routes are told of a port; None where no request can be seen."""
    if port.protocol is Protocol.TCP:
        return None
    named = replace(peers, foreign=peers.unproven, serving=())
    return Requesters(port.port, port.protocol, port.open, port.http_rules, named, port.http1)


def connectors(port: InboundPort, trust_domain: str, bundle: str, peers: Peers = NO_PEERS) -> Connectors | None:
    """What the handshake is told of a port; None where everything is HTTP. `bundle` is the trust bundle, PEM."""
    if port.protocol.is_http:
        return None
    return Connectors(port.port, port.open, port.tcp_rules, trust_domain, bundle, peers)


def inbound_routes(port: Requesters | None) -> Resource | None:
    """Everything goes to the app, if the rules let it: refused requests are answered 403, never 404 (rule A12)."""
    if port is None:
        return None
    name = naming.inbound(port.port)
    everything = pb.VirtualHost(name=name, domains=["*"], routes=app_routes(port.protocol, http1=port.http1))
    per_route = pb.RBACPerRoute(rbac=pb.HttpRBAC(rules=pb.RBAC(action=pb.RBAC.ALLOW, policies=_policies(port))))
    everything.typed_per_filter_config[RBAC_FILTER].CopyFrom(pb.packed(per_route))
    return encode(name, pb.RouteConfiguration(name=name, virtual_hosts=[everything]))


def tcp_callers(port: Connectors | None) -> Resource | None:
    """The validation context of a port's handshake: who chains to the bundle and is one of the callers."""
    if port is None:
        return None
    name = naming.inbound(port.port)
    if port.open:
        # Of the mesh: whoever another mesh vouches for is let in by name only.
        sans = transport.anyone_of(port.peers.ours(port.trust_domain))
    else:
        sans = transport.exactly({identity for rule in port.rules for identity in rule.identities}, port.peers)
    return _accepting(name, sans, port.bundle, port.trust_domain, port.peers)


def all_callers(trust_domain: str, bundle: str, peers: Peers) -> Resource:
    """The validation context of handshakes behind which every request is judged: ours, and of other meshes."""
    sans = transport.anyone_of((*peers.ours(trust_domain), *peers.foreign_names))
    return _accepting(CALLERS_SECRET, sans, bundle, trust_domain, peers)


def _accepting(
    name: str, sans: Iterable[pb.SubjectAltNameMatcher], bundle: str, trust_domain: str, peers: Peers
) -> Resource:
    context = trusting(bundle, trust_domain, peers)
    context.match_typed_subject_alt_names.extend(sans)
    return encode(name, pb.Secret(name=name, validation_context=context))


def _policies(port: Requesters) -> Mapping[str, pb.Policy]:
    """One policy for each rule, by its origin. A rule without callers grants nothing (rule F1)."""
    if port.open:
        return {"open": pb.Policy(permissions=[pb.Permission(any=True)], principals=[_not_foreign(port.peers)])}
    policies: dict[str, pb.Policy] = {}
    for rule in port.rules:
        if port.peers.all_uris(rule.identities):
            policies[_unused(rule.origin, policies)] = _policy(rule, port.peers)
    return policies


def _policy(rule: HttpRule, peers: Peers) -> pb.Policy:
    permissions = [permission(match) for match in rule.matches] or [pb.Permission(any=True)]
    return pb.Policy(permissions=permissions, principals=_principals(rule.identities, peers))


def _principals(identities: Iterable[Identity], peers: Peers) -> list[pb.Principal]:
    """By the certificate's URI SAN and nothing else (rule A2); a connection without mTLS matches none."""
    return [_named(pb.StringMatcher(exact=uri)) for uri in peers.all_uris(identities)]


def _not_foreign(peers: Peers) -> pb.Principal:
    """Everyone, but whoever another mesh vouches for: those are let in by name only."""
    names = sorted({*peers.foreign_names, *peers.gone})
    if not names:
        return pb.Principal(any=True)
    theirs = [_named(pb.StringMatcher(prefix=f"spiffe://{name}/")) for name in names]
    return pb.Principal(not_id=pb.Principal(or_ids=pb.Principal.Set(ids=theirs)))


def _named(matcher: pb.StringMatcher) -> pb.Principal:
    return pb.Principal(authenticated=pb.Principal.Authenticated(principal_name=matcher))


def _unused(origin: str, taken: Mapping[str, pb.Policy]) -> str:
    """The origin, numbered from its second rule on: a policy's name is a map key."""
    name, number = origin, 1
    while name in taken:
        number += 1
        name = f"{origin} ({number})"
    return name
