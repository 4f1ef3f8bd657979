"""Traces and logs in a real collector: both sidecars' spans of a request are one trace, a refusal has its reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import collector as collector_program
from shop_mesh import CATALOG_IP, STOREFRONT, shop
from sidecars import Pod, Sidecars, missing, sidecars
from talk import mirror
from xds.collector import Traces, collector
from xds.translate.observing import Observing
from xds.translate.world import TranslateSettings

HERE = "10.77.0.9"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Collected:
    """Two sidecars that tell a collector, and what it was told."""

    lab: Sidecars
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.lines.append(json.loads(line))

    async def lines_after(self, count: int, send: Callable[[], Awaitable[str]]) -> tuple[str, list[dict[str, Any]]]:
        """What `send` gave, and the so many lines at least that came of it.

        Sent again where too few come: Envoy drops what it can't hand over, such as while its first connection to the
        collector is not up.
        """
        for _ in range(4):
            self.lines.clear()
            given = await send()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(11):
                    while len(self.lines) < count:  # noqa: ASYNC110 - lines are read by another task
                        await asyncio.sleep(0.05)
                return given, [*self.lines]
        raise AssertionError(f"not {count} lines came of any of four attempts, only {self.lines}")


@asynccontextmanager
async def collecting(observing: Observing) -> AsyncIterator[Collected]:
    if reason := missing():
        pytest.skip(reason)
    async with sidecars(TranslateSettings(observing=observing)) as lab:
        lab.apply(shop())
        place: Pod = await lab.start("collector", 9, sidecar=False)
        program = await place.program(sys.executable, str(Path(collector_program.__file__)), "4317", "4318", "9411")
        assert program.stdout is not None
        assert "listening" in json.loads(await program.stdout.readline())
        collected = Collected(lab)
        reading = asyncio.create_task(collected.read(program.stdout))
        await asyncio.gather(*(lab.start(name, number) for number, name in enumerate(("storefront", "catalog"), 1)))
        await lab.pods["catalog"].serve(8080, mirror)
        try:
            yield collected
        finally:
            reading.cancel()
        assert lab.ads.rejected == []


async def ask(lab: Sidecars, path: str, headers: str = "") -> str:
    """The head of the request as the app got it."""
    reader, writer = await lab.pods["storefront"].connect(CATALOG_IP, 80)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: catalog\r\nx-user: bob\r\n{headers}\r\n".encode())
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200")
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("url", [f"otlp://{HERE}", f"otlp-http://{HERE}", f"zipkin://{HERE}"])
async def test_the_spans_of_both_sidecars_are_one_trace(url: str) -> None:
    async with collecting(Observing(traces=Traces(collector(url), percent=100))) as collected:
        head, spans = await collected.lines_after(2, lambda: ask(collected.lab, "/api/items"))
    client, server = sorted(spans, key=lambda span: str(span["kind"]))
    assert (client["kind"], server["kind"]) == ("CLIENT", "SERVER")
    assert client["trace"] == server["trace"]
    assert server["parent"] == client["span"]
    assert client["trace"] in head, "the app is told, and can pass it on"
    assert server["tags"]["k8s.pod.name"] == "catalog"
    named = [span["resource"]["service.name"] for span in (client, server)]
    assert named == (["shop/storefront", "shop/catalog"] if "zipkin" in url else ["storefront", "catalog"])


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (f"otlp://{HERE}", "traceparent: 00-{trace}-{parent}-0{sampled}\r\n"),
        (f"zipkin://{HERE}", "x-b3-traceid: {trace}\r\nx-b3-spanid: {parent}\r\nx-b3-sampled: {sampled}\r\n"),
    ],
)
async def test_a_caller_that_has_a_trace_decides_whether_it_goes_on(url: str, headers: str) -> None:
    async with collecting(Observing(traces=Traces(collector(url), percent=0))) as collected:

        async def send() -> str:
            for sampled in (0, 1):
                written = headers.format(trace=TRACE, parent=PARENT, sampled=sampled)
                await ask(collected.lab, f"/api/{sampled}", written)
            return await ask(collected.lab, "/api/2")

        _, spans = await collected.lines_after(2, send)
    assert {span["trace"] for span in spans} == {TRACE}, [(s["trace"][:4], s["kind"], s["tags"]) for s in spans]
    assert [span["parent"] for span in spans if span["kind"] == "CLIENT"] == [PARENT]
    assert {span["tags"]["http.url"].rpartition("/")[2] for span in spans} == {"1"}, "neither 0 nor 2 was sampled"


async def test_a12_access_logs_go_to_a_collector_instead_of_standard_output() -> None:
    async with collecting(Observing(logs=collector(f"otlp://{HERE}"))) as collected:

        async def send() -> str:
            reader, writer = await collected.lab.pods["storefront"].connect(CATALOG_IP, 80)
            writer.write(b"GET /secret HTTP/1.1\r\nhost: catalog\r\n\r\n")
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
            writer.close()
            return head

        head, (record, *_) = await collected.lines_after(1, send)
        assert head.startswith("HTTP/1.1 403")
        assert collected.lab.pods["catalog"].refusals() == []
    assert record["resource"]["node_name"] == "shop/catalog"
    assert (record["log"]["event"], record["log"]["status"], record["log"]["path"]) == ("refused", "403", "/secret")
    assert record["log"]["source"] == STOREFRONT.uri
    assert record["log"]["reason"].startswith("rbac_access_denied")
