"""A12: which requests a real Envoy writes to its access log, in each of the modes a person can choose."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

import shop_mesh as shop
from mesh.settings import AccessLog
from shop_mesh import CATALOG_IP, STOREFRONT
from sidecars import Sidecars
from talk import get

REFUSED, SERVED = "refused 403", "request {}".format


async def odd(asked: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that fails every request for a path that ends in `fail`, and never answers one that ends in `wait`."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        if b"wait HTTP" in head:
            asked.set()
            continue
        status = b"500 No" if b"fail HTTP" in head else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (AccessLog.OFF, {REFUSED: 1}),
        (AccessLog.ERRORS, {REFUSED: 1, SERVED(500): 1, SERVED(0): 1}),
        (AccessLog.ALL, {REFUSED: 1, SERVED(500): 1, SERVED(0): 1, SERVED(200): 2}),
    ],
)
async def test_a12_requests_are_logged_as_wanted_and_refusals_always(
    lab: Sidecars, mode: AccessLog, wanted: dict[str, int]
) -> None:
    mesh, catalog, storefront = shop.shop(), lab.pods["catalog"], lab.pods["storefront"]
    logging = replace(mesh.workloads["catalog"], access_log=mode)
    lab.apply(replace(mesh, workloads={**mesh.workloads, "catalog": logging}))
    asked = asyncio.Event()
    await catalog.serve(8080, partial(odd, asked))

    async def in_force() -> bool:
        dump = await catalog.admin("/config_dump?resource=dynamic_listeners")
        return "warming_state" not in dump and ('"event": "request"' in dump) == (mode is not AccessLog.OFF)

    await lab.until(in_force, "the listener logs as wanted")
    _, leaving = await storefront.connect(CATALOG_IP, 80)
    leaving.write(b"GET /api/wait HTTP/1.1\r\nhost: catalog\r\nx-user: bob\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 5)
    leaving.close()
    for path in ("/api/fail", "/api/1", "/api/2", "/secret"):
        await get(storefront, CATALOG_IP, 80, path)

    async def logged() -> bool:
        return lines(catalog.refusals()).total() >= sum(wanted.values())

    await lab.until(logged, "as much is logged as is wanted")
    assert lines(catalog.refusals()) == wanted
    for line in catalog.refusals():
        assert line["source"] == STOREFRONT.uri
        assert line["destination"] == "inbound/8080"


def lines(log: list[dict[str, object]]) -> Counter[str]:
    return Counter(f"{line['event']} {line['status']}" for line in log)
