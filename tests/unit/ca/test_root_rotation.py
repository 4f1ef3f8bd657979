"""A root is replaced in a folder: step by step, with clocks that jump, a full disk, kills, and people who interfere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ca.authority import Authority
from ca.issuance import Issuance
from ca.issuer_folder import Lifetimes, read_bundle
from ca.issuers import cross_sign, make_intermediate, make_root
from ca.reports import Seen
from ca.rotation import Wish
from ca.settling import LONGEST_LEAF, Issuers, Rotation
from ca.storage import StorageError
from fake_clock import START, FakeClock
from mesh.model import Identity
from openssl import refusal, split
from sds import open_secrets

DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")
HOUR = timedelta(hours=1)
SHORT = Lifetimes(leaf=HOUR)


class Watched:
    """What the control plane knows of its proxies, as a test says."""

    def __init__(self) -> None:
        self.lacking: frozenset[str] = frozenset()
        self.away: frozenset[str] = frozenset()

    def __call__(self, bundle: bytes) -> Seen:
        assert bundle.startswith(b"-----BEGIN CERTIFICATE")
        return Seen(self.away, frozenset(), self.lacking)


@contextlib.asynccontextmanager
async def running(authority: Authority, clock: FakeClock, watched: Watched) -> AsyncIterator[list[bytes]]:
    """The loop at work; the bundles it gave out so far."""
    bundles: list[bytes] = []
    task = asyncio.create_task(authority.run(lambda _, named: bundles.append(open_secrets(named).bundle), watched))
    await clock.asleep()
    yield bundles
    assert not task.done(), "the loop ended by itself"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def later(clock: FakeClock, span: timedelta) -> None:
    """After this time, and a few looks."""
    clock.set(clock.now() + span)
    await clock.advance(timedelta(seconds=62))


def opened(folder: Path, clock: FakeClock, lifetimes: Lifetimes = SHORT) -> Authority:
    return Authority.open(folder, DOMAIN, lifetimes=lifetimes, clock=clock, chance=lambda: 0.5)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def root_of(authority: Authority) -> bytes:
    return authority.issuers.root.certificate_pem


async def test_a_root_is_replaced_when_everybody_has_both_and_goes_when_its_leaves_are_gone(
    tmp_path: Path, folder: Path, clock: FakeClock
) -> None:
    authority, watched = opened(folder, clock), Watched()
    old_root, old = root_of(authority), open_secrets(await authority.secrets(WEB))
    watched.lacking = frozenset({"shop/web-1"})
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, watched) as bundles:
        await later(clock, timedelta(minutes=5))
        assert root_of(authority) == old_root, "nothing is signed with the new one yet"
        assert len(split(authority.bundle_pem())) == 2
        assert bundles == [authority.bundle_pem()], "whoever has a leaf was given the new bundle"
        assert read_bundle(folder, DOMAIN) == authority.bundle_pem()
        watched.lacking = frozenset()
        await clock.advance(timedelta(seconds=10))
        assert root_of(authority) != old_root
        new = open_secrets(await authority.secrets(Identity(DOMAIN, "shop", "db")))
        for chain in (old.chain, new.chain):
            assert refusal(tmp_path, authority.bundle_pem(), chain, at=clock.now()) == ""
        await later(clock, HOUR)
        assert len(split(authority.bundle_pem())) == 2, "an old leaf may still live by a clock that is behind"
        await later(clock, timedelta(minutes=6))
        assert authority.bundle_pem() == root_of(authority)
        assert open_secrets(await authority.secrets(WEB)).bundle == root_of(authority)
    assert refusal(tmp_path, root_of(authority), open_secrets(await authority.secrets(WEB)).chain, at=clock.now()) == ""
    assert opened(folder, clock).bundle_pem() == authority.bundle_pem()


async def test_a_root_is_replaced_by_itself_well_before_it_ends(folder: Path, clock: FakeClock) -> None:
    authority, watched = opened(folder, clock, Lifetimes(root=timedelta(days=10), leaf=HOUR)), Watched()
    first = root_of(authority)
    async with running(authority, clock, watched):
        clock.set(START + timedelta(days=4))
        await later(clock, timedelta(minutes=1))
        assert root_of(authority) == first
        clock.set(START + timedelta(days=5))
        await later(clock, timedelta(minutes=1))
        assert root_of(authority) != first


async def test_a_rollback_before_anything_was_signed_leaves_no_trace(folder: Path, clock: FakeClock) -> None:
    authority, watched = opened(folder, clock), Watched()
    before = names(folder)
    watched.lacking = frozenset({"shop/web-1"})
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, watched):
        await later(clock, timedelta(minutes=1))
        with pytest.raises(StorageError, match="a rotation of the root is under way"):
            await authority.ask(Wish.ROOT)
        await authority.ask(Wish.BACK)
        await later(clock, timedelta(minutes=1))
    assert len(split(authority.bundle_pem())) == 1
    assert names(folder) == before
    with pytest.raises(StorageError, match="there is no rotation of the root that could be rolled back"):
        await authority.ask(Wish.BACK)


async def test_a_rollback_after_the_change_signs_with_the_old_root_again(folder: Path, clock: FakeClock) -> None:
    authority, watched = opened(folder, clock), Watched()
    first = root_of(authority)
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, watched):
        await later(clock, timedelta(minutes=10))
        assert root_of(authority) != first
        both = authority.bundle_pem()
        await authority.ask(Wish.BACK)
        await later(clock, timedelta(minutes=1))
        assert (root_of(authority), authority.bundle_pem()) == (first, both)
        await later(clock, 2 * HOUR)
    assert authority.bundle_pem() == first


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_a_clock_that_jumps_by_an_hour_during_a_rotation_leaves_everybody_with_a_leaf_that_all_accept(
    tmp_path: Path, folder: Path, clock: FakeClock, jump: timedelta
) -> None:
    authority, watched = opened(folder, clock), Watched()
    await authority.secrets(WEB)
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, watched):
        await later(clock, timedelta(minutes=10))
        clock.set(clock.now() + jump)
        for _ in range(30):
            await later(clock, timedelta(minutes=6))
            chain = open_secrets(await authority.secrets(WEB)).chain
            assert refusal(tmp_path, authority.bundle_pem(), chain, at=clock.now()) == ""
        assert len(split(authority.bundle_pem())) == 1


async def test_a_full_disk_holds_a_rotation_up_and_nothing_else(
    folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, watched = opened(folder, clock), Watched()
    await authority.secrets(WEB)
    first = root_of(authority)
    await authority.ask(Wish.ROOT)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with running(authority, clock, watched) as bundles:
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            await later(clock, HOUR)
            assert "No space left on device" in authority.trouble
            assert authority.bundle_pem() == first, "what could not be written is not used"
            assert bundles == [first], "the leaf was renewed nevertheless"
        await later(clock, timedelta(minutes=10))
        assert authority.trouble == ""
        assert root_of(authority) != first


@pytest.mark.parametrize("name", ["next-root.pem", "next-crossed.pem", "rotation.json"])
async def test_what_a_person_breaks_during_a_rotation_is_named_and_the_last_good_issuers_stay(
    folder: Path, clock: FakeClock, name: str
) -> None:
    authority, watched = opened(folder, clock), Watched()
    watched.lacking = frozenset({"shop/web-1"})
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, watched):
        await later(clock, timedelta(minutes=1))
        good, bundle = (folder / name).read_bytes(), authority.bundle_pem()
        (folder / name).write_bytes(b"nonsense")
        await later(clock, timedelta(minutes=1))
        assert f"{name} does not" in authority.trouble
        assert authority.bundle_pem() == bundle
        (folder / name).write_bytes(good)
        await later(clock, timedelta(minutes=1))
        assert authority.trouble == ""


async def test_a_root_that_is_removed_while_it_is_in_use_stays_trusted_and_is_missed(
    folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    await authority.ask(Wish.ROOT)
    async with running(authority, clock, Watched()):
        await later(clock, timedelta(minutes=1))
        both = authority.bundle_pem()
        good = (folder / "previous-root.pem").read_bytes()
        (folder / "previous-root.pem").unlink()
        await later(clock, timedelta(minutes=1))
        assert "neither next-root.pem nor previous-root.pem is there: restore it" in authority.trouble
        assert authority.bundle_pem() == both
        (folder / "previous-root.pem").write_bytes(good)
        (folder / "previous-root.pem").chmod(0o600)
        await later(clock, timedelta(minutes=1))
        assert authority.trouble == ""


async def test_a_failure_of_ours_in_a_rotation_leaves_leaves_to_be_renewed(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    await authority.secrets(WEB)

    def fail(bundle: bytes) -> Seen:
        return Seen(acknowledged=None)  # type: ignore[arg-type]  # a bug of ours

    await authority.ask(Wish.ROOT)
    published: list[object] = []
    for _ in range(3):
        await authority.look(lambda *each: published.append(each), fail)
    assert authority.trouble == "TypeError while the issuers were looked at"
    clock.set(clock.now() + HOUR)
    before = len(published)
    await authority.look(lambda *each: published.append(each), fail)
    assert len(published) == before + 1


async def test_a_folder_that_is_emptied_is_filled_again_with_the_same_root(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    async with running(authority, clock, Watched()):
        for name in ("root.pem", "intermediate.pem"):
            (folder / name).unlink()
        await later(clock, timedelta(minutes=1))
    assert opened(folder, clock).bundle_pem() == authority.bundle_pem()


def test_a_server_is_verified_by_whoever_knows_any_root_before(tmp_path: Path, clock: FakeClock) -> None:
    first, second, third = (make_root(DOMAIN, clock.now(), timedelta(days=10)) for _ in range(3))
    crossed = (cross_sign(third, second, DOMAIN, clock.now()), cross_sign(second, first, DOMAIN, clock.now()))
    issuers = Issuers(third, make_intermediate(third, DOMAIN, clock.now(), HOUR), Rotation(crossed=crossed))
    folder = tmp_path / "store"
    folder.mkdir()
    chain = served(issuers, clock)
    for root in (first, second, third):
        assert refusal(folder, root.certificate_pem, chain, at=clock.now()) == ""
    stranger = make_root(DOMAIN, clock.now(), timedelta(days=10))
    assert refusal(folder, stranger.certificate_pem, chain, at=clock.now()) != ""
    assert issuers.descends_from((first.certificate,))
    assert not issuers.descends_from((stranger.certificate,))
    assert issuers.crossed_pem(clock.now() + timedelta(days=11)) == b"", "what has ended is not sent"


def served(issuers: Issuers, clock: FakeClock) -> bytes:
    """What a server shows."""
    leaf = Issuance(issuers.intermediate, DOMAIN, HOUR, lambda: 0.5).server(("weft.test",), (), clock.now())
    return leaf.chain_pem + issuers.crossed_pem(clock.now())


def test_no_setting_makes_a_leaf_live_longer_than_a_week(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock, Lifetimes(leaf=timedelta(days=365)))
    leaf = authority.server_certificate(["localhost"], [])
    assert leaf.validity.not_after == START + LONGEST_LEAF
    certificate = x509.load_pem_x509_certificate(leaf.chain_pem)
    assert certificate.not_valid_after_utc == START + timedelta(days=7)


def test_a_process_killed_at_any_touch_of_the_disk_during_a_rotation_goes_on_with_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    kills, left_behind = json.loads(done.stdout.splitlines()[-1])
    assert kills > 60, "it was killed at many places"
    assert left_behind == ["crossed.pem", "intermediate.pem", "lock", "root.pem"]


KILL = """
import asyncio, json, os, signal, sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
import structlog
from ca.authority import Authority
from ca.issuer_folder import Lifetimes
from ca.rotation import Wish
from ca.settling import Issuers

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

class Clock:
    def __init__(self): self.at = datetime(2026, 1, 1, tzinfo=UTC)
    def now(self): return self.at
    def passed(self): return 0.0

def opened(folder, clock):
    return Authority.open(folder, "cluster.local", lifetimes=Lifetimes(leaf=timedelta(hours=1)), clock=clock)

async def rotate(authority, clock, wish):
    if wish:
        await authority.ask(Wish.ROOT)
    for _ in range(8):
        await authority.look(lambda *_: None)
        clock.at += timedelta(minutes=20)

def rotate_and_die(folder, calls):
    clock = Clock()
    authority = opened(folder, clock)
    def deadly(real):
        def call(*arguments, **options):
            nonlocal calls
            calls -= 1
            if calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        return call
    for name in ("open", "fsync", "replace", "unlink", "close"):
        setattr(os, name, deadly(getattr(os, name)))
    asyncio.run(rotate(authority, clock, True))
    os._exit(0)

names = set()
for kills in range(0, 1000, 3):
    folder = Path(sys.argv[1]) / str(kills)
    before = opened(folder, Clock()).issuers.roots
    child = os.fork()
    if child == 0:
        rotate_and_die(folder, kills + 1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    clock = Clock()
    authority = opened(folder, clock)
    issuers = authority.issuers
    assert issuers.descends_from(before), "the roots of before lead to the root of now"
    rotating = len(issuers.roots) == 2
    begun = rotating or issuers.roots != before or issuers.rotation.wish
    asyncio.run(rotate(authority, clock, not begun))
    assert len(authority.issuers.roots) == 1 and authority.issuers.roots != before, kills
    names |= {path.name for path in folder.iterdir()}
    if status == 0:
        break
print(json.dumps([kills, sorted(names)]))
"""
