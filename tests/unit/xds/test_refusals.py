"""Addresses that bring bad tokens again and again wait; all others never do."""

from __future__ import annotations

import pytest

from xds.peer import Reason
from xds.refusals import Refusals, RefusalSettings, address_of


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def refusals(time: Time) -> Refusals:
    return Refusals(RefusalSettings(burst=3, per_second=0.5, addresses=2), time)


def test_an_address_that_was_never_refused_never_waits(refusals: Refusals) -> None:
    assert [refusals.wait("10.0.0.1") for _ in range(100)] == [0.0] * 100
    assert refusals.turned_away == 0


def test_after_the_burst_it_waits_until_one_more_is_forgiven(refusals: Refusals, time: Time) -> None:
    for _ in range(3):
        assert refusals.wait("10.0.0.1") == 0
        refusals.refused("10.0.0.1", Reason.TIME)
    assert refusals.wait("10.0.0.1") == 2.0
    assert refusals.wait("10.0.0.2") == 0
    assert refusals.turned_away == 1
    time.now += 1.5
    assert refusals.wait("10.0.0.1") == pytest.approx(0.5)
    time.now += 0.5
    assert refusals.wait("10.0.0.1") == 0
    refusals.refused("10.0.0.1", Reason.TIME)
    assert refusals.wait("10.0.0.1") == pytest.approx(2.0)


def test_what_is_forgiven_never_grows_beyond_the_burst(refusals: Refusals, time: Time) -> None:
    refusals.refused("10.0.0.1", Reason.TIME)
    time.now += 1_000_000
    for _ in range(3):
        assert refusals.wait("10.0.0.1") == 0
        refusals.refused("10.0.0.1", Reason.TIME)
    assert refusals.wait("10.0.0.1") > 0


def test_only_so_many_addresses_are_remembered_the_last_ones(refusals: Refusals) -> None:
    for address in ("a", "b", "a", "c"):
        for _ in range(3):
            refusals.refused(address, Reason.TIME)
    assert refusals.wait("b") == 0
    assert refusals.wait("a") > 0
    assert refusals.wait("c") > 0


def test_refusals_are_counted_by_reason(refusals: Refusals) -> None:
    for reason in (Reason.POD, Reason.TIME, Reason.POD):
        refusals.refused("a", reason)
    assert refusals.by_reason == {Reason.POD: 2, Reason.TIME: 1}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("10.0.0.1:5000", "10.0.0.1"),
        ("[::1]:5000", "::1"),
        ("[fe80::1]:5000", "fe80::1"),
        ("nowhere", "nowhere"),
        ("", ""),
    ],
)
def test_the_port_of_a_peer_does_not_count(peer: str, address: str) -> None:
    assert address_of(peer) == address
