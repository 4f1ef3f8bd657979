from __future__ import annotations

import pytest

from xds.translate.addresses import Place, canonical, first_come, places


@pytest.mark.parametrize(
    ("address", "port", "place"),
    [
        ("10.0.0.1", 80, ("10.0.0.1", 80)),
        ("FD00:0:0::1", 80, ("fd00::1", 80)),
        ("None", 80, None),
        ("", 80, None),
        ("0.0.0.0", 80, None),
        ("::", 80, None),
        ("224.0.0.1", 80, None),
        ("fe80::1%eth0", 80, None),
        ("10.0.0.1", 0, None),
        ("10.0.0.1", 65536, None),
        ("10.0.0.1/8", 80, None),
    ],
)
def test_f6_only_what_envoy_takes_is_an_address(address: str, port: int, place: Place | None) -> None:
    assert canonical(address, port) == place


def test_the_same_address_in_two_spellings_is_one_place() -> None:
    assert places(80, ["fd00::1", "FD00:0::1", "bad"]) == (("fd00::1", 80),)


def test_f6_an_address_asked_for_twice_goes_to_the_first_in_order() -> None:
    first, second = ("10.0.0.1", 80), ("10.0.0.2", 80)
    taken: set[Place] = set()
    assert first_come({"b": (first, second), "a": (first,)}, taken) == {"a": (first,), "b": (second,)}
    assert first_come({"c": (second,)}, taken) == {}
