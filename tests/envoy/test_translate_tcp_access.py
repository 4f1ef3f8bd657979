"""TCP callers are refused in the handshake: a server that speaks first is not heard, nor even connected to."""

from __future__ import annotations

import asyncio
import time

import shop_mesh as shop
from mesh.model import InboundPort, Protocol, TcpRule
from mesh.settings import Mtls
from shop_mesh import INVENTORY_IP
from sidecars import Sidecars
from talk import GREETING, greet, heard


async def test_a12_f3_a_denied_caller_gets_no_byte_of_a_server_that_speaks_first(lab: Sidecars) -> None:
    inventory, storefront = lab.pods["inventory"], lab.pods["storefront"]
    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await greet(reader, writer)

    await inventory.serve(5432, counted)
    started = time.monotonic()
    assert await heard(storefront, INVENTORY_IP, 5432) == GREETING
    assert time.monotonic() - started < 0.5
    assert connections == 1
    assert await heard(storefront, INVENTORY_IP, 5432) == GREETING
    intruder_only = (TcpRule("TrafficTarget shop/db", (shop.INTRUDER,)),)
    port = InboundPort(5432, Protocol.TCP, Mtls.STRICT, open=False, tcp_rules=intruder_only)
    lab.apply(shop.with_port(shop.shop(), "inventory", port))

    async def refused() -> bool:
        return await heard(storefront, INVENTORY_IP, 5432) == b""

    await lab.until(refused, "the caller is refused")
    connected = connections
    resumed = (await inventory.stats("inbound.ssl.session_reused"))["listener.inbound.ssl.session_reused"]
    assert resumed > 0
    for say in (b"", b"let me in"):
        assert await heard(storefront, INVENTORY_IP, 5432, say) == b""
    assert connections == connected
    assert (await inventory.stats("inbound.ssl.session_reused"))["listener.inbound.ssl.session_reused"] == resumed

    async def logged() -> bool:
        return bool(inventory.refusals())

    await lab.until(logged, "the refusal is logged")
    line = inventory.refusals()[0]
    assert line["source"] == "spiffe://cluster.local/ns/shop/sa/storefront"
    assert line["destination"] == "mtls-tcp/5432"
    assert "SAN_matcher" in line["reason"]
    assert (await inventory.stats("fail_verify_san"))["listener.inbound.ssl.fail_verify_san"] >= 3


async def test_a1_an_open_tcp_port_takes_every_identity_of_the_trust_domain(lab: Sidecars) -> None:
    await lab.pods["inventory"].serve(5432, greet)
    lab.apply(shop.with_port(shop.shop(), "inventory", InboundPort(5432, Protocol.TCP, Mtls.STRICT, open=True)))
    assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == GREETING
