"""What replicas report is put together; what can't be read, or comes from the dead, counts for nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ca.issuers import make_intermediate, make_root
from ca.reports import ABSENCE, Attendance, Report, Seen, onlookers, read_report, report
from ca.settling import Issuers, Rotation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def rotating() -> Issuers:
    root, following = (make_root("cluster.local", NOW, 100 * DAY) for _ in range(2))
    return Issuers(root, make_intermediate(root, "cluster.local", NOW, DAY), Rotation(next_root=following))


def seen(acknowledged: str = "", lacking: str = "", expected: str = "") -> Seen:
    whole, held, without = (frozenset(f"n/{each}" for each in names) for names in (expected, acknowledged, lacking))
    return Seen(whole, held, without)


def test_what_one_replica_saw_acknowledged_counts_wherever_the_proxy_is_now(rotating: Issuers) -> None:
    reports = {"a": report(rotating, DAY, seen("pq"), 0), "b": report(rotating, DAY, seen("r", "p"), 0)}
    there = onlookers(rotating, reports, seen(expected="pqrs"))
    assert (there.behind, there.lacking, there.away) == ((), (), ("n/s",))


def test_what_was_acknowledged_of_another_bundle_counts_for_nothing(rotating: Issuers) -> None:
    before = replace(rotating, rotation=Rotation())
    reports = {"a": report(rotating, DAY, seen("p"), 0), "b": report(before, DAY, seen("q"), 0)}
    there = onlookers(rotating, reports, seen(expected="pq"))
    assert (there.behind, there.away) == (("b",), ("n/q",))


def test_a_replica_that_does_not_serve_the_bundle_yet_is_behind(rotating: Issuers) -> None:
    mine = report(rotating, DAY, replace(seen("p"), in_force=False), 0)
    assert onlookers(rotating, {"a": mine}, seen(expected="p")).behind == ("a",)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b"{}", b'{"bundle": 1, "root": "", "leaf": 1}', b"\xff"])
def test_a_report_of_nonsense_is_a_replica_of_which_nothing_is_known(rotating: Issuers, content: bytes) -> None:
    assert onlookers(rotating, {"a": read_report(content)}, Seen()).behind == ("a",)


def test_marks_of_nonsense_are_nobodys(rotating: Issuers) -> None:
    broken = replace_marks(report(rotating, DAY, seen("p"), 0), "not base64!")
    assert onlookers(rotating, {"a": broken}, seen(expected="p")).away == ("n/p",)


def replace_marks(found: Report, marks: str) -> Report:
    return Report(found.bundle, found.root, found.leaf, marks)


def test_a_thousand_proxies_take_eight_kilobytes(rotating: Issuers) -> None:
    names = frozenset(f"namespace/deployment-5d4f8c7b9d-{number:05}" for number in range(1000))
    assert len(report(rotating, DAY, Seen(acknowledged=names), 0).acknowledged) == 8000


def test_while_nothing_rotates_a_report_stays_the_same(rotating: Issuers) -> None:
    steady = replace(rotating, rotation=Rotation())
    assert report(steady, DAY, seen("p"), 0) == report(steady, DAY, seen("", "q"), 1e6)
    assert report(rotating, DAY, seen("p"), 0) != report(rotating, DAY, seen("p"), 1e6), "a sign of life"


def test_a_replica_of_which_nobody_knows_counts_while_it_says_something_new() -> None:
    attendance = Attendance(lambda _: None)
    one, other = Report("x", "y", 1.0, beat=1), Report("x", "y", 1.0, beat=2)
    assert attendance.present({"a": one}, DAY, 0) == {"a": one}
    assert attendance.present({"a": one}, DAY, 86_400) == {"a": one}
    assert attendance.present({"a": one}, DAY, 86_401) == {}
    assert attendance.present({"a": other}, DAY, 90_000) == {"a": other}


def test_a_replica_whose_pod_is_there_counts_for_ever_and_one_whose_pod_is_gone_for_a_moment() -> None:
    pods = {"a", "b"}
    attendance = Attendance(lambda name: name in pods)
    reports = {"a": Report("x", "y", 1.0), "b": Report("x", "y", 1.0)}
    assert attendance.present(reports, DAY, 0).keys() == {"a", "b"}
    pods.remove("b")
    assert attendance.present(reports, DAY, 1).keys() == {"a", "b"}
    assert attendance.present(reports, DAY, 1 + ABSENCE).keys() == {"a"}
    assert attendance.present(reports, DAY, 1e9).keys() == {"a"}
