"""Totals are exact: what counters grew by between two rounds, whatever restarts, is forgotten, comes and goes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.traffic import exposition, windows
from controlplane.traffic.facts import Series, quantile
from controlplane.traffic.windows import Seen, Windows
from mesh.model import PodId
from proxy.exposition import BUCKETS
from sidecar_counts import connections, sent, served, uptime

START = datetime(2026, 1, 1, tzinfo=UTC)
WEB, FRONT = PodId("shop", "web-1"), PodId("shop", "front-1")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Rounds:
    """Windows that are told of a round every five seconds."""

    def __init__(self, longest: timedelta = HOUR, most: int = windows.MOST) -> None:
        self.windows = Windows(longest, most)
        self.number = 0

    def __call__(self, *pods: tuple[PodId, str | None], uid: str = "1") -> None:
        """What each sidecar tells, None of one that does not answer."""
        seen = {pod: Seen(uid, exposition.read(pod, text) if text is not None else None) for pod, text in pods}
        self.windows.add(START + timedelta(seconds=5 * self.number), seen)
        self.number += 1

    def total(self, window: timedelta = MINUTE) -> float:
        return sum(counts.requests for counts in self.windows.read(window).counts.values())


def test_a_window_holds_what_was_counted_between_two_rounds() -> None:
    rounds = Rounds()
    for number in (100, 130, 130, 1130):
        rounds((WEB, served(number)))
    assert rounds.total() == 1030
    found = rounds.windows.read(timedelta(seconds=5))
    assert [(found.since, found.until)] == [(START + timedelta(seconds=10), START + timedelta(seconds=15))]
    assert rounds.total(timedelta(seconds=5)) == 1000
    assert rounds.total(timedelta(seconds=11)) == 1000


def test_a_window_is_never_empty_of_time_and_never_longer_than_what_is_known() -> None:
    rounds = Rounds()
    rounds((WEB, served(1)))
    assert not rounds.windows.ready
    rounds((WEB, served(3)))
    assert rounds.windows.read(timedelta(seconds=1)).seconds == 5
    assert rounds.windows.read(HOUR).seconds == 5


def test_what_a_pod_counted_before_anybody_looked_belongs_to_no_window() -> None:
    rounds = Rounds()
    rounds((WEB, None))
    rounds((WEB, served(1000)))
    rounds((WEB, served(1001)))
    assert rounds.total() == 1


@pytest.mark.parametrize("first", [None, "", served(7)])
def test_all_that_a_new_pod_counted_belongs_to_the_window_it_came_in(first: str | None) -> None:
    rounds = Rounds()
    rounds()
    rounds((WEB, first))
    rounds((WEB, served(9)))
    assert rounds.total() == 9


def test_a_pod_of_the_same_name_begins_anew() -> None:
    rounds = Rounds()
    rounds((WEB, served(100)))
    rounds((WEB, served(150)), uid="2")
    assert rounds.total() == 150


def test_what_a_pod_that_is_gone_counted_stays() -> None:
    rounds = Rounds()
    rounds((WEB, served(10)), (FRONT, sent(10, "web")))
    rounds((WEB, served(15)), (FRONT, sent(15, "web")))
    rounds((FRONT, sent(15, "web")))
    assert rounds.total() == 10


def test_a_sidecar_that_was_silent_for_a_round_loses_nothing_and_is_named() -> None:
    rounds = Rounds()
    rounds((WEB, served(10)))
    rounds((WEB, None))
    assert rounds.windows.read(MINUTE).silent == {WEB}
    rounds((WEB, served(30)))
    assert rounds.total() == 20
    assert rounds.windows.read(MINUTE).silent == frozenset()


def test_a_restarted_sidecar_counts_from_nothing_even_if_it_tells_more_than_before() -> None:
    rounds = Rounds()
    rounds((WEB, f"{served(10)}\n{uptime(500)}"))
    rounds((WEB, f"{served(12)}\n{uptime(3)}"))
    assert rounds.total() == 12


def test_a_series_that_was_forgotten_makes_nothing_negative_and_nothing_twice() -> None:
    both = f"{served(100)}\n{served(5, flags='UC')}"
    rounds = Rounds()
    for text in (
        both,
        f"{served(110)}",
        f"{served(110)}\n{served(2, flags='UC')}",
        f"{served(3)}\n{served(2, flags='UC')}",
    ):
        rounds((WEB, text))
    assert rounds.total() == 10 + 2 + 3


def test_open_connections_are_those_made_and_not_ended() -> None:
    rounds = Rounds()
    rounds((WEB, connections(7, 4, reporter="destination")))
    rounds((WEB, connections(9, 5, sent=100, reporter="destination")))
    found = rounds.windows.read(MINUTE)
    assert list(found.open.values()) == [4]
    (counts,) = found.counts.values()
    assert (counts.opened, counts.closed, counts.sent_bytes, counts.requests) == (2, 1, 100, 0)


def test_memory_is_bounded_by_time_and_by_number_and_windows_get_shorter() -> None:
    rounds = Rounds(longest=timedelta(seconds=20))
    for number in range(100):
        rounds((WEB, served(number)))
    assert rounds.windows.read(HOUR).seconds == 20
    rounds = Rounds(most=3)
    for number in range(100):
        rounds((WEB, served(number)))
    assert rounds.windows.read(HOUR).seconds == 15


@pytest.mark.parametrize("seed", range(20))
def test_over_any_rounds_totals_are_what_was_asked(seed: int) -> None:
    """A simulation: pods come, restart, go, and forget; what each counts after it was first seen is counted once."""
    chance = random.Random(seed)
    rounds, wanted = Rounds(), 0
    counters: dict[PodId, int] = {}
    started: dict[PodId, int] = {}
    uids: dict[PodId, int] = {}
    rounds()
    for moment in range(1, 60):
        for pod in [PodId("shop", f"web-{number}") for number in range(4)]:
            if pod not in counters and chance.random() < 0.3:
                counters[pod], started[pod], uids[pod] = 0, moment, moment
            elif pod in counters and chance.random() < 0.05:
                del counters[pod]
            elif pod in counters and moment - started[pod] > 1 and chance.random() < 0.1:
                counters[pod], started[pod] = 0, moment
            if pod in counters:
                more = chance.randrange(50)
                counters[pod] += more
                wanted += more
        seen = {
            pod: Seen(str(uids[pod]), exposition.read(pod, f"{served(count)}\n{uptime(moment - started[pod])}"))
            for pod, count in counters.items()
        }
        rounds.windows.add(START + timedelta(seconds=5 * moment), seen)
    assert rounds.total(HOUR) == wanted


def test_series_are_told_apart_by_what_people_ask_about() -> None:
    text = "\n".join([
        sent(3, "web-v1", service="web-v1", asked="web"),
        sent(2, "unknown", service="quiet", code="503", flags="UF"),
        sent(1, "web", grpc="14"), sent(4, "web", grpc="0"),
        'istio_requests_total{reporter="source"} 12', "# TYPE a counter", "nonsense", 'istio_x{reporter="source"} nan',
        'istio_request_duration_milliseconds_bucket{app="own",le="5"} 3',
    ])  # fmt: skip
    found = {raw.series: raw.counts().requests for raw in exposition.read(FRONT, text).raws.values()}
    assert {
        (str(series.workload), str(series.service), str(series.asked), series.code, series.failed): number
        for series, number in found.items()
    } == {
        ("shop/web-v1", "shop/web-v1", "shop/web", "200", False): 3,
        ("None", "shop/quiet", "shop/quiet", "503", True): 2,
        ("shop/web", "shop/web", "shop/web", "200", True): 1,
        ("shop/web", "shop/web", "shop/web", "200", False): 4,
    }
    assert {type(series) for series in found} == {Series}


@pytest.mark.parametrize(
    ("numbers", "share", "wanted"),
    [({}, 0.5, None), ({10: 100}, 0.5, 7.5), ({1: 50, 10000: 50}, 0.99, 9900.0), ({0: 10}, 0.99, 10000.0)],
)
def test_m2_a_quantile_is_read_within_its_bucket(numbers: dict[int, int], share: float, wanted: float | None) -> None:
    latency = tuple(float(numbers.get(int(limit), 0)) for limit in (*BUCKETS, 0))
    assert quantile(latency, share) == wanted
