"""The holder of the Lease stops in time whatever the API server does; what it runs may fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from fake_clock import FakeClock
from kube.client import Client
from kube.lease import Leadership, LeaseSettings
from scripted_api import connected


class LeaseApi:
    """One Lease. It hangs while `open` is not set, and answers `refusal` where there is one."""

    def __init__(self) -> None:
        self.lease: dict[str, object] | None = None
        self.version = 0
        self.open = asyncio.Event()
        self.open.set()
        self.refusal = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        await self.open.wait()
        if self.refusal or (request.method == "GET" and self.lease is None):
            code = self.refusal or 404
            return web.json_response({"kind": "Status", "reason": "", "message": "no", "code": code}, status=code)
        if request.method in {"POST", "PUT"}:
            self.version += 1
            sent = json.loads(body)
            self.lease = {**sent, "metadata": {**sent["metadata"], "resourceVersion": str(self.version)}}
        return web.json_response(self.lease)

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""  # type: ignore[index]


@pytest.fixture
async def api() -> LeaseApi:
    return LeaseApi()


@pytest.fixture
async def client(api: LeaseApi, tmp_path: Path) -> AsyncIterator[Client]:
    async with connected(tmp_path, api) as opened:
        yield opened
        api.open.set()


async def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.005)


class Candidate:
    """Stands for election; its work waits, or fails."""

    def __init__(self, client: Client) -> None:
        self.clock = FakeClock()
        settings = LeaseSettings(namespace="weft-system", identity="a")
        self.leadership = Leadership(client, settings, self.clock, lambda: 0.0)
        self.working = 0
        self.failure: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.task = asyncio.create_task(self.leadership.run(self._work))

    async def _work(self) -> None:
        self.working += 1
        try:
            if self.failure is not None:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.working -= 1


@pytest.fixture
async def candidate(client: Client) -> AsyncIterator[Candidate]:
    made = Candidate(client)
    yield made
    assert made.task is not None
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.task


async def test_a_renewal_that_hangs_ends_leadership_at_the_deadline(api: LeaseApi, candidate: Candidate) -> None:
    candidate.begin()
    await until(lambda: candidate.working == 1, "it leads")
    api.open.clear()
    await candidate.clock.asleep()
    candidate.clock.skip(timedelta(seconds=2))
    await candidate.clock.asleep()  # the renewal hangs, and what is left of the deadline passes
    assert candidate.working == 1
    candidate.clock.skip(timedelta(seconds=8))
    await until(lambda: candidate.working == 0, "it stopped")
    assert not candidate.leadership.leading


async def test_work_that_fails_gives_the_lease_back_and_is_begun_again(api: LeaseApi, candidate: Candidate) -> None:
    candidate.failure = RuntimeError("our own mistake")
    with capture_logs() as logs:
        candidate.begin()
        await until(lambda: candidate.leadership.transitions == 1 and api.holder == "", "it gave the lease back")
    assert [line["event"] for line in logs].count("a duty of the lease holder failed") == 1
    candidate.failure = None
    await candidate.clock.asleep()
    candidate.clock.skip(timedelta(seconds=2))
    await until(lambda: candidate.working == 1, "it works")


async def test_a_refusal_is_said_once_and_tried_again(api: LeaseApi, candidate: Candidate) -> None:
    api.refusal = 403
    with capture_logs() as logs:
        candidate.begin()
        for looks in range(2, 6):
            await candidate.clock.asleep()
            candidate.clock.skip(timedelta(seconds=2))
            await until(lambda looks=looks: candidate.leadership.looks >= looks, "it looked")  # type: ignore[misc]
    assert len([line for line in logs if line["event"] == "the lease can't be had or renewed now"]) == 1
    api.refusal = 0
    await candidate.clock.asleep()
    candidate.clock.skip(timedelta(seconds=2))
    await until(lambda: candidate.working == 1, "it leads")


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"), [(10, 10.0, 2.0), (15, 2.0, 2.0), (15, 10.0, 0.0), (5, 10.0, 2.0)]
)
def test_times_that_could_make_two_holders_are_refused(duration: int, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="retry < deadline < duration"):
        LeaseSettings(namespace="n", identity="a", duration=duration, deadline=deadline, retry=retry)
