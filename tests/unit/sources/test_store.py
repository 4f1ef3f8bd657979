"""The store: no wake-up without a change, none lost, many become one."""

from __future__ import annotations

import asyncio

import pytest

from kube.objects import Meta, Namespace
from smi.resources import Resources
from sources.store import Store


def world(*names: str) -> Resources:
    objects = [Namespace(metadata=Meta(name=name), kind="Namespace", api_version="v1") for name in names]
    return Resources({item.ref: item for item in objects})


async def test_a_consumer_gets_what_was_put_before_it_came() -> None:
    store = Store()
    assert store.replace(world("a"))
    assert await store.settled() == world("a")


async def test_equal_resources_wake_nobody() -> None:
    store = Store()
    store.replace(world("a"))
    await store.settled()
    assert not store.replace(world("a"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.settled(), 0.02)


async def test_an_idle_consumer_is_woken_at_once() -> None:
    store = Store()
    waiting = asyncio.create_task(store.settled())
    await asyncio.sleep(0)
    store.replace(world("a"))
    assert await asyncio.wait_for(waiting, 1) == world("a")


async def test_what_happens_while_a_consumer_works_becomes_one_change() -> None:
    store = Store()
    for name in "abc":
        store.replace(world(name))
    assert await store.settled() == world("c")
    assert store.current == world("c")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.settled(), 0.02)


async def test_a_cancelled_wait_loses_nothing() -> None:
    store = Store()
    waiting = asyncio.create_task(store.settled())
    await asyncio.sleep(0)
    waiting.cancel()
    store.replace(world("a"))
    assert await asyncio.wait_for(store.settled(), 1) == world("a")
