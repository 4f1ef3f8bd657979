"""The requests that may leave the mesh on one port: by name, looked up by the sidecar, or by the address asked for.

Rule: what no route names is answered 403. A name that is granted by itself is looked up here, so that a forged Host
leads to the host it names; the app's own choice of address counts only inside the networks that a policy names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mesh.model import EgressGrant
from smi.kinds import HttpMatch
from xds import pb
from xds.resource import Resource, encode
from xds.translate import naming
from xds.translate.http import EGRESS_BODY, RBAC_FILTER
from xds.translate.matches import every_request, permission, route_match
from xds.translate.routes import route_to

HTTP_PORT = 80
"""The port that a Host header need not name (RFC 9110 section 4.2.1)."""


def egress_routes(port: int, grants: tuple[EgressGrant, ...]) -> Resource:
    """The route configuration of a port; `grants` are those about its requests."""
    by_address = list(_asked_for(port, [grant for grant in grants if grant.cidrs])) or [_refusal()]
    by_name = [grant for grant in grants if not grant.cidrs]
    hosts = sorted({host for grant in by_name for host in grant.hosts})
    virtual = [
        pb.VirtualHost(
            name=host, domains=authorities(host, port), routes=[*_looked_up(port, host, by_name), *by_address]
        )
        for host in hosts
    ]
    virtual.append(pb.VirtualHost(name="others", domains=["*"], routes=by_address))
    name = naming.egress(port)
    config = pb.RouteConfiguration(name=name, virtual_hosts=virtual, validate_clusters=pb.BoolValue(value=False))
    return encode(name, config)


def authorities(host: str, port: int) -> list[str]:
    """How requests name a host on a port: with the port, and without where it is HTTP's own."""
    return [host, f"{host}:{port}"] if port == HTTP_PORT else [f"{host}:{port}"]


def _looked_up(port: int, host: str, grants: Iterable[EgressGrant]) -> Iterator[pb.Route]:
    """One route for each match of each grant that covers the host: Envoy looks into one virtual host only (F5)."""
    anybody = pb.Policy(permissions=[pb.Permission(any=True)], principals=[pb.Principal(any=True)])
    for grant in grants:
        if not any(covers(each, host) for each in grant.hosts):
            continue
        for match in [every_request()] if grant.requests is None else map(_strictly, grant.requests):
            action = route_to(naming.egress_names(port))
            action.ClearField("retry_policy")
            yield _allowing(pb.Route(name=grant.origin, match=match, route=action), {grant.origin: anybody})


def _asked_for(port: int, grants: Iterable[EgressGrant]) -> Iterator[pb.Route]:
    """One route for all requests whose address lies in a network that a grant names; RBAC tells which may pass."""
    policies: dict[str, pb.Policy] = {}
    for grant in grants:
        policies[grant.origin] = pb.Policy(
            permissions=[_all(_to_networks(grant), *_named(grant, port), _sent(grant))],
            principals=[pb.Principal(any=True)],
        )
    if policies:
        action = route_to(naming.egress_addresses(port))
        action.ClearField("retry_policy")
        yield _allowing(pb.Route(name="by address", match=every_request(), route=action), policies)


def _refusal() -> pb.Route:
    answer = pb.DirectResponseAction(status=403, body=pb.DataSource(inline_string=EGRESS_BODY))
    anybody = pb.Policy(permissions=[pb.Permission(any=True)], principals=[pb.Principal(any=True)])
    return _allowing(pb.Route(name="refused", match=every_request(), direct_response=answer), {"refused": anybody})


def _allowing(route: pb.Route, policies: dict[str, pb.Policy]) -> pb.Route:
    """The route, with what the filter before it lets pass: without this, nothing."""
    rules = pb.RBACPerRoute(rbac=pb.HttpRBAC(rules=pb.RBAC(action=pb.RBAC.ALLOW, policies=policies)))
    route.typed_per_filter_config[RBAC_FILTER].CopyFrom(pb.packed(rules))
    return route


def covers(granted: str, host: str) -> bool:
    """Whether a granted host, perhaps a wildcard, is this host or all of this wildcard."""
    return granted == host or (granted.startswith("*.") and host.removeprefix("*").endswith(granted.removeprefix("*")))


def _strictly(match: HttpMatch) -> pb.RouteMatch:
    """Requests that the match is about. As in `permission`, no rule about paths can mean an escaped slash."""
    found = route_match(match)
    if match.path_regex is not None:
        escaped = pb.StringMatcher(safe_regex=pb.RegexMatcher(regex=r"(?is)[^?]*%(2f|5c).*"))
        found.headers.append(pb.HeaderMatcher(name=":path", string_match=escaped, invert_match=True))
    return found


def _to_networks(grant: EgressGrant) -> pb.Permission:
    networks = []
    for cidr in grant.cidrs:
        address, _, length = cidr.partition("/")
        prefix = pb.CidrRange(address_prefix=address, prefix_len=pb.UInt32Value(value=int(length)))
        networks.append(pb.Permission(destination_ip=prefix))
    return _any(networks)


def _named(grant: EgressGrant, port: int) -> list[pb.Permission]:
    """That the request names one of the grant's hosts; nothing where it has none."""
    found = []
    for host in grant.hosts:
        for authority in (host, f"{host}:{port}"):
            value = pb.StringMatcher(ignore_case=True)
            if authority.startswith("*."):
                value.suffix = authority.removeprefix("*")
            else:
                value.exact = authority
            found.append(pb.Permission(header=pb.HeaderMatcher(name=":authority", string_match=value)))
    return [_any(found)] if found else []


def _sent(grant: EgressGrant) -> pb.Permission:
    if grant.requests is None:
        return pb.Permission(any=True)
    return _any([permission(match) for match in grant.requests])


def _any(permissions: list[pb.Permission]) -> pb.Permission:
    return permissions[0] if len(permissions) == 1 else pb.Permission(or_rules=pb.Permission.Set(rules=permissions))


def _all(*permissions: pb.Permission) -> pb.Permission:
    return pb.Permission(and_rules=pb.Permission.Set(rules=permissions))
