from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mesh.remember import Joined, Remembered, RememberedMap, differing, settled


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


def test_results_follow_the_order_of_the_keys_when_some_come_and_go() -> None:
    remembered = RememberedMap[str, int, tuple[int, int]](double)
    remembered({"b": 2, "c": 3})
    assert list(remembered({"a": 1, "c": 3, "b": 2}).items()) == [("a", (1, 1)), ("c", (3, 3)), ("b", (2, 2))]
    assert list(remembered({"b": 2, "c": 4})) == ["b", "c"]
    assert remembered.runs == 4


def test_a_map_that_failed_tries_the_same_argument_again() -> None:
    def inverse(number: int) -> float:
        return 1 / number

    remembered = RememberedMap[str, int, float](inverse)
    before = remembered({"a": 2})
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            remembered({"a": 2, "b": 0})
    assert remembered({"a": 2}) is before


def test_joined_parts_are_the_identical_argument_while_every_part_is_equal() -> None:
    joined = Joined[str, list[object]](lambda *parts: [*parts])
    before = joined({"a": (1,), "b": (2,)}, {"b": "x", "a": "y", "c": "z"})
    assert before == {"a": [(1,), "y"], "b": [(2,), "x"]}
    assert joined({"a": tuple([1]), "b": (2,)}, {"a": "y", "b": "x"}) is before  # noqa: C409  # other objects
    after = joined({"a": (1,), "b": (2,)}, {"a": "y", "b": "w"})
    assert after == {"a": [(1,), "y"], "b": [(2,), "w"]}
    assert after["a"] is before["a"]
    assert before["b"] == [(2,), "x"]


def test_joined_keys_come_go_and_may_lack_a_part() -> None:
    joined = Joined[str, list[object]](lambda *parts: [*parts])
    joined({"b": 1}, {"b": 2})
    assert list(joined({"a": 0, "b": 1}, {"b": 2}).items()) == [("a", [0, None]), ("b", [1, 2])]
    assert joined({"a": 0}, {"b": 2}) == {"a": [0, None]}
    assert joined({}, {}) == {}


def test_what_differs_is_new_or_not_equal() -> None:
    assert differing({"a": 1, "b": 2, "c": None}, {"c": None, "b": 3, "d": None, "a": 1.0}) == ["b", "d"]


def test_a_changed_result_keeps_the_parts_that_did_not_change() -> None:
    before = Pair((1, 2), {"a": (1,), "b": (2,)})
    now = settled(before, Pair(tuple([1, 2]), {"a": tuple([1]), "b": (3,)}))  # noqa: C409  # other objects
    assert now.left is before.left
    assert now.right["a"] is before.right["a"]
    assert now.right == {"a": (1,), "b": (3,)}


def test_a_changed_dict_keeps_its_new_order() -> None:
    now = settled({"a": (1,), "b": (2,)}, {"c": (3,), "b": (4,), "a": (1,)})
    assert list(now.items()) == [("c", (3,)), ("b", (4,)), ("a", (1,))]
