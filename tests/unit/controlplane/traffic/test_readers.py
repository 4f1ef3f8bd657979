"""Both readers: sidecars are asked only while somebody asks, and Prometheus gives the same series by PromQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from controlplane.traffic.embedded import INTERVAL, LINGER, Embedded, Target
from controlplane.traffic.facts import Series, Side, TrafficError
from controlplane.traffic.prometheus import Prometheus
from controlplane.traffic.spans import window, written
from fake_clock import FakeClock
from mesh.model import PodId, ServiceId
from sidecar_counts import served

WEB = PodId("shop", "web-1")
SPAN = timedelta(seconds=INTERVAL)
HALF = timedelta(seconds=30)


class Sidecars:
    """What sidecars tell by address; those not in it do not answer. `asked` counts who was asked."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {"10.0.0.1": served(10)}
        self.asked: list[str] = []
        self.pods = [Target(WEB, "1", "10.0.0.1")]

    async def fetch(self, address: str) -> str:
        self.asked.append(address)
        if address not in self.told:
            raise OSError("nobody there")
        return self.told[address]


@pytest.fixture
def sidecars() -> Sidecars:
    return Sidecars()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def embedded(sidecars: Sidecars, clock: FakeClock) -> AsyncIterator[Embedded]:
    made = Embedded(lambda: sidecars.pods, sidecars.fetch, clock)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def begun(embedded: Embedded, sidecars: Sidecars, clock: FakeClock) -> float:
    """What the first question is answered: it waits for two rounds."""
    first = asyncio.create_task(embedded.read(HALF))
    await clock.asleep()
    sidecars.told["10.0.0.1"] = served(17)
    await clock.advance(SPAN)
    found = await first
    assert found.seconds == INTERVAL
    return sum(counts.requests for counts in found.counts.values())


async def test_nobody_is_asked_while_nobody_asks(embedded: Embedded, sidecars: Sidecars) -> None:
    await asyncio.sleep(0)
    assert sidecars.asked == []
    assert embedded is not None


async def test_the_first_question_waits_for_two_rounds(
    embedded: Embedded, sidecars: Sidecars, clock: FakeClock
) -> None:
    assert await begun(embedded, sidecars, clock) == 7
    assert len(sidecars.asked) == 2


async def test_rounds_end_when_nobody_has_asked_for_a_while(
    embedded: Embedded, sidecars: Sidecars, clock: FakeClock
) -> None:
    await begun(embedded, sidecars, clock)
    for _ in range(int(LINGER / INTERVAL) - 2):
        await clock.advance(SPAN)
    clock.skip(SPAN)
    await asyncio.sleep(0.05)
    asked = len(sidecars.asked)
    clock.skip(timedelta(hours=1))
    await asyncio.sleep(0.05)
    assert len(sidecars.asked) == asked == LINGER / INTERVAL
    assert await begun(embedded, sidecars, clock) == 0, "what was counted meanwhile belongs to no window"


async def test_a_sidecar_that_does_not_answer_is_named_and_holds_up_no_other(
    embedded: Embedded, sidecars: Sidecars, clock: FakeClock
) -> None:
    sidecars.pods.append(Target(PodId("shop", "lost-1"), "2", "10.0.0.2"))
    assert await begun(embedded, sidecars, clock) == 7
    assert (await embedded.read(HALF)).silent == {PodId("shop", "lost-1")}


async def test_what_we_fail_to_read_costs_that_sidecars_counts_alone(
    embedded: Embedded, sidecars: Sidecars, clock: FakeClock
) -> None:
    sidecars.pods.append(Target(PodId("shop", "odd-1"), "2", "10.0.0.2"))
    sidecars.told["10.0.0.2"] = b"no text"  # type: ignore[assignment]
    assert await begun(embedded, sidecars, clock) == 7
    assert (await embedded.read(HALF)).silent == {PodId("shop", "odd-1")}


def element(value: float, **labels: str) -> dict[str, Any]:
    return {
        "metric": {"namespace": "shop", "pod": "front-1", "reporter": "source", **labels},
        "value": [1.5, str(value)],
    }


HOST = "web.shop.svc.cluster.local"


async def test_prometheus_answers_with_the_same_series(clock: FakeClock) -> None:
    asked: list[str] = []

    async def ask(query: str) -> Any:
        asked.append(query)
        same = {"destination_service": HOST, "requested_service": HOST}
        if "bucket" in query:
            code = {**same, "response_code": "503", "grpc_response_status": ""}
            limits = [("5.0", 3.5), ("10", 4.5), ("+Inf", 4.5)]
            return {"result": [element(value, le=le, **code) for le, value in limits]}
        if "label_replace" in query:
            return {"result": [element(2, counter="opened", **same), element(float("nan"), counter="closed", **same)]}
        return {"result": [element(1, **same)]}

    found = await Prometheus(ask, clock).read(timedelta(seconds=60))
    service = ServiceId("shop", "web")
    requests = Series(PodId("shop", "front-1"), Side.CLIENT, "", None, service, service, "503", True)
    assert found.counts.keys() == {requests, requests._replace(code="", failed=False)}
    assert found.open == {requests._replace(code="", failed=False): 1}
    assert all("[60s]" in query for query in asked[:2])
    assert found.seconds == 60


@pytest.mark.parametrize(
    "data", [None, {"result": [{"metric": {}}]}, {"result": 3}, {"result": [element(1) | {"value": [1, "x"]}]}]
)
async def test_what_prometheus_does_not_say_is_a_sentence(data: Any, clock: FakeClock) -> None:
    async def ask(query: str) -> Any:
        return data

    with pytest.raises(TrafficError, match="Prometheus' answer can't be read"):
        await Prometheus(ask, clock).read(HALF)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("1.5m", 90), ("10m", 600)])
def test_m1_a_window_is_written_as_in_go(text: str, seconds: float) -> None:
    assert window(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "0s", "11m", "1d", "1e9s", "9" * 50 + "s", "30s "])
def test_m1_what_is_no_window_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no window"):
        window(text)


def test_a_window_is_told_as_go_reads_it() -> None:
    assert [written(seconds) for seconds in (30.0, 5.012, 599.9)] == ["30s", "5.012s", "599.9s"]
