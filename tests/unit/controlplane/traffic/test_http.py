"""Whoever stands at a sidecar's port answers our question and no other, and costs no more than the answer is long."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from controlplane.traffic.http import AnsweredError, Http
from scripted_api import serving


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    made = Http()
    yield made
    await made.close()


async def test_who_answers_does_not_choose_whom_we_ask(http: Http) -> None:
    """The control plane's own admin API, say, which answers those on its machine."""
    asked: list[str] = []

    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=302, headers={"location": "/ca/rotate"})

    async with serving(elsewhere) as url:
        with pytest.raises(AnsweredError, match="the answer is 302"):
            await http.ask("GET", f"{url}/stats/weft", most=1000)
    assert asked == ["/stats/weft"]


async def test_what_is_packed_is_not_unpacked(http: Http) -> None:
    packed = gzip.compress(bytes(10_000_000))

    async def bomb(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=packed, headers={"content-encoding": "gzip"})

    async with serving(bomb) as url:
        assert await http.ask("GET", url, most=len(packed)) == packed


async def test_an_answer_that_is_too_long_is_not_read_on(http: Http) -> None:
    async def long(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(100_000))

    async with serving(long) as url:
        with pytest.raises(OSError, match="longer than 1000 bytes"):
            await http.ask("GET", url, most=1000)
