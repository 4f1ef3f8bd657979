"""What Envoys refused, told on the objects it came from: the Service, its TrafficSplits, or the proxy's own pod.

Rule: the words are Envoy's. Many proxies that refuse the same thing are one Event, so no proxy is named where the
object is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from controlplane.duties.reasons import REJECTED
from kube.events import Said
from kube.problem import Ref
from mesh.model import Mesh, PortId
from xds.server import ProxyStatus, State

MOST_RESOURCES: Final = 20
"""Names looked into for each type and proxy; after a rejected response of thousands the first ones must do."""
ROUTES: Final = "RouteConfiguration"

Told = tuple[Ref, Said]


def rejections(proxies: Iterable[ProxyStatus], mesh: Mesh) -> Iterator[Told]:
    """Who is to be told what about all that proxies refuse now."""
    ports = {str(port): port for port in mesh.destinations}
    for proxy in proxies:
        for kind, status in proxy.types.items():
            if status.state is not State.REJECTED:
                continue
            for name in status.resources[:MOST_RESOURCES] or ("",):
                note = f"Envoy refused {kind} {name}".rstrip() + f" and goes on with what it had: {status.error}"
                for ref in _objects(name, kind, ports, mesh) or [_pod(proxy.node)]:
                    yield ref, Said(REJECTED, "Translate", note)


def _objects(name: str, kind: str, ports: dict[str, PortId], mesh: Mesh) -> list[Ref]:
    """The objects a resource of this name is made of, empty when none but the proxy's own pod can be named."""
    port = ports.get(name.removeprefix("outbound/").removesuffix("/tcp").removesuffix("/http2"))
    if port is None:
        return []
    splits = {route.origin for route in mesh.destinations[port].routes} if kind == ROUTES else set()
    found = [ref for origin in sorted(splits) if (ref := _split(origin)) is not None]
    return [*found, Ref("Service", port.service.namespace, port.service.name)]


def _split(origin: str) -> Ref | None:
    """The TrafficSplit a Route names as its origin, as Refs are written."""
    kind, _, name = origin.partition(" ")
    namespace, _, name = name.partition("/")
    return Ref(kind, namespace, name) if kind == "TrafficSplit" and name else None


def _pod(node: str) -> Ref:
    namespace, _, name = node.partition("/")
    return Ref("Pod", namespace, name)
