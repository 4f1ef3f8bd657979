"""The authority gives out secrets, keeps them fresh while time passes or jumps, and finds its issuers again."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from ca.authority import Authority
from ca.issuer_folder import Lifetimes
from ca.storage import StorageError
from fake_clock import START, FakeClock
from mesh.model import Identity
from openssl import refusal, split
from sds import open_secrets
from xds.resource import SECRET
from xds.snapshot import Named

DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")
DB = Identity(DOMAIN, "shop", "db")
HOUR = timedelta(hours=1)
SHORT = Lifetimes(leaf=HOUR)
"""A look every 30 s, as with leaves of a day."""

Published = list[tuple[Identity, Named]]


def opened(folder: Path, clock: FakeClock, lifetimes: Lifetimes = SHORT, chance: float = 0.5) -> Authority:
    return Authority.open(folder, DOMAIN, lifetimes=lifetimes, clock=clock, chance=lambda: chance)


@contextlib.asynccontextmanager
async def running(authority: Authority, clock: FakeClock) -> AsyncIterator[Published]:
    """The renewal loop at work, and what it published so far."""
    published: Published = []
    task = asyncio.create_task(authority.run(lambda identity, named: published.append((identity, named))))
    await clock.asleep()
    yield published
    assert not task.done(), "the loop ended by itself"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def certificate(named: Named) -> x509.Certificate:
    return x509.load_pem_x509_certificate(open_secrets(named).chain)


async def test_an_identity_gets_its_leaf_and_the_bundle_by_their_constant_names(
    tmp_path: Path, folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    named = await authority.secrets(WEB)
    opened_secrets = open_secrets(named)
    assert {name: (entry.name, entry.type_url) for name, entry in named.items()} == {
        "leaf": ("leaf", SECRET),
        "bundle": ("bundle", SECRET),
    }
    assert opened_secrets.bundle == authority.bundle_pem()
    assert opened_secrets.key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert refusal(tmp_path, opened_secrets.bundle, opened_secrets.chain, at=clock.now()) == ""


async def test_the_bundle_holds_the_root_alone(folder: Path, clock: FakeClock) -> None:
    [root] = split(opened(folder, clock).bundle_pem())
    names = x509.load_pem_x509_certificate(root)
    assert names.subject == names.issuer


async def test_an_identity_keeps_its_leaf_and_identities_share_only_the_bundle(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    web, again, db = await authority.secrets(WEB), await authority.secrets(WEB), await authority.secrets(DB)
    assert again is web
    assert db["bundle"] is web["bundle"]
    assert db["leaf"].version != web["leaf"].version


async def test_many_who_ask_at_once_get_one_leaf_per_identity_and_the_loop_stays_free(
    folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    asking = [asyncio.create_task(authority.secrets(Identity(DOMAIN, "n", f"s{i % 50}"))) for i in range(200)]
    turns = 0
    while not all(task.done() for task in asking):
        await asyncio.sleep(0)
        turns += 1
    assert len({task.result()["leaf"].version for task in asking}) == 50
    # Others had their turn between any two leaves.
    assert turns >= 50


async def test_an_identity_of_another_trust_domain_gets_nothing(folder: Path, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match=r"is not of trust domain cluster\.local"):
        await opened(folder, clock).secrets(Identity("evil.example", "shop", "web"))


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.6), (0.5, 2 / 3), (0.999, 0.7332)])
async def test_a_leaf_is_renewed_at_two_thirds_of_its_life_within_the_jitter(
    folder: Path, clock: FakeClock, chance: float, part: float
) -> None:
    authority = opened(folder, clock, chance=chance)
    first = await authority.secrets(WEB)
    async with running(authority, clock) as published:
        await clock.advance(HOUR * part - timedelta(seconds=31))
        assert published == []
        await clock.advance(timedelta(seconds=62))
    [(identity, second)] = published
    assert identity == WEB
    assert second["leaf"].version != first["leaf"].version
    assert second["bundle"] is first["bundle"]
    assert await authority.secrets(WEB) is second


async def test_over_many_lives_nobody_is_ever_without_a_valid_leaf(
    tmp_path: Path, folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock, Lifetimes(intermediate=timedelta(hours=4), leaf=HOUR))
    current = {identity: await authority.secrets(identity) for identity in (WEB, DB)}
    issuers = set()
    async with running(authority, clock) as published:
        for _ in range(40):
            await clock.advance(timedelta(minutes=15))
            current |= dict(published)
            for named in current.values():
                leaf = certificate(named)
                issuers.add(leaf.issuer)
                assert leaf.not_valid_before_utc < clock.now() < leaf.not_valid_after_utc - HOUR / 5
                assert refusal(tmp_path, authority.bundle_pem(), open_secrets(named).chain, at=clock.now()) == ""
    assert len(issuers) > 2, "the intermediate was replaced meanwhile"


async def test_a_leaf_of_the_old_intermediate_stays_good_until_it_ends(
    tmp_path: Path, folder: Path, clock: FakeClock
) -> None:
    lifetimes = Lifetimes(intermediate=timedelta(hours=6), leaf=timedelta(hours=3))
    authority = opened(folder, clock, lifetimes)
    old = await authority.secrets(WEB)
    async with running(authority, clock):
        await clock.advance(timedelta(hours=6))
        new = await authority.secrets(WEB)
    assert certificate(new).issuer != certificate(old).issuer
    end = certificate(old).not_valid_after_utc
    assert refusal(tmp_path, authority.bundle_pem(), open_secrets(old).chain, at=end - timedelta(seconds=1)) == ""


async def test_a_clock_that_jumps_ahead_renews_at_the_next_look(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    await authority.secrets(WEB)
    async with running(authority, clock) as published:
        clock.set(START + 5 * HOUR)
        await clock.advance(timedelta(seconds=30))
        assert certificate(published[0][1]).not_valid_after_utc > clock.now()


async def test_a_clock_that_is_set_back_renews_leaves_from_the_future(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    await authority.secrets(WEB)
    async with running(authority, clock) as published:
        clock.set(START - HOUR)
        await clock.advance(timedelta(seconds=30))
        [(_, named)] = published
        assert certificate(named).not_valid_before_utc < clock.now() < certificate(named).not_valid_after_utc
        clock.set(START)
        await clock.advance(timedelta(minutes=1))
    # Back again: this leaf has outlived its time, not by much, and is replaced once.
    assert len(published) == 2


async def test_a_clock_set_back_by_less_than_the_backdating_changes_nothing(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    await authority.secrets(WEB)
    async with running(authority, clock) as published:
        clock.set(START - timedelta(minutes=4))
        await clock.advance(timedelta(seconds=60))
    assert published == []


async def test_who_is_forgotten_is_not_renewed_and_gets_a_new_leaf_when_asking_again(
    folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    web = await authority.secrets(WEB)
    await authority.secrets(DB)
    authority.forget([WEB, Identity(DOMAIN, "never", "seen")])
    async with running(authority, clock) as published:
        await clock.advance(HOUR)
    assert [identity for identity, _ in published] == [DB]
    assert (await authority.secrets(WEB))["leaf"].version != web["leaf"].version


async def test_an_opened_authority_is_the_one_that_was_made(folder: Path, clock: FakeClock) -> None:
    first, second = opened(folder, clock), opened(folder, clock)
    one, two = certificate(await first.secrets(WEB)), certificate(await second.secrets(WEB))
    assert first.bundle_pem() == second.bundle_pem()
    assert one.issuer == two.issuer


def test_the_folder_holds_nothing_but_the_issuers_and_the_lock(folder: Path, clock: FakeClock) -> None:
    opened(folder, clock)
    assert sorted(path.name for path in folder.iterdir()) == ["intermediate.pem", "lock", "root.pem"]


def test_killed_between_root_and_intermediate_it_goes_on_with_the_root(folder: Path, clock: FakeClock) -> None:
    bundle = opened(folder, clock).bundle_pem()
    (folder / "intermediate.pem").unlink()
    assert opened(folder, clock).bundle_pem() == bundle
    assert (folder / "intermediate.pem").exists()


@pytest.mark.parametrize("name", ["root.pem", "intermediate.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_files_edited_into_nonsense_are_refused_and_left_alone(
    folder: Path, clock: FakeClock, name: str, content: bytes
) -> None:
    opened(folder, clock)
    (folder / name).write_bytes(content)
    with pytest.raises(StorageError, match=f"{name} does not hold a signing certificate and its key: restore it"):
        opened(folder, clock)
    assert (folder / name).read_bytes() == content


def test_a_root_that_is_gone_is_never_replaced_in_silence(folder: Path, clock: FakeClock) -> None:
    opened(folder, clock)
    (folder / "root.pem").unlink()
    with pytest.raises(StorageError, match=r"root\.pem is gone but intermediate\.pem is there: restore it"):
        opened(folder, clock)


def test_the_folder_of_another_trust_domain_is_refused(folder: Path, clock: FakeClock) -> None:
    opened(folder, clock)
    with pytest.raises(StorageError, match=r"was made for spiffe://cluster\.local, not for spiffe://other"):
        Authority.open(folder, "other", clock=clock)


@pytest.mark.parametrize("name", ["", "root.pem", "intermediate.pem"])
def test_keys_that_others_can_read_are_refused(folder: Path, clock: FakeClock, name: str) -> None:
    opened(folder, clock)
    (folder / name).chmod(0o755)
    with pytest.raises(StorageError, match="is open to other users"):
        opened(folder, clock)


def test_an_expired_root_is_refused_in_words(folder: Path, clock: FakeClock) -> None:
    opened(folder, clock)
    clock.set(START + timedelta(days=3651))
    with pytest.raises(StorageError, match="the root is valid from 2025-12-31 00:00:00 to 2035-12-30"):
        opened(folder, clock)


def test_lifetimes_that_are_over_at_once_are_refused_and_not_tried_for_ever(folder: Path, clock: FakeClock) -> None:
    with pytest.raises(StorageError, match="two thirds of the intermediate's life are over"):
        opened(folder, clock, Lifetimes(intermediate=timedelta(0)))


async def test_a_full_disk_stops_no_leaf_and_is_said_once(
    folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = opened(folder, clock, Lifetimes(intermediate=timedelta(hours=6), leaf=HOUR))
    await authority.secrets(WEB)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with capture_logs() as logs, monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        async with running(authority, clock) as published:
            await clock.advance(timedelta(hours=4.5))
            assert len(published) == 6
            disk.undo()
            await clock.advance(HOUR)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("error", "certificates can't be renewed, those in force stay"),
        ("info", "make intermediate"),
    ]
    assert "No space left on device" in logs[0]["reason"]
    assert certificate(published[-1][1]).not_valid_after_utc > clock.now()


async def test_two_who_rotate_at_once_agree_on_one_intermediate(folder: Path, clock: FakeClock) -> None:
    lifetimes = Lifetimes(intermediate=timedelta(hours=6), leaf=HOUR)
    first, second = opened(folder, clock, lifetimes), opened(folder, clock, lifetimes)
    with capture_logs() as logs:
        async with running(first, clock):
            task = asyncio.create_task(second.run(lambda *_: None))
            await clock.asleep(2)
            await clock.advance(timedelta(hours=5))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert [entry["event"] for entry in logs].count("make intermediate") == 1
    assert certificate(await first.secrets(WEB)).issuer == certificate(await second.secrets(WEB)).issuer


def test_a_servers_certificate_stays_until_it_is_due(tmp_path: Path, folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    ask = ["weft.weft-system.svc"], ["127.0.0.1", "fd00::1"]
    first = authority.server_certificate(*ask)
    assert authority.server_certificate(*ask) is first
    assert authority.server_certificate(["other"], []) is not first
    assert refusal(tmp_path, authority.bundle_pem(), first.chain_pem, "-verify_ip", "fd00::1", at=clock.now()) == ""
    clock.set(first.renew_at)
    second = authority.server_certificate(*ask)
    assert second.validity.not_after > first.validity.not_after
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        authority.server_certificate([], ["localhost"])
