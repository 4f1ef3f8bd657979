"""What a change does to connections that are open: nothing, unless it is about them. And what is sent: only that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import shop_mesh as shop
from mesh.model import InboundPort, Mesh, MeshedAddress, Protocol, Scope, ServiceId, Share, TcpRule
from mesh.settings import Mtls
from shop_mesh import CATALOG_IP, CATALOG_PORT, CATALOG_V2_PORT, INVENTORY_IP, INVENTORY_PORT, ODD_PORT
from sidecars import Sidecars
from talk import GREETING, Http, get, greet, heard, mirror
from xds.resource import EXTENSION, LISTENER, ROUTES, SECRET


class Open:
    """One kept connection of each kind: HTTP, TCP, and to an address outside the mesh."""

    def __init__(self, lab: Sidecars) -> None:
        self._lab = lab

    async def __aenter__(self) -> Open:
        lab = self._lab
        await lab.pods["catalog"].serve(8080, mirror)
        await lab.pods["inventory"].serve(5432, greet)
        await lab.pods["outsider"].serve(777, greet)
        storefront = lab.pods["storefront"]
        self.http = await Http.open(storefront, CATALOG_IP, 80)
        self.tcp = await storefront.connect(INVENTORY_IP, 5432)
        self.outside = await storefront.connect("10.77.0.9", 777)
        for reader, _ in (self.tcp, self.outside):
            assert await reader.read(100) == GREETING
        await self.work()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.http.close()
        self.tcp[1].close()
        self.outside[1].close()

    async def work(self) -> None:
        assert (await self.http.get()).status == 200
        for reader, writer in (self.tcp, self.outside):
            writer.write(b"still there?")
            assert await asyncio.wait_for(reader.read(100), 5) == b"still there?"


async def change(lab: Sidecars, mesh: Mesh) -> list[tuple[str, str, list[str]]]:
    """Applies the Mesh; what was pushed for it: node, type, names."""
    before = len(lab.ads.pushed)
    lab.apply(mesh)

    async def quiet() -> bool:
        count = len(lab.ads.pushed)
        await asyncio.sleep(0.5)
        return count == len(lab.ads.pushed)

    await lab.until(quiet, "all is pushed")
    return [(node.removeprefix("shop/"), kind, names) for node, kind, names, _ in lab.ads.pushed[before:]]


async def draining(lab: Sidecars) -> dict[str, int]:
    found: dict[str, int] = {}
    for pod in ("storefront", "catalog", "inventory"):
        stats = await lab.pods[pod].stats("listener_manager.total.*draining")
        found |= {f"{pod} {name}": value for name, value in stats.items() if value}
    return found


async def test_t2_other_weights_change_one_resource_each_and_drop_nothing(lab: Sidecars) -> None:
    async with Open(lab) as connections:
        destinations = shop.destinations()
        destinations[INVENTORY_PORT] = replace(
            destinations[INVENTORY_PORT], tcp_shares=(Share(INVENTORY_PORT, 3), Share(ODD_PORT, 0))
        )
        destinations[CATALOG_PORT] = replace(
            destinations[CATALOG_PORT], routes=(shop.split((CATALOG_PORT, 0), (CATALOG_V2_PORT, 7)),)
        )
        pushed = await change(lab, replace(shop.shop(), destinations=destinations))
        by_type = {kind: names for node, kind, names in pushed if node == "storefront"}
        assert by_type[ROUTES] == ["outbound/shop/catalog/80"]
        assert by_type[EXTENSION] == ["outbound/shop/inventory/5432"]
        assert LISTENER not in by_type
        await connections.work()
        assert await draining(lab) == {}
        assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == GREETING


async def test_a13_http_rules_change_at_once_on_open_connections(lab: Sidecars) -> None:
    async with Open(lab) as connections:
        mesh = shop.shop()
        revoked = shop.with_port(mesh, "catalog", InboundPort(8080, Protocol.HTTP, Mtls.PERMISSIVE, open=False))
        assert await change(lab, revoked) == [("catalog", ROUTES, ["inbound/8080"])]
        assert (await connections.http.get()).status == 403
        assert await change(lab, mesh) == [("catalog", ROUTES, ["inbound/8080"])]
        await connections.work()
        assert await draining(lab) == {}


async def test_a13_f3_tcp_callers_change_for_new_connections_and_open_ones_stay(lab: Sidecars) -> None:
    async with Open(lab) as connections:
        mesh = shop.shop()
        for callers, greeting in ((shop.INTRUDER,), b""), ((), b""), ((shop.STOREFRONT,), GREETING):
            rules = (TcpRule("TrafficTarget shop/db", callers),) if callers else ()
            changed = InboundPort(5432, Protocol.TCP, Mtls.STRICT, open=False, tcp_rules=rules)
            pushed = await change(lab, shop.with_port(mesh, "inventory", changed))
            assert pushed == [("inventory", SECRET, ["inbound/5432"])]
            assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == greeting
            await connections.work()
        assert await draining(lab) == {}


async def test_meshed_addresses_and_inbound_ports_come_without_draining_and_take_only_themselves_along(
    lab: Sidecars,
) -> None:
    async with Open(lab) as connections:
        mesh = shop.shop()
        another = MeshedAddress("10.96.0.77", 80, Protocol.HTTP, ServiceId("other", "service"))
        more = replace(mesh, meshed_addresses=(*mesh.meshed_addresses, another))
        more = shop.with_port(more, "inventory", InboundPort(7777, Protocol.HTTP, Mtls.STRICT, open=True))
        await change(lab, more)
        updated = await lab.pods["storefront"].stats("listener_in_place_updated")
        assert updated == {"listener_manager.listener_in_place_updated": 1}
        assert await draining(lab) == {}
        await connections.work()
        await change(lab, mesh)
        assert await draining(lab) == {"inventory listener_manager.total_filter_chains_draining": 2}
        await connections.work()


async def test_a16_losing_a_service_answers_403_on_kept_connections_too(lab: Sidecars) -> None:
    async with Open(lab) as connections:
        mesh = shop.shop()
        await change(lab, replace(mesh, scopes={**mesh.scopes, shop.STOREFRONT: Scope()}))
        assert (await connections.http.get()).status == 403
        assert (await get(lab.pods["storefront"], CATALOG_IP, 80)).status == 403
        assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == b""
        await change(lab, mesh)
        assert (await get(lab.pods["storefront"], CATALOG_IP, 80)).status == 200
        assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == GREETING
