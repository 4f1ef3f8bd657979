"""Replicas share one CA through a Secret, and what people do to that Secret never takes it from them."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from ca.authority import Authority
from ca.issuer_secret import IssuerSecret
from ca.issuers import make_intermediate, make_root
from ca.keeping import INTERMEDIATE, ROOT
from ca.settling import Lifetimes
from ca.storage import StorageError
from fake_clock import FakeClock
from kube.client import Client
from mesh.model import Identity
from openssl import refusal
from sds import open_secrets

DOMAIN = "cluster.local"
LIFETIMES = Lifetimes()
Make = Callable[..., IssuerSecret]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(client: Client, namespace: str) -> Make:
    def make(*, writes: bool = True) -> IssuerSecret:
        return IssuerSecret(client, namespace, DOMAIN, LIFETIMES, lambda: writes)

    return make


async def secret(client: Client, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/weft-ca")
    return found


async def put(client: Client, namespace: str, **data: bytes | None) -> None:
    encoded = {key.replace("_", "."): b64encode(pem).decode() if pem is not None else None for key, pem in data.items()}
    await client.request(
        "PATCH", f"/api/v1/namespaces/{namespace}/secrets/weft-ca", body={"data": encoded},
        content_type="application/merge-patch+json",
    )  # fmt: skip


async def test_of_replicas_that_begin_at_once_all_have_the_same_root(
    client: Client, namespace: str, store: Make, clock: FakeClock
) -> None:
    opened = await asyncio.gather(*(store().opened(clock) for _ in range(8)))
    assert len({each.root.certificate_pem for each in opened}) == 1
    assert len({each.intermediate.certificate_pem for each in opened}) == 1
    kept = (await secret(client, namespace))["data"]
    assert b64decode(kept[ROOT]) == opened[0].root.to_pem()


async def test_leaves_of_all_replicas_are_good_for_each_other(store: Make, clock: FakeClock, tmp_path: Path) -> None:
    authorities = []
    for _ in range(2):
        kept = store()
        authorities.append(Authority(kept, await kept.opened(clock), DOMAIN, LIFETIMES, clock, lambda: 0.5))
    first, second = authorities
    opened = open_secrets(await first.secrets(Identity(DOMAIN, "shop", "web")))
    assert refusal(tmp_path, second.bundle_pem(), opened.chain, at=clock.now()) == ""
    assert first.bundle_pem() == second.bundle_pem()


async def test_an_intermediate_that_is_due_is_replaced_by_the_holder_and_found_by_the_others(
    store: Make, clock: FakeClock
) -> None:
    holder, follower = store(), store(writes=False)
    before = await holder.opened(clock)
    clock.skip(timedelta(days=250))
    assert await follower.refreshed(before, clock) is before
    after = await holder.refreshed(before, clock)
    assert after.root.certificate_pem == before.root.certificate_pem
    assert after.intermediate.certificate_pem != before.intermediate.certificate_pem
    found = await follower.refreshed(before, clock)
    assert found.intermediate.to_pem() == after.intermediate.to_pem()


async def test_two_that_replace_at_once_agree(store: Make, clock: FakeClock) -> None:
    one, other = store(), store()
    before = await one.opened(clock)
    clock.skip(timedelta(days=250))
    await asyncio.gather(one.refreshed(before, clock), other.refreshed(before, clock))
    last = [await each.refreshed(before, clock) for each in (one, other)]
    assert last[0].intermediate.to_pem() == last[1].intermediate.to_pem() != before.intermediate.to_pem()


@pytest.mark.parametrize(
    "pem",
    [b"nonsense", b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None],
)
async def test_what_a_person_broke_is_told_and_the_last_good_issuers_stay(
    client: Client, namespace: str, store: Make, clock: FakeClock, pem: bytes | None
) -> None:
    kept = store()
    issuers = await kept.opened(clock)
    await put(client, namespace, root_pem=pem)
    with pytest.raises(StorageError, match=f"Secret {namespace}/weft-ca"):
        await kept.refreshed(issuers, clock)
    await put(client, namespace, root_pem=issuers.root.to_pem())
    assert await kept.refreshed(issuers, clock) is issuers


async def test_a_running_replica_does_not_change_over_to_another_root(
    client: Client, namespace: str, store: Make, clock: FakeClock
) -> None:
    kept = store()
    issuers = await kept.opened(clock)
    root = make_root(DOMAIN, clock.now(), LIFETIMES.root)
    intermediate = make_intermediate(root, DOMAIN, clock.now(), LIFETIMES.intermediate)
    await put(client, namespace, root_pem=root.to_pem(), intermediate_pem=intermediate.to_pem())
    with pytest.raises(StorageError, match="no longer holds the root that running proxies trust"):
        await kept.refreshed(issuers, clock)


async def test_the_authority_says_what_is_wrong_once_and_goes_on(
    client: Client, namespace: str, store: Make, clock: FakeClock
) -> None:
    kept = store()
    authority = Authority(kept, await kept.opened(clock), DOMAIN, LIFETIMES, clock, lambda: 0.5)
    await put(client, namespace, intermediate_pem=b"nonsense")
    running = asyncio.create_task(authority.run(lambda _identity, _named: None))
    try:
        await clock.asleep()
        await clock.advance(timedelta(seconds=30))
        assert INTERMEDIATE in authority.trouble
        assert "PRIVATE KEY" not in authority.trouble
        assert open_secrets(await authority.secrets(Identity(DOMAIN, "shop", "web"))).chain
    finally:
        running.cancel()


async def test_a_secret_that_somebody_deleted_is_written_again_by_the_holder_with_the_same_root(
    client: Client, namespace: str, store: Make, clock: FakeClock
) -> None:
    holder, follower = store(), store(writes=False)
    issuers = await holder.opened(clock)
    await client.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/weft-ca")
    assert await follower.refreshed(issuers, clock) is issuers
    assert await holder.refreshed(issuers, clock) is issuers
    assert b64decode((await secret(client, namespace))["data"][ROOT]) == issuers.root.to_pem()


async def test_while_the_api_server_is_away_the_issuers_stay(
    store: Make, clock: FakeClock, api_server: ApiServer
) -> None:
    kept = store()
    issuers = await kept.opened(clock)
    await asyncio.to_thread(api_server.go_away)
    try:
        with pytest.raises(StorageError, match="can't be used"):
            await kept.refreshed(issuers, clock)
    finally:
        await asyncio.to_thread(api_server.come_back)
    assert await kept.refreshed(issuers, clock) is issuers
