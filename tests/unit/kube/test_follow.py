"""Following a kind: pages, watches and what goes wrong with them, against a server that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kube.collection import Collection
from kube.follow import Backoff, Follower, NotServed
from scripted_api import connected

PATIENCE = 10.0
PATH = "/api/v1/pods"


def pod(name: str, version: int, value: str = "x") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}, "value": value}


def event(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def page(*items: dict[str, Any], version: int, rest: str = "") -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version), "continue": rest}, "items": list(items)})


def refusal(code: int, reason: str = "", **details: Any) -> web.Response:
    return web.json_response({"code": code, "reason": reason, "message": reason, "details": details}, status=code)


class Script:
    """Answers one request after another: a Response, or the pieces of a watch. A watch that ends stays open last."""

    def __init__(self, *answers: web.Response | list[bytes]) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, web.Response):
            return answer
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in answer:
            await response.write(piece)
        if not self._answers:
            await asyncio.Event().wait()
        return response


class World:
    """What a follower came to, and a way to wait for it."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self.history: list[dict[str, str]] = []
        self.states: list[str] = []
        self.waits: list[float] = []
        self._news = asyncio.Event()

    def changed(self, key: tuple[str, str], item: str | None) -> None:
        self.now = {**self.now, key[1]: item or ""}
        if item is None:
            del self.now[key[1]]
        self.history.append(self.now)
        self._news.set()

    def in_step(self) -> None:
        self.states.append("in step")
        self._news.set()

    def out_of_step(self, why: str) -> None:
        self.states.append(why)
        self._news.set()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def until(self, **wanted: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.now != wanted:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(folder: Path, script: Script) -> AsyncIterator[World]:
    world = World()
    collection = Collection(lambda raw: str(msgspec.json.decode(raw)["value"]), world.changed)
    async with connected(folder, script) as client:
        task = asyncio.create_task(Follower(client, PATH, collection, world, world.sleep).run())
        try:
            yield world
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_pages_are_one_list_and_the_watch_goes_on_from_it(tmp_path: Path) -> None:
    script = Script(
        page(pod("a", 3), version=7, rest="more"),
        page(pod("b", 4), version=7),
        [event("ADDED", pod("c", 8)), event("DELETED", pod("a", 9))],
    )
    async with following(tmp_path, script) as world:
        await world.until(b="x", c="x")
    assert [query.get("continue") for query in script.asked[:2]] == [None, "more"]
    assert script.asked[2]["resourceVersion"] == "7"
    assert script.asked[2]["allowWatchBookmarks"] == "true"
    assert world.history[0] == {"a": "x"}


async def test_a_watch_that_ends_goes_on_where_it_was_by_event_or_bookmark(tmp_path: Path) -> None:
    bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "20"}}
    script = Script(
        page(version=7), [event("ADDED", pod("a", 8))], [event("BOOKMARK", bookmark)], [event("ADDED", pod("b", 21))]
    )
    async with following(tmp_path, script) as world:
        await world.until(a="x", b="x")
    assert [query.get("resourceVersion") for query in script.asked] == [None, "7", "8", "20"]


@pytest.mark.parametrize("how", ["status", "event"])
async def test_gone_is_listed_anew_without_a_gap(tmp_path: Path, how: str) -> None:
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    gone: web.Response | list[bytes] = refusal(410, "Expired") if how == "status" else [event("ERROR", expired)]
    script = Script(
        page(pod("a", 3), pod("b", 4), version=7),
        gone,
        page(pod("a", 3), version=30, rest="more"),
        page(pod("c", 22), version=30),
        [],
    )
    async with following(tmp_path, script) as world:
        await world.until(a="x", c="x")
    assert all("a" in state for state in world.history), "what still exists was never missing"
    assert script.asked[2].get("resourceVersion") is None


async def test_a_list_whose_rest_has_expired_begins_again(tmp_path: Path) -> None:
    script = Script(page(pod("a", 3), version=7, rest="old"), refusal(410, "Expired"), page(pod("b", 4), version=9), [])
    async with following(tmp_path, script) as world:
        await world.until(b="x")
    assert world.history == [{"b": "x"}]


async def test_a_truncated_line_is_asked_for_again(tmp_path: Path) -> None:
    whole = event("ADDED", pod("b", 9))
    script = Script(page(version=7), [event("ADDED", pod("a", 8)), whole[:30]], [whole])
    async with following(tmp_path, script) as world:
        await world.until(a="x", b="x")
    assert script.asked[2]["resourceVersion"] == "8"


async def test_a_line_that_makes_no_sense_leads_to_a_new_list(tmp_path: Path) -> None:
    script = Script(
        page(pod("a", 3), version=7), [b'{"type":"ADDED"}\n'], page(pod("a", 3), pod("b", 9), version=9), []
    )
    async with following(tmp_path, script) as world:
        await world.until(a="x", b="x")
    assert any("can't be read" in state for state in world.states)


async def test_duplicate_and_reordered_events_come_to_the_last_state(tmp_path: Path) -> None:
    first, second = event("MODIFIED", pod("a", 8, "first")), event("MODIFIED", pod("a", 9, "second"))
    script = Script(page(version=7), [second, first, second, event("ADDED", pod("end", 10))])
    async with following(tmp_path, script) as world:
        await world.until(a="second", end="x")
    assert {"a": "first"} not in world.history


async def test_trouble_keeps_the_last_state_and_is_told(tmp_path: Path) -> None:
    script = Script(
        page(pod("a", 3), version=7),
        refusal(403, "Forbidden"),
        refusal(503, "Unavailable"),
        [event("ADDED", pod("b", 8))],
    )
    async with following(tmp_path, script) as world:
        await world.until(a="x", b="x")
    assert world.states == ["in step", "Forbidden", "Unavailable", "in step"]
    assert world.history == [{"a": "x"}, {"a": "x", "b": "x"}]


async def test_waits_grow_until_something_is_told(tmp_path: Path) -> None:
    refused = [refusal(503, "Unavailable") for _ in range(8)]
    again = page(pod("b", 9), version=9)
    script = Script(*refused, page(version=7), [event("ADDED", pod("a", 8))], refusal(500, "x"), again, [])
    async with following(tmp_path, script) as world:
        await world.until(b="x")
    assert all(0.1 <= wait <= 15 for wait in world.waits)
    assert max(world.waits[:8]) > 5
    assert world.waits[8] <= 0.2


async def test_the_server_says_how_long_to_wait(tmp_path: Path) -> None:
    script = Script(refusal(429, "TooManyRequests", retryAfterSeconds=7), page(pod("a", 3), version=7), [])
    async with following(tmp_path, script) as world:
        await world.until(a="x")
    assert world.waits == [7.0]


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_circle(tmp_path: Path) -> None:
    script = Script(page(version=7), [], [], [], [event("ADDED", pod("a", 8))])
    async with following(tmp_path, script) as world:
        await world.until(a="x")
    assert len(world.waits) == 3
    assert min(world.waits) >= 0.1


@pytest.mark.parametrize("how", ["list", "event"])
async def test_an_object_nested_without_end_stops_nobody(tmp_path: Path, how: str) -> None:
    deep = b'{"metadata":{"name":"deep","namespace":"ns","resourceVersion":"8"},"value":"y","z":%s}'
    deep %= b"[" * 9000 + b"]" * 9000
    first = b'{"metadata":{"resourceVersion":"7"},"items":[%s]}' % (deep if how == "list" else b"")
    line = event("ADDED", pod("a", 9)) if how == "list" else b'{"type":"ADDED","object":%s}\n' % deep
    script = Script(web.Response(body=first), [line, event("ADDED", pod("a", 10))])
    async with following(tmp_path, script) as world:
        await world.until(deep="y", a="x")


async def test_a_kind_that_is_not_served_is_the_end(tmp_path: Path) -> None:
    script = Script(page(pod("a", 3), version=7), refusal(404, "NotFound"))
    world = World()
    collection = Collection(lambda raw: str(msgspec.json.decode(raw)["value"]), world.changed)
    async with connected(tmp_path, script) as client:
        with pytest.raises(NotServed):
            await Follower(client, PATH, collection, world, world.sleep).run()
    assert world.now == {"a": "x"}, "forgetting is decided elsewhere"


def test_half_of_a_wait_is_chance() -> None:
    for drawn, wanted in ((0.0, [0.1, 0.2, 0.4]), (1.0, [0.2, 0.4, 0.8])):
        backoff = Backoff(lambda drawn=drawn: drawn)  # type: ignore[misc]
        assert [round(backoff.seconds(), 6) for _ in range(3)] == wanted
