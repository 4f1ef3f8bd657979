"""The store: one resourceVersion, and history as far as it goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.storage import Feed, StaleError, Store, TooOldError

PODS = ("", "pods")


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "n", "name": name, "labels": labels}}


def names(found: Any) -> list[str]:
    return [each.object["metadata"]["name"] for each in found]


def test_every_write_of_any_kind_has_a_higher_resource_version() -> None:
    store = Store()
    first = store.create(PODS, pod("a"))
    other = store.create(("", "services"), pod("s"))
    second = store.replace(PODS, pod("a", x="1"), first)
    gone = store.delete(PODS, second)
    versions = [int(each.object["metadata"]["resourceVersion"]) for each in (first, other, second, gone)]
    assert versions == sorted(set(versions))
    assert store.version == versions[-1]


def test_who_read_before_anothers_write_can_not_write() -> None:
    store = Store()
    read = store.create(PODS, pod("a"))
    store.replace(PODS, pod("a", x="1"), read)
    with pytest.raises(StaleError):
        store.replace(PODS, pod("a", x="2"), read)
    with pytest.raises(StaleError):
        store.delete(PODS, read)


def test_the_past_can_be_listed() -> None:
    store = Store()
    a = store.create(PODS, pod("a"))
    b = store.create(PODS, pod("b"))
    then = store.version
    store.delete(PODS, a)
    store.replace(PODS, pod("b", x="1"), b)
    store.create(PODS, pod("c"))
    assert names(store.at(PODS, then)) == ["a", "b"]
    assert store.at(PODS, then)[1].object["metadata"]["labels"] == {}
    assert names(store.at(PODS, store.version)) == ["b", "c"]


def test_after_compaction_the_past_is_too_old_and_the_present_is_not() -> None:
    store = Store()
    store.create(PODS, pod("a"))
    before = store.version
    store.create(PODS, pod("b"))
    store.compact()
    with pytest.raises(TooOldError):
        store.since(PODS, before)
    assert store.since(PODS, store.version) == []


def test_history_is_bounded() -> None:
    store = Store(history=2)
    first = store.create(PODS, pod("a")).version
    for name in "bcd":
        store.create(PODS, pod(name))
    with pytest.raises(TooOldError):
        store.since(PODS, first)
    assert len(store.since(PODS, store.oldest(PODS))) == 2


async def test_a_watch_of_a_kind_that_goes_is_ended() -> None:
    store, feed = Store(), Feed()
    store.feeds[PODS] = {feed}
    store.create(PODS, pod("a"))
    store.forget(PODS)
    assert [event.type for event in feed.waiting] == ["ADDED"]
    assert feed.ended
    assert feed.woken.is_set()
