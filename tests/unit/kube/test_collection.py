"""A collection: what a list and events come to, whatever their order, and that nothing is forgotten meanwhile."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.collection import GRAVES, Collection, Key, newest


class Told:
    """Records what a collection tells, and keeps what follows from it."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str | None]] = []
        self.now: dict[str, str] = {}
        self.read: list[str] = []

    def __call__(self, key: Key, item: str | None) -> None:
        self.news.append((key[1], item))
        if item is None:
            del self.now[key[1]]
        else:
            self.now[key[1]] = item


def raw(name: str, version: int | str, value: str = "x") -> msgspec.Raw:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": str(version)}
    return msgspec.Raw(json.dumps({"metadata": metadata, "value": value}).encode())


def collection(told: Told) -> Collection[str]:
    def read(document: msgspec.Raw) -> str:
        value: dict[str, Any] = msgspec.json.decode(document)
        told.read.append(value["metadata"]["name"])
        return str(value["value"])

    return Collection(read, told)


def listed(told: Told, *items: msgspec.Raw, version: int = 10) -> Collection[str]:
    found = collection(told)
    relist(found, *items, version=version)
    return found


def relist(found: Collection[str], *items: msgspec.Raw, version: int) -> None:
    found.begin()
    for item in items:
        found.listed(item)
    found.complete(str(version))


def test_a_list_that_is_not_complete_changes_nothing() -> None:
    told = Told()
    found = listed(told, raw("a", 1), raw("b", 2))
    told.news.clear()
    found.begin()
    found.listed(raw("a", 11, "y"))
    assert told.news == []
    found.begin()  # the list broke off; another attempt
    found.listed(raw("a", 11, "y"))
    found.listed(raw("b", 2))
    found.complete("20")
    assert told.news == [("a", "y")]


def test_a_new_list_removes_only_what_it_leaves_out() -> None:
    told = Told()
    found = listed(told, raw("a", 1), raw("b", 2))
    relist(found, raw("b", 2), raw("c", 12), version=20)
    assert told.now == {"b": "x", "c": "x"}
    assert told.news[2:] == [("a", None), ("c", "x")]


def test_an_object_of_the_same_version_is_not_read_again() -> None:
    told = Told()
    found = listed(told, raw("a", 1))
    relist(found, raw("a", 1), version=20)
    assert told.read == ["a"]
    found.read_again()
    relist(found, raw("a", 1), version=30)
    assert told.read == ["a", "a"]
    assert told.news == [("a", "x")]


def test_an_event_that_changes_nothing_we_read_tells_nobody() -> None:
    told = Told()
    found = listed(told, raw("a", 1))
    found.event("MODIFIED", raw("a", 11))
    assert told.news == [("a", "x")]
    assert found.event("MODIFIED", raw("a", 12, "y")) == "12"
    assert told.news == [("a", "x"), ("a", "y")]


def test_duplicates_and_late_events_are_echoes() -> None:
    told = Told()
    found = listed(told, raw("a", 1))
    found.event("MODIFIED", raw("a", 12, "new"))
    for late in (raw("a", 12, "new"), raw("a", 11, "old"), raw("gone-before-the-list", 9)):
        found.event("MODIFIED", late)
    assert told.now == {"a": "new"}
    assert found.echoes == 3


def test_what_was_deleted_does_not_come_back_by_a_late_event() -> None:
    told = Told()
    found = listed(told, raw("a", 1))
    found.event("DELETED", raw("a", 13))
    found.event("MODIFIED", raw("a", 12))
    assert told.now == {}
    found.event("ADDED", raw("a", 14, "again"))
    found.event("DELETED", raw("a", 13))
    assert told.now == {"a": "again"}


def test_versions_that_are_no_numbers_are_compared_for_equality_only() -> None:
    told = Told()
    found = listed(told, raw("a", "v-b"))
    found.event("MODIFIED", raw("a", "v-b", "echo"))
    found.event("MODIFIED", raw("a", "v-a", "last word"))
    assert told.now == {"a": "last word"}


def test_numbers_are_compared_as_numbers() -> None:
    assert newest("9", "10") == "10"
    assert newest("10", "9") == "10"
    assert newest("", "9") == "9"
    assert newest("9", "") == "9"


def test_only_so_many_deletions_are_remembered() -> None:
    told = Told()
    found = listed(told)
    for number in range(GRAVES + 5):
        found.event("ADDED", raw(f"n{number}", 100 + 2 * number))
        found.event("DELETED", raw(f"n{number}", 101 + 2 * number))
    assert len(found._graves) == GRAVES
    assert told.now == {}


def test_a_kind_that_is_gone_takes_its_objects_along() -> None:
    told = Told()
    found = listed(told, raw("a", 1), raw("b", 2))
    found.clear()
    assert told.now == {}
    assert len(found) == 0
    relist(found, raw("a", 30), version=31)
    assert told.now == {"a": "x"}


@pytest.mark.parametrize("document", [b'"text"', b"[]", b'{"metadata":{"name":3}}'])
def test_what_is_no_object_is_refused(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        listed(Told(), msgspec.Raw(document))


writes = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["DELETED", "u", "v", "w"])), max_size=12)


@given(writes, st.randoms(use_true_random=False))
def test_events_in_any_order_and_any_number_come_to_the_same(history: list[tuple[str, str]], chance: Any) -> None:
    """Every event arrives at least once; some twice, in any order."""
    wanted: dict[str, str] = {}
    events: list[tuple[str, msgspec.Raw]] = []
    for number, (name, value) in enumerate(history, 11):
        if value == "DELETED":
            wanted.pop(name, None)
            events.append(("DELETED", raw(name, number)))
        else:
            wanted[name] = value
            events.append(("MODIFIED", raw(name, number, value)))
    arriving = events + [event for event in events if chance.random() < 0.3]
    chance.shuffle(arriving)
    told = Told()
    found = listed(told)
    for kind, document in arriving:
        found.event(kind, document)
    assert told.now == wanted
