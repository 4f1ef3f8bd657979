from __future__ import annotations

from dataclasses import dataclass, field

from mesh.remember import Remembered, RememberedMap, settled


@dataclass(frozen=True)
class Pair:
    left: tuple[int, ...]
    right: dict[str, tuple[int, ...]] = field(default_factory=dict)


def double(number: int) -> tuple[int, int]:
    return number, number


def parity(number: int) -> tuple[str]:
    return ("odd" if number % 2 else "even",)


def test_an_equal_argument_gives_the_identical_result_without_running() -> None:
    remembered = Remembered[tuple[int, ...], tuple[int, ...]](lambda argument: (*argument, 0))
    first = remembered((1, 2))
    assert remembered(tuple([1, 2])) is first  # noqa: C409  # an equal tuple that is another object
    assert remembered.runs == 1


def test_an_equal_result_of_another_argument_is_the_identical_object() -> None:
    remembered = Remembered(parity)
    first = remembered(1)
    assert remembered(3) is first
    assert remembered.runs == 2


def test_a_map_runs_only_for_keys_with_a_new_argument() -> None:
    remembered = RememberedMap[str, int, tuple[int, int]](double)
    before = remembered({"a": 1, "b": 2})
    after = remembered({"a": 1, "b": 3})
    assert remembered.runs == 3
    assert after == {"a": (1, 1), "b": (3, 3)}
    assert after["a"] is before["a"]
    assert before == {"a": (1, 1), "b": (2, 2)}


def test_a_map_stays_the_identical_object_while_no_result_changes() -> None:
    remembered = RememberedMap[str, int, tuple[str]](parity)
    before = remembered({"a": 1, "b": 2})
    assert remembered({"a": 3, "b": 2}) is before
    assert remembered({"a": 1}) == {"a": ("odd",)}


def test_a_key_that_vanished_is_forgotten() -> None:
    remembered = RememberedMap[str, int, tuple[int, int]](double)
    remembered({"a": 1})
    remembered({})
    remembered({"a": 1})
    assert remembered.runs == 2


def test_a_changed_result_keeps_the_parts_that_did_not_change() -> None:
    before = Pair((1, 2), {"a": (1,), "b": (2,)})
    now = settled(before, Pair(tuple([1, 2]), {"a": tuple([1]), "b": (3,)}))  # noqa: C409  # other objects
    assert now.left is before.left
    assert now.right["a"] is before.right["a"]
    assert now.right == {"a": (1,), "b": (3,)}
