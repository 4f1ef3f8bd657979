"""The outbound listener: hands over to exact addresses' listeners, refuses meshed services, passes the rest.

Rule: the same bytes for every caller with the same egress mode. Which services a caller may reach is told by which
listeners it has; those of all others end here, at their addresses (rule A16).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mesh.model import MeshedAddress, Protocol
from mesh.settings import Egress
from xds import pb
from xds.names import OUTBOUND_LISTENER
from xds.resource import Resource, encode
from xds.translate import http, naming, sockets, tcp
from xds.translate.addresses import canonical
from xds.translate.chains import Branch, chain, switch, to, tree
from xds.translate.observing import Observing
from xds.translate.settings import TranslateSettings

REFUSE_HTTP = "refused/http"
REFUSE_TCP = "refused/tcp"
REFUSE_LOOP = "refused/loop"
OUTSIDE = "outside"
EGRESS_REFUSED = "addresses outside the mesh are refused for this namespace"
LOOP = "it is the sidecar's own port"


def outbound_listener(egress: Egress, meshed: Iterable[MeshedAddress], settings: TranslateSettings) -> Resource:
    """The listener for all callers of this mode."""
    listener = sockets.bound(OUTBOUND_LISTENER, settings.bind_address, settings.outbound_port)
    listener.traffic_direction = pb.TrafficDirection.OUTBOUND
    listener.use_original_dst.value = True
    listener.listener_filters.append(sockets.original_dst())
    listener.filter_chains.extend(
        [
            chain(REFUSE_HTTP, http.refusing(settings.observing)),
            chain(REFUSE_TCP, tcp.refusing(REFUSE_TCP, http.NOT_PERMITTED, settings.observing, own=True)),
            chain(REFUSE_LOOP, tcp.refusing(REFUSE_LOOP, LOOP, settings.observing, own=True)),
        ]
    )
    listener.default_filter_chain.CopyFrom(chain(OUTSIDE, _outside(egress, settings.observing)))
    own = dict.fromkeys((str(settings.outbound_port), str(settings.inbound_port)), to(REFUSE_LOOP))
    listener.filter_chain_matcher.CopyFrom(tree(pb.DestinationPortInput, own, _by_address(meshed)))
    return encode(OUTBOUND_LISTENER, listener)


def _outside(egress: Egress, observing: Observing) -> pb.Filter:
    if egress is Egress.REFUSED:
        return tcp.refusing("refused/outside", EGRESS_REFUSED, observing, own=True)
    return tcp.towards(naming.PASSTHROUGH_CLUSTER, OUTSIDE)


def _by_address(meshed: Iterable[MeshedAddress]) -> Branch | None:
    ports: dict[str, dict[str, Branch]] = defaultdict(dict)
    for entry in meshed:
        if place := canonical(entry.address, entry.port):
            # Of a port of unknown protocol HTTP clients get their 403; what else comes there is closed, if not at once.
            refusal = REFUSE_TCP if entry.protocol is Protocol.TCP else REFUSE_HTTP
            ports[place[0]].setdefault(str(place[1]), to(refusal))
    if not ports:
        return None
    cases = {address: switch(pb.DestinationPortInput, refusals) for address, refusals in ports.items()}
    return switch(pb.DestinationIPInput, cases)
