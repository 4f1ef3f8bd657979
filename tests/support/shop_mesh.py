"""A small Mesh made by hand, for tests of translation: storefront calls catalog, inventory and odd; intruder may not.

The addresses are those `tests/support/sidecars.py` gives to pods number 1 (storefront), 2 (catalog), 3 (inventory).
"""

from __future__ import annotations

from dataclasses import replace

from mesh.model import (
    Backend,
    Destination,
    Endpoint,
    HttpRule,
    Identity,
    InboundPort,
    Mesh,
    MeshedAddress,
    PodDestination,
    PodId,
    PortId,
    Protocol,
    Route,
    Scope,
    ServiceId,
    Share,
    TcpRule,
    Workload,
)
from mesh.settings import Egress, Mtls
from smi.kinds import HeaderMatch, HttpMatch

TRUST_DOMAIN = "cluster.local"
API = HttpMatch(
    name="api",
    methods=frozenset({"GET", "POST"}),
    path_regex="/api",
    headers=(HeaderMatch(name="x-user", regex="^bob"), HeaderMatch(name="host", regex="catalog")),
)


def identity(name: str) -> Identity:
    return Identity(TRUST_DOMAIN, "shop", name)


def port(service: str, number: int) -> PortId:
    return PortId(ServiceId("shop", service), number)


def pod(name: str) -> PodId:
    return PodId("shop", name)


STOREFRONT, CATALOG, INVENTORY, INTRUDER = (
    identity(name) for name in ("storefront", "catalog", "inventory", "intruder")
)
CATALOG_PORT, CATALOG_V2_PORT, INVENTORY_PORT, ODD_PORT, EMPTY_PORT, GRPC_PORT = (
    port("catalog", 80),
    port("catalog-v2", 80),
    port("inventory", 5432),
    port("odd", 9),
    port("empty", 80),
    port("grpc", 90),
)
CATALOG_IP, CATALOG_IP6, INVENTORY_IP, ODD_IP, EMPTY_IP, GRPC_IP = (
    "10.96.0.1",
    "fd96::1",
    "10.96.0.2",
    "10.96.0.3",
    "10.96.0.4",
    "10.96.0.5",
)


def split(*shares: tuple[PortId, int], origin: str = "split shop/canary") -> Route:
    return Route((), tuple(Share(backend, weight) for backend, weight in shares), origin)


def backends() -> dict[PortId, Backend]:
    made = [
        Backend(CATALOG_PORT, Protocol.HTTP, (CATALOG,)),
        Backend(CATALOG_V2_PORT, Protocol.HTTP, (CATALOG,)),
        Backend(INVENTORY_PORT, Protocol.TCP, (INVENTORY,)),
        Backend(ODD_PORT, Protocol.DETECT, (INVENTORY,)),
        Backend(GRPC_PORT, Protocol.HTTP2, (INVENTORY,)),
    ]
    return {backend.id: backend for backend in made}


def destinations() -> dict[PortId, Destination]:
    made = [
        Destination(
            CATALOG_PORT,
            (CATALOG_IP, CATALOG_IP6),
            Protocol.HTTP,
            (
                Route((API,), (Share(CATALOG_V2_PORT, 1),), "split shop/ab"),
                split((CATALOG_PORT, 90), (CATALOG_V2_PORT, 10)),
            ),
            (),
        ),
        Destination(INVENTORY_PORT, (INVENTORY_IP,), Protocol.TCP, (), (Share(INVENTORY_PORT, 1),)),
        Destination(ODD_PORT, (ODD_IP,), Protocol.DETECT, (split((ODD_PORT, 1)),), (Share(ODD_PORT, 1),)),
        Destination(EMPTY_PORT, (EMPTY_IP,), Protocol.HTTP, (Route((), (), "split shop/empty", "no backend"),), ()),
        Destination(GRPC_PORT, (GRPC_IP,), Protocol.HTTP2, (split((GRPC_PORT, 1)),), ()),
    ]
    return {destination.id: destination for destination in made}


def endpoints() -> dict[PortId, tuple[Endpoint, ...]]:
    return {
        CATALOG_PORT: (
            Endpoint("10.77.0.2", 8080, CATALOG),
            Endpoint("10.77.0.8", 8080, CATALOG, ready=False),
        ),
        CATALOG_V2_PORT: (Endpoint("fd77::2", 8080, CATALOG),),
        INVENTORY_PORT: (Endpoint("10.77.0.3", 5432, INVENTORY),),
        ODD_PORT: (Endpoint("10.77.0.3", 9000, INVENTORY),),
        GRPC_PORT: (Endpoint("10.77.0.3", 9090, INVENTORY),),
    }


def pods() -> dict[PodId, tuple[PodDestination, ...]]:
    return {
        pod("catalog"): (PodDestination(pod("catalog"), ("10.77.0.2", "fd77::2"), 8080, CATALOG),),
        pod("inventory"): (
            PodDestination(pod("inventory"), ("10.77.0.3",), 5432, INVENTORY),
            PodDestination(pod("inventory"), ("10.77.0.3",), 9000, INVENTORY),
        ),
    }


def workloads() -> dict[str, Workload]:
    may_call_api = (HttpRule("TrafficTarget shop/api", (STOREFRONT,), (API,)),)
    made = [
        Workload(
            "catalog",
            CATALOG,
            Egress.REFUSED,
            Mtls.PERMISSIVE,
            (
                InboundPort(8080, Protocol.HTTP, Mtls.PERMISSIVE, open=False, http_rules=may_call_api),
                InboundPort(8081, Protocol.TCP, Mtls.PERMISSIVE, open=False, http_rules=may_call_api),
                InboundPort(8082, Protocol.TCP, Mtls.PERMISSIVE, open=True),
            ),
        ),
        Workload(
            "inventory",
            INVENTORY,
            Egress.ALLOWED,
            Mtls.STRICT,
            (
                InboundPort(
                    5432,
                    Protocol.TCP,
                    Mtls.STRICT,
                    open=False,
                    tcp_rules=(TcpRule("TrafficTarget shop/db", (STOREFRONT,)),),
                ),
                InboundPort(9000, Protocol.DETECT, Mtls.PERMISSIVE, open=False, http_rules=may_call_api),
                InboundPort(9090, Protocol.HTTP2, Mtls.STRICT, open=True),
            ),
        ),
        Workload("storefront", STOREFRONT, Egress.ALLOWED, Mtls.STRICT, ()),
    ]
    return {workload.id: workload for workload in made}


def shop() -> Mesh:
    """Everything above. Only the storefront has anything in its scope."""
    everything = Scope(frozenset(destinations()), frozenset(pods()), frozenset(backends()))
    return Mesh(
        destinations=destinations(),
        backends=backends(),
        endpoints=endpoints(),
        pods=pods(),
        workloads=workloads(),
        proxies={pod(name): name for name in workloads()},
        scopes={STOREFRONT: everything, CATALOG: Scope(), INVENTORY: Scope()},
        meshed_addresses=tuple(
            MeshedAddress(address, made.id.port, made.protocol, made.id.service)
            for made in destinations().values()
            for address in made.addresses
        ),
    )


def with_port(mesh: Mesh, workload: str, changed: InboundPort) -> Mesh:
    """The Mesh with one inbound port replaced, or added."""
    before = mesh.workloads[workload]
    others = tuple(made for made in before.ports if made.port != changed.port)
    ports = tuple(sorted((*others, changed), key=lambda made: made.port))
    return replace(mesh, workloads={**mesh.workloads, workload: replace(before, ports=ports)})
