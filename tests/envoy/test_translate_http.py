"""HTTP beyond a request and its answer: gRPC streams, WebSockets, HTTP/1.0, and requests whose endpoint goes away."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import grpc_echo
import shop_mesh as shop
from mesh.model import Endpoint, InboundPort, Protocol
from mesh.settings import Mtls
from shop_mesh import CATALOG_IP, GRPC_IP, ODD_IP
from sidecars import Sidecars

PROGRAM = (sys.executable, str(Path(grpc_echo.__file__)))


async def test_h2_grpc_streams_pass_on_ports_that_say_so_and_on_those_that_do_not(lab: Sidecars) -> None:
    storefront, inventory = lab.pods["storefront"], lab.pods["inventory"]
    opened = InboundPort(9000, Protocol.DETECT, Mtls.STRICT, open=True)
    lab.apply(shop.with_port(shop.shop(), "inventory", opened))
    for port in (9090, 9000):
        server = await inventory.program(*PROGRAM, "serve", f"0.0.0.0:{port}")
        assert server.stdout is not None
        assert await server.stdout.readline() == b"ready\n"
    for address in (f"{GRPC_IP}:90", f"{ODD_IP}:9", "10.77.0.3:9000"):
        client = await storefront.program(*PROGRAM, "call", address, "hello")
        out, problems = await client.communicate()
        assert out == b"hello again\n", problems.decode()


async def test_a_websocket_passes_both_sidecars(lab: Sidecars) -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        while heard := await reader.read(100):
            writer.write(heard)

    await lab.pods["catalog"].serve(8080, upgrade)
    reader, writer = await lab.pods["storefront"].connect(CATALOG_IP, 80)
    writer.write(
        b"GET /api HTTP/1.1\r\nhost: catalog\r\nx-user: bob\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101")
    writer.write(b"frame")
    assert await asyncio.wait_for(reader.read(100), 5) == b"frame"
    writer.close()


async def test_h1_http_1_0_without_a_host_is_answered(lab: Sidecars) -> None:
    reader, writer = await lab.pods["storefront"].connect(CATALOG_IP, 80)
    writer.write(b"GET /nothing HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 403")
    writer.close()


async def test_requests_in_flight_finish_when_their_endpoint_goes(lab: Sidecars) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await may_answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    await lab.pods["catalog"].serve(8080, slow)
    reader, writer = await lab.pods["storefront"].connect(CATALOG_IP, 80)
    writer.write(b"GET /api HTTP/1.1\r\nhost: catalog\r\nx-user: bob\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 5)
    mesh = shop.shop()
    lab.apply(replace(mesh, endpoints=dict.fromkeys(mesh.endpoints, ())))
    storefront = lab.pods["storefront"]

    async def gone() -> bool:
        return not (await storefront.stats("cluster.shop/catalog-v2/80.membership_total")).get(
            "cluster.shop/catalog-v2/80.membership_total"
        )

    await lab.until(gone, "the endpoint is gone")
    may_answer.set()
    assert (await asyncio.wait_for(reader.read(1000), 5)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_endpoint_that_takes_no_connection_costs_no_request(lab: Sidecars) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    await lab.pods["outsider"].serve(8080, answer)
    mesh = shop.shop()
    plain = (Endpoint("10.77.0.9", 8080, None), Endpoint("10.77.0.9", 8079, None))
    catalog = replace(mesh.destinations[shop.CATALOG_PORT], routes=(shop.split((shop.CATALOG_PORT, 1)),))
    lab.apply(
        replace(
            mesh,
            destinations={**mesh.destinations, shop.CATALOG_PORT: catalog},
            endpoints={**mesh.endpoints, shop.CATALOG_PORT: plain},
        )
    )
    storefront = lab.pods["storefront"]

    async def known() -> bool:
        found = await storefront.stats("cluster.shop/catalog/80.membership_total")
        return list(found.values()) == [2]

    await lab.until(known, "both endpoints are known")
    for _ in range(20):
        reader, writer = await storefront.connect(CATALOG_IP, 80)
        writer.write(b"POST / HTTP/1.1\r\nhost: catalog\r\ncontent-length: 0\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(1000), 5)).startswith(b"HTTP/1.1 200")
        writer.close()
