"""The trust domain changes step by step: what each step waits for, and what stays when somebody interferes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ca.authority import Authority
from ca.domains import Domains, begun, decide_domain
from ca.keeping import DOMAINS, PREVIOUS_ROOT, ROTATION
from ca.reports import Seen
from ca.rotation import NOBODY, Action, Onlookers, Wish
from ca.settling import Lifetimes
from ca.storage import StorageError
from ca.tokens import TokenAuthenticator, TokenIssuer
from fake_clock import START, FakeClock
from mesh.model import Identity
from openssl import refusal
from sds import open_secrets
from xds.peer import Refused

OLD, NEW = "cluster.local", "shop.example"
WEB = Identity(OLD, "shop", "web")
HOUR = timedelta(hours=1)
AWAY, LACKING, BEHIND = Onlookers(away=("n/a",)), Onlookers(lacking=("n/b",)), Onlookers(behind=("r",))
DISTRIBUTING = Domains(OLD, next=NEW, since=START, leaf=HOUR)
SIGNING = Domains(NEW, previous=OLD, leaf=HOUR)
DRAINING = Domains(NEW, previous=OLD, since=START, leaf=HOUR)
RENEWING = Domains(NEW, previous=OLD, since=START, leaf=HOUR, renewing=True)
GONE = timedelta(minutes=66)


@pytest.mark.parametrize(
    ("domains", "seen", "passed", "action"),
    [
        (DISTRIBUTING, BEHIND, 2 * GONE, Action.WAIT),
        (DISTRIBUTING, LACKING, 2 * GONE, Action.WAIT),
        (DISTRIBUTING, AWAY, HOUR, Action.WAIT),
        (DISTRIBUTING, AWAY, GONE, Action.SIGN_NEXT_DOMAIN),
        (DISTRIBUTING, NOBODY, timedelta(0), Action.SIGN_NEXT_DOMAIN),
        (SIGNING, BEHIND, 2 * GONE, Action.WAIT),
        (SIGNING, LACKING, timedelta(0), Action.START_DOMAIN_DRAIN),
        (DRAINING, NOBODY, HOUR, Action.WAIT),
        (DRAINING, LACKING, GONE, Action.RENEW_CONNECTIONS),
        (RENEWING, BEHIND, GONE, Action.WAIT),
        (RENEWING, LACKING, GONE, Action.WAIT),
        (RENEWING, AWAY, GONE, Action.RETIRE_DOMAIN),
    ],
)
def test_each_step_waits_for_those_whom_it_would_harm(
    domains: Domains, seen: Onlookers, passed: timedelta, action: Action
) -> None:
    assert decide_domain(domains, HOUR, seen, START + passed, back=False).action is action


@pytest.mark.parametrize(
    ("domains", "action"),
    [
        (DISTRIBUTING, Action.ABANDON_DOMAIN),
        (SIGNING, Action.SIGN_PREVIOUS_DOMAIN),
        (DRAINING, Action.SIGN_PREVIOUS_DOMAIN),
        (RENEWING, Action.DROP_WISH),
    ],
)
def test_a_change_is_taken_back_as_long_as_everybody_accepts_both(domains: Domains, action: Action) -> None:
    assert decide_domain(domains, HOUR, LACKING, START, back=True).action is action


@pytest.mark.parametrize("name", ["", "Shop.example", "a..b", "a/b", "spiffe://a", OLD, "x" * 256])
def test_what_is_no_other_trust_domain_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="trust domain"):
        begun(Domains(OLD), name, HOUR, START)


def opened(folder: Path, clock: FakeClock, domain: str = OLD) -> Authority:
    return Authority.open(folder, domain, lifetimes=Lifetimes(leaf=HOUR), clock=clock, chance=lambda: 0.5)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def look(authority: Authority, times: int = 1) -> None:
    for _ in range(times):
        await authority.look(lambda *_: None, lambda _: Seen())


def uri_of(chain: bytes) -> str:
    names = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return str(names.value.get_values_for_type(x509.UniformResourceIdentifier)[0])


async def test_a_folder_changes_its_name_and_goes_on_from_there_whoever_opens_it(
    tmp_path: Path, folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    before = open_secrets(await authority.secrets(WEB))
    before_it = names(folder)
    await authority.rename(NEW)
    await look(authority)
    assert authority.peers.domains == (OLD, NEW)
    assert authority.issuers.domains.signs == OLD, "nothing is signed under the new name yet"
    await look(authority, 2)
    assert authority.issuers.domains.signs == NEW
    assert authority.peers.domains == (OLD, NEW)

    again = opened(folder, clock)
    leaf = open_secrets(await again.secrets(WEB))
    assert uri_of(leaf.chain) == f"spiffe://{NEW}/ns/shop/sa/web"
    for chain in (before.chain, leaf.chain):
        assert refusal(tmp_path, again.bundle_pem(), chain, at=clock.now()) == ""
    await look(again)
    clock.skip(GONE)
    await look(again)
    assert (again.peers.domains, again.peers.servers.domains) == ((OLD, NEW), (NEW,))
    await look(again)
    assert again.peers.domains == (NEW,)
    assert names(folder) == sorted({*before_it, DOMAINS})
    assert opened(folder, clock, NEW).issuers.domains.signs == NEW
    assert opened(folder, clock).issuers.domains.signs == NEW, "the old setting still names the same mesh"
    with pytest.raises(StorageError, match=f"set --trust-domain {NEW}"):
        opened(folder, clock, "other.example")


async def test_a_change_can_be_taken_back_and_waits_for_no_rotation_of_the_root(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    await authority.rename(NEW)
    with pytest.raises(StorageError, match="change of the trust domain is under way"):
        await authority.ask(Wish.ROOT)
    with pytest.raises(StorageError, match="change of the trust domain is under way"):
        await authority.rename("third.example")
    await authority.ask(Wish.BACK)
    await look(authority, 2)
    assert not authority.issuers.domains.changing
    assert not (folder / DOMAINS).exists()
    assert authority.peers.domains == ()
    await authority.ask(Wish.ROOT)
    await look(authority, 2)
    with pytest.raises(StorageError, match="rotation of the root is under way"):
        await authority.rename(NEW)


@pytest.mark.parametrize(
    "content", [b"nonsense", b"{}", b'{"signs": "a/b"}', b'{"signs":"a","next":"b","previous":"c"}']
)
async def test_a_note_of_the_name_that_is_nonsense_changes_nothing(
    folder: Path, clock: FakeClock, content: bytes
) -> None:
    authority = opened(folder, clock)
    await authority.rename(NEW)
    await look(authority)
    good = (folder / DOMAINS).read_bytes()
    (folder / DOMAINS).write_bytes(content)
    await look(authority, 3)
    assert DOMAINS in authority.trouble
    assert authority.issuers.domains.signs == OLD
    (folder / DOMAINS).write_bytes(good)
    await look(authority, 3)
    assert (authority.trouble, authority.issuers.domains.signs) == ("", NEW)


async def test_a_previous_root_that_is_removed_with_its_note_while_its_leaves_live_is_missed(
    folder: Path, clock: FakeClock
) -> None:
    authority = opened(folder, clock)
    await authority.ask(Wish.ROOT)
    await look(authority, 4)
    assert authority.issuers.rotation.since is not None
    bundle = authority.bundle_pem()
    for name in (PREVIOUS_ROOT, ROTATION):
        (folder / name).rename(folder / f"{name}.away")
    await look(authority)
    assert "previous-root.pem" in authority.trouble
    assert authority.bundle_pem() == bundle, "leaves of it are still accepted"
    for name in (PREVIOUS_ROOT, ROTATION):
        (folder / f"{name}.away").rename(folder / name)
    await look(authority)
    assert (authority.trouble, authority.bundle_pem()) == ("", bundle)


async def test_an_alias_is_accepted_and_never_signed_under(folder: Path, clock: FakeClock) -> None:
    authority = Authority.open(folder, OLD, clock=clock, aliases=["alias.example"])
    assert authority.peers.domains == ("alias.example", OLD)
    assert authority.peers.uris(WEB) == ("spiffe://alias.example/ns/shop/sa/web", WEB.uri)
    assert uri_of(open_secrets(await authority.secrets(WEB)).chain) == WEB.uri


async def test_another_mesh_never_vouches_for_a_name_of_ours(folder: Path, clock: FakeClock) -> None:
    authority = Authority.open(folder, OLD, clock=clock, aliases=["alias.example"])
    authority.trust([(OLD, "A"), ("alias.example", "B"), ("other.example", "C")])
    assert authority.peers.foreign == (("other.example", "C"),)
    authority.trust([])
    now = authority.peers
    assert not now.foreign
    assert now.gone == ("other.example",)


async def test_a_name_of_another_mesh_never_becomes_one_of_ours(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    authority.trust([("other.example", "C")])
    with pytest.raises(StorageError, match="with which this one federates"):
        await authority.rename("other.example")
    authority.trust([])
    await authority.rename("other.example")
    await look(authority)
    granted_once = Identity("other.example", "shop", "web")
    assert authority.peers.uris(granted_once) == (), "or our own shop/web would be let in by its grant"
    assert authority.peers.uris(WEB) == (WEB.uri, "spiffe://other.example/ns/shop/sa/web")


async def test_tokens_from_before_the_change_stay_good(folder: Path, clock: FakeClock) -> None:
    authority = opened(folder, clock)
    token = TokenIssuer.open(folder, OLD, clock=clock).issue(WEB, None, HOUR)
    with pytest.raises(Refused):
        await TokenAuthenticator.open(folder, NEW, clock=clock).authenticate(token)
    await authority.rename(NEW)
    await look(authority, 2)
    after = opened(folder, clock, NEW)
    names = TokenAuthenticator.open(folder, NEW, clock=clock, others=lambda: after.issuers.domains.known)
    assert (await names.authenticate(token)).identity == Identity(NEW, "shop", "web")
