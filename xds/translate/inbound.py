"""The inbound listener: for each port one chain under mTLS, one for plaintext, and a refusal for all other ports.

Rule: the chains depend on which ports there are, their protocol and mode, never on who may call; a change of rules
changes no listener. What no branch of the tree names ends in the chain that refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from mesh.model import InboundPort, Protocol
from mesh.settings import AccessLog, Mtls
from xds import pb
from xds.names import INBOUND_LISTENER
from xds.resource import Resource, encode
from xds.translate import http, logs, naming, sockets, taps, tcp, transport
from xds.translate.chains import HTTP_PROTOCOLS, Branch, by_protocol, chain, switch, to, tree
from xds.translate.naming import Flavour
from xds.translate.observing import Observing
from xds.translate.settings import TranslateSettings

PLAINTEXT_REFUSED = "plaintext on a port that takes mutual TLS only"
NO_IDENTITY = "plaintext proves no identity, and only TrafficTargets let callers in"
UNKNOWN_PORT = "no such port is declared"


def bare(ports: Iterable[InboundPort]) -> tuple[InboundPort, ...]:
    """The ports without their rules, which is all that the listener may depend on."""
    return tuple(replace(port, http_rules=(), tcp_rules=()) for port in ports)


def inbound_listener(ports: Iterable[InboundPort], access_log: AccessLog, settings: TranslateSettings) -> Resource:
    """The whole listener. Ports whose chains are equal share nothing: each drains alone, if it ever has to."""
    listener = sockets.bound(INBOUND_LISTENER, settings.bind_address, settings.inbound_port)
    listener.traffic_direction = pb.TrafficDirection.INBOUND
    inspectors = [sockets.original_dst(), sockets.tls_inspector(), sockets.http_inspector()]
    listener.listener_filters.extend(inspectors)
    sockets.wait_at_most(listener, settings.inspection_timeout)
    branches = {}
    for port in ports:
        listener.filter_chains.extend(_chains(port, access_log, settings))
        branches[str(port.port)] = _branch(port)
    refuse = chain("refused/port", tcp.refusing("refused/port", UNKNOWN_PORT, settings.observing))
    listener.default_filter_chain.CopyFrom(refuse)
    if branches:
        listener.filter_chain_matcher.CopyFrom(tree(pb.DestinationPortInput, branches))
    listener.access_log.append(logs.handshakes_denied())
    listener.access_log.extend(taps.handshakes(settings.observing))
    logs.send(listener.access_log, settings.observing)
    return encode(INBOUND_LISTENER, listener)


def _chains(port: InboundPort, access_log: AccessLog, settings: TranslateSettings) -> Iterator[pb.FilterChain]:
    name, observing = naming.inbound(port.port), settings.observing
    if port.protocol is not Protocol.TCP:
        mtls = transport.downstream_mtls(settings.certificates)
        yield chain(_name("mtls-http", port), http.towards_app(name, access_log, observing), transport=mtls)
    if not port.protocol.is_http:
        mtls = transport.downstream_mtls_by_secret(name, settings.certificates)
        yield chain(_name("mtls-tcp", port), tcp.towards_app(name, taps.ended(observing, taps.INBOUND)), transport=mtls)
    yield from _plaintext_chains(port, access_log, observing)


def _plaintext_chains(port: InboundPort, access_log: AccessLog, observing: Observing) -> Iterator[pb.FilterChain]:
    """Under strict mTLS one that refuses; else as under mTLS, where no identity counts as nobody (rule H3)."""
    name = naming.inbound(port.port)
    if port.mtls is Mtls.STRICT:
        yield chain(_name("plaintext", port), tcp.refusing(f"refused/{name}", PLAINTEXT_REFUSED, observing))
        return
    if port.protocol is not Protocol.TCP:
        yield chain(_name("plaintext-http", port), http.towards_app(name, access_log, observing))
    if not port.protocol.is_http:
        refused = tcp.refusing(f"refused/{name}", NO_IDENTITY, observing)
        allowed = tcp.in_plaintext(name, taps.ended(observing, taps.INBOUND)) if port.open else refused
        yield chain(_name("plaintext-tcp", port), allowed)


def _branch(port: InboundPort) -> Branch:
    """Mesh traffic is told by what its handshake offers; all else is plaintext, an app's own TLS included."""
    http_chain, tcp_chain = _name("mtls-http", port), _name("mtls-tcp", port)
    if port.protocol is Protocol.TCP:
        http_chain = tcp_chain
    elif port.protocol.is_http:
        tcp_chain = http_chain
    mesh = {Flavour.HTTP.value: to(http_chain), Flavour.TCP.value: to(tcp_chain)}
    other = _plaintext_branch(port)
    return switch(pb.TransportProtocolInput, {"tls": by_protocol(mesh, other)}, other)


def _plaintext_branch(port: InboundPort) -> Branch:
    if port.mtls is Mtls.STRICT:
        return to(_name("plaintext", port))
    if port.protocol is Protocol.TCP:
        return to(_name("plaintext-tcp", port))
    if port.protocol.is_http:
        return to(_name("plaintext-http", port))
    http_chain = to(_name("plaintext-http", port))
    found = by_protocol(dict.fromkeys(HTTP_PROTOCOLS, http_chain), to(_name("plaintext-tcp", port)))
    return switch(pb.TransportProtocolInput, {"raw_buffer": found}, to(_name("plaintext-tcp", port)))


def _name(kind: str, port: InboundPort) -> str:
    return f"{kind}/{port.port}"
