"""Durations as a histogram."""

from __future__ import annotations

from kube.durations import BOUNDS, Durations


def test_a_duration_is_in_the_bucket_of_its_limit_and_in_all_above() -> None:
    durations = Durations()
    for seconds in (0.0005, 0.01, 0.011, 60.0):
        durations.add(seconds)
    buckets = dict(durations.buckets())
    assert buckets["0.001"] == 1
    assert buckets["0.01"] == 2
    assert buckets["0.025"] == buckets["30.0"] == 3
    assert buckets["+Inf"] == 4
    assert durations.total == 0.0005 + 0.01 + 0.011 + 60.0


def test_there_is_a_bucket_for_each_limit_and_one_without() -> None:
    assert [limit for limit, _ in Durations().buckets()] == [*map(str, BOUNDS), "+Inf"]
