"""What is remembered of requests."""

from __future__ import annotations

import tracemalloc

import pytest

from xds.pb import DeltaDiscoveryRequest
from xds.requests import REMEMBERED_BYTES, RequestReader
from xds.resource import CLUSTER


def bringing(prefix: str, count: int) -> bytes:
    versions = {f"{prefix}-{number}": "1" for number in range(count)}
    return DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions=versions).SerializeToString()


def subscribing(prefix: str, count: int) -> bytes:
    names = [f"{prefix}-{number}" for number in range(count)]
    return DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names).SerializeToString()


def test_clients_that_bring_the_same_share_it() -> None:
    reader = RequestReader()
    first, second = (DeltaDiscoveryRequest.FromString(bringing("a", 3)) for _ in range(2))
    second.node.id = "shop/catalog-1"
    assert reader.delta(first.SerializeToString()).initial is reader.delta(second.SerializeToString()).initial


@pytest.mark.parametrize("what", ["brought", "subscribed"])
def test_a_client_that_says_ever_new_names_does_not_fill_our_memory(what: str) -> None:
    reader = RequestReader()
    said = 0
    tracemalloc.start()
    try:
        for number in range(30):
            prefix = f"{number}-{'x' * 60}"
            data = bringing(prefix, 8000) if what == "brought" else subscribing(prefix, 10000)
            reader.delta(data)
            said += len(data)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said > 2 * REMEMBERED_BYTES
    assert kept < 10 * REMEMBERED_BYTES
