"""Leaves that somebody else signs: kept fresh, checked, and never lost because the one who signs is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from company_ca import Signer, company_root, pem
from fake_clock import START, FakeClock
from mesh.model import Identity
from openssl import refusal
from provided import CART, DOMAIN, LEAF, WEB, HandProvider, MemoryRecords, Mesh, mesh_with
from xds.snapshot import NoSecretsNow


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def signer() -> Signer:
    return company_root("company root", START).below("company intermediate", START)


@pytest.fixture
def provider(signer: Signer, clock: FakeClock) -> HandProvider:
    return HandProvider(signer, clock)


@pytest.fixture
async def mesh(provider: HandProvider, clock: FakeClock) -> Mesh:
    made = mesh_with(provider, clock)
    await made.authority.begin()
    await made.look()
    await made.look()
    return made


async def test_a_leaf_leads_to_the_providers_root(mesh: Mesh, signer: Signer, clock: FakeClock, tmp_path: Path) -> None:
    given = await mesh.open(WEB)
    leaf, intermediate = x509.load_pem_x509_certificates(given.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [WEB.uri]
    assert intermediate == signer.certificate
    assert pem(signer.root) in given.bundle
    assert refusal(tmp_path, pem(signer.root), given.chain, at=clock.now()) == ""


async def test_a_leaf_is_renewed_from_the_middle_of_its_life_on(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    first = await mesh.open(WEB)
    clock.skip(LEAF * 0.49)
    await mesh.look()
    assert (mesh.given[WEB].chain, provider.asked) == (first.chain, 1)
    clock.skip(LEAF * 0.02)
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain


async def test_a_provider_may_make_leaves_shorter_and_they_are_renewed_earlier(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    provider.life = timedelta(hours=1)
    first = await mesh.open(WEB)
    clock.skip(timedelta(minutes=31))
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain


async def test_a_leaf_that_lives_longer_than_was_wanted_is_renewed_in_time_and_its_root_is_kept_for_longer(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    provider.life = 3 * LEAF
    first = await mesh.open(WEB)
    clock.skip(LEAF * 0.51)
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain
    other = company_root("next root", START).below("next", START)
    provider.offers, provider.signer = (other.root,), other
    await mesh.look()
    clock.skip(2.9 * LEAF)
    await mesh.look()
    assert "company root" in _roots(mesh.given[WEB].bundle)


async def test_while_the_provider_is_away_leaves_stay_and_it_is_told(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    first = await mesh.open(WEB)
    provider.away = "the company is closed"
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert mesh.given[WEB].chain == first.chain
    assert mesh.authority.standing.trouble == "the company is closed"
    assert mesh.authority.standing.failed["provider"] == 1
    provider.away = ""
    clock.skip(timedelta(seconds=2))
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain
    assert mesh.authority.standing.trouble == ""


async def test_trouble_of_one_identity_is_told_though_others_succeed(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    await mesh.open(WEB)
    await mesh.open(CART)
    provider.refuses = {CART}
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert mesh.authority.standing.trouble == f"no certificate for {CART.uri}"
    mesh.authority.forget([CART])
    provider.refuses = set()
    clock.skip(timedelta(minutes=2))
    await mesh.look()
    assert mesh.authority.leaves_end == (clock.now() - timedelta(minutes=2) + LEAF,)


async def test_attempts_are_spaced_out_more_and_more(mesh: Mesh, provider: HandProvider, clock: FakeClock) -> None:
    await mesh.open(WEB)
    provider.away = "the company is closed"
    clock.skip(LEAF * 0.6)
    for _ in range(600):
        await mesh.look()
        clock.skip(timedelta(seconds=1))
    # 1, 2, 4 … 32 s, then one a minute: ten minutes make some fifteen attempts, not six hundred.
    assert 12 <= provider.asked - 1 <= 18


async def test_a_newcomer_is_told_to_come_back_while_the_provider_is_away(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    provider.away = "the company is closed"
    asked = _later(mesh, clock)
    with pytest.raises(NoSecretsNow, match="company signs nothing now: the company is closed"):
        await asked
    provider.away = ""
    await mesh.look()
    assert mesh.authority.standing.trouble == "the company is closed", "it may come back soon"
    clock.skip(timedelta(minutes=5))
    await mesh.look()
    assert mesh.authority.standing.trouble == "", "it went elsewhere"


async def _later(mesh: Mesh, clock: FakeClock) -> None:
    opening = asyncio.create_task(mesh.open(WEB))
    while not opening.done():
        await asyncio.sleep(0)
        clock.skip(timedelta(seconds=1))
    await opening


@pytest.mark.parametrize(
    ("bends", "words"),
    [
        ({"uris": ["spiffe://cluster.local/ns/shop/sa/bank"]}, "names spiffe://cluster.local/ns/shop/sa/bank and not"),
        (
            {"uris": [WEB.uri, "spiffe://cluster.local/ns/shop/sa/bank"]},
            "and not spiffe://cluster.local/ns/shop/sa/web",
        ),
        ({"uris": []}, "names no SPIFFE ID"),
        ({"ca": True}, "may sign others"),
    ],
)
async def test_what_is_not_the_leaf_that_was_wanted_is_given_to_nobody(
    mesh: Mesh, provider: HandProvider, clock: FakeClock, bends: dict[str, object], words: str
) -> None:
    provider.bends = bends
    with pytest.raises(NoSecretsNow, match=words):
        await _later(mesh, clock)
    assert mesh.authority.standing.failed["refused"] > 1


async def test_a_leaf_under_an_unknown_root_is_given_to_nobody(
    mesh: Mesh, provider: HandProvider, signer: Signer, clock: FakeClock
) -> None:
    provider.offers = (signer.root,)
    provider.signer = company_root("other root", START).below("other", START)
    with pytest.raises(NoSecretsNow, match="leads to 'CN=other root', which is not among the roots that are trusted"):
        await _later(mesh, clock)


async def test_weft_signs_until_every_proxy_holds_the_providers_root(provider: HandProvider, clock: FakeClock) -> None:
    mesh = mesh_with(provider, clock)
    await mesh.authority.begin()
    mesh.away.add("old")
    given = await mesh.open(WEB)
    assert "weft" in _issuer(given.chain)
    assert _roots(given.bundle) == {"company root", "weft"}
    await mesh.look()
    assert mesh.authority.standing.onlookers.away == ("old",)
    mesh.away.clear()
    await mesh.look()
    await mesh.look()
    assert "company" in _issuer(mesh.given[WEB].chain), "it is renewed as soon as everybody trusts the other"
    clock.skip(LEAF + timedelta(minutes=6))
    await mesh.look()
    assert _roots(mesh.given[WEB].bundle) == {"company root"}


async def test_a_new_root_is_held_by_the_proxies_of_all_replicas_before_anything_under_it_replaces_a_leaf(
    signer: Signer, clock: FakeClock
) -> None:
    records = MemoryRecords()
    providers = [HandProvider(signer, clock), HandProvider(signer, clock)]
    one, two = (mesh_with(each, clock, records, f"weft-{number}") for number, each in enumerate(providers))
    for each in (one, two):
        await each.authority.begin()
    for each in (one, two, one, two):
        await each.look()
    await one.open(WEB)
    await two.open(CART)
    clock.skip(LEAF + timedelta(minutes=6))
    for each in (one, two, one, two):
        await each.look()
    other = company_root("next root", START).below("next", START)
    two.lacking.add("cart")
    for provider in providers:
        provider.offers, provider.signer = (signer.root, other.root), other
    clock.skip(LEAF * 0.6)
    for each in (one, two, one, two):
        await each.look()
    assert _issuer(one.given[WEB].chain) == "company intermediate"
    assert "not all proxies hold yet" in one.authority.standing.trouble
    two.lacking.clear()
    clock.skip(timedelta(minutes=5))
    for each in (two, one, two, one):
        await each.look()
        clock.skip(timedelta(minutes=5))
    assert _issuer(one.given[WEB].chain) == "next"


async def test_a_root_that_is_gone_is_trusted_until_no_leaf_under_it_is_alive(
    mesh: Mesh, provider: HandProvider, signer: Signer, clock: FakeClock
) -> None:
    await mesh.open(WEB)
    clock.skip(LEAF * 1.1)
    await mesh.look()
    other = company_root("next root", START).below("next", START)
    provider.offers, provider.signer = (other.root,), other
    for _ in range(4):
        await mesh.look()
        clock.skip(timedelta(seconds=2))
    assert _issuer(mesh.given[WEB].chain) == "next"
    assert _roots(mesh.given[WEB].bundle) == {"company root", "next root"}
    clock.skip(LEAF)
    await mesh.look()
    assert "company root" in _roots(mesh.given[WEB].bundle)
    clock.skip(timedelta(minutes=6))
    await mesh.look()
    assert _roots(mesh.given[WEB].bundle) == {"next root"}


async def test_what_was_written_down_is_enough_to_begin_while_the_provider_is_away(
    provider: HandProvider, clock: FakeClock
) -> None:
    records = MemoryRecords()
    await mesh_with(provider, clock, records).authority.begin()
    provider.away = "the company is closed"
    again = mesh_with(provider, clock, records)
    await again.authority.begin()
    assert "company root" in _roots(again.authority.bundle_pem())


async def test_a_record_that_cannot_be_reached_stops_no_renewal(provider: HandProvider, clock: FakeClock) -> None:
    records = MemoryRecords()
    mesh = mesh_with(provider, clock, records)
    await mesh.authority.begin()
    first = await mesh.open(WEB)
    await mesh.look()
    await mesh.look()
    records.broken = "the API server is away"
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain
    assert mesh.authority.standing.trouble == "the API server is away"


async def test_keys_are_in_no_repr(mesh: Mesh, provider: HandProvider) -> None:
    given = await mesh.open(WEB)
    secret = given.key.split(b"\n")[1].decode()
    for each in (
        mesh.authority,
        mesh.authority.__dict__,
        mesh.authority.standing,
        provider.signer.handed_over().keys(),
    ):
        assert secret not in repr(each)


async def test_no_more_requests_are_under_way_than_the_provider_takes(
    mesh: Mesh, provider: HandProvider, clock: FakeClock
) -> None:
    identities = [Identity(DOMAIN, "shop", f"app-{number}") for number in range(20)]
    for identity in identities:
        await mesh.open(identity)
    provider.slow = True
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert provider.most == provider.at_once
    assert provider.asked == 40


async def test_a_provider_that_does_not_answer_holds_up_no_look_at_the_roots(
    mesh: Mesh, provider: HandProvider, signer: Signer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ca.providers.authority.LONGEST_WAIT", 0.01)
    first = await mesh.open(WEB)
    other = company_root("next root", START)
    provider.silent = asyncio.Event()
    clock.skip(LEAF * 0.6)
    await mesh.look()
    provider.offers = (signer.root, other.certificate)
    await mesh.look()
    assert "next root" in _roots(mesh.given[WEB].bundle)
    assert (provider.asked, mesh.given[WEB].chain) == (2, first.chain), "it is asked once, not at each look"
    provider.silent.set()
    await mesh.look()
    await mesh.look()
    assert mesh.given[WEB].chain != first.chain


def _issuer(chain: bytes) -> str:
    return x509.load_pem_x509_certificate(chain).issuer.rfc4514_string().removeprefix("CN=")


def _roots(bundle: bytes) -> set[str]:
    names = (each.subject.rfc4514_string().removeprefix("CN=") for each in x509.load_pem_x509_certificates(bundle))
    return {"weft" if name.startswith("weft") else name for name in names}
