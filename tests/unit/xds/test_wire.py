"""What is remembered of requests."""

from __future__ import annotations

import tracemalloc

from xds.pb import DeltaDiscoveryRequest
from xds.resource import CLUSTER
from xds.wire import REMEMBERED_INITIAL_BYTES, RequestReader


def bringing(prefix: str, count: int) -> bytes:
    versions = {f"{prefix}-{number}": "1" for number in range(count)}
    return DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions=versions).SerializeToString()


def test_clients_that_bring_the_same_share_it() -> None:
    reader = RequestReader()
    first, second = (DeltaDiscoveryRequest.FromString(bringing("a", 3)) for _ in range(2))
    second.node.id = "shop/catalog-1"
    assert reader.delta(first.SerializeToString()).initial is reader.delta(second.SerializeToString()).initial


def test_a_client_that_brings_ever_new_names_does_not_fill_our_memory() -> None:
    reader = RequestReader()
    tracemalloc.start()
    try:
        for number in range(60):
            data = bringing(f"{number}-{'x' * 60}", 8000)
            assert len(reader.delta(data).initial.named) == 8000
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 60 * len(data) > 4 * REMEMBERED_INITIAL_BYTES
    assert kept < 10 * REMEMBERED_INITIAL_BYTES
