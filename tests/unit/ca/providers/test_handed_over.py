"""An intermediate that was handed over: what is refused, by which words, and how one follows the other."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ca.providers.handed_over import HandedOver, folder_reader, read_handed
from ca.providers.provider import ProviderError
from company_ca import DAY, Signer, company_root, pem
from fake_clock import START, FakeClock
from openssl import refusal
from provided import DOMAIN, LEAF, WEB, Mesh, mesh_with

Files = dict[str, bytes]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def root() -> Signer:
    return company_root("company root", START)


def hand(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


async def settled(mesh: Mesh, clock: FakeClock) -> Mesh:
    """Until there is nothing more to spread."""
    for _ in range(3):
        await mesh.look()
        clock.skip(timedelta(seconds=2))
    return mesh


@pytest.fixture
async def mesh(tmp_path: Path, root: Signer, clock: FakeClock) -> Mesh:
    hand(tmp_path, root.below("first", START).handed_over())
    made = mesh_with(HandedOver(folder_reader(tmp_path), DOMAIN, clock, str(tmp_path)), clock)
    await made.authority.begin()
    return await settled(made, clock)


@pytest.mark.parametrize("key", [
    ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048),
], ids=["P-384", "RSA"])  # fmt: skip
async def test_it_signs_whatever_its_key_is_and_openssl_takes_the_leaf(
    root: Signer, clock: FakeClock, tmp_path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    middle = root.below("middle", START)
    hand(tmp_path, middle.below("signs", START, key=key, permitted=[DOMAIN]).handed_over())
    made = mesh_with(HandedOver(folder_reader(tmp_path), DOMAIN, clock, "the folder"), clock)
    await made.authority.begin()
    await settled(made, clock)
    given = await made.open(WEB)
    assert [_name(each.issuer) for each in x509.load_pem_x509_certificates(given.chain)] == [
        "signs", "middle", "company root",
    ]  # fmt: skip
    assert refusal(tmp_path, pem(root.certificate), given.chain, at=clock.now()) == ""


async def test_another_intermediate_under_the_same_root_signs_at_once(
    mesh: Mesh, root: Signer, tmp_path: Path, clock: FakeClock
) -> None:
    await mesh.open(WEB)
    hand(tmp_path, root.below("second", START).handed_over())
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert _issuer(mesh) == "second"


async def test_one_under_another_root_signs_when_every_proxy_holds_that_root(
    mesh: Mesh, tmp_path: Path, clock: FakeClock
) -> None:
    await mesh.open(WEB)
    clock.skip(LEAF * 1.1)
    await settled(mesh, clock)
    mesh.lacking.add("web")
    hand(tmp_path, company_root("other root", START).below("other", START).handed_over())
    clock.skip(LEAF * 0.6)
    await settled(mesh, clock)
    assert _issuer(mesh) == "first", "it is renewed meanwhile, by the one whose root everybody holds"
    assert _roots(mesh) == {"company root", "other root"}
    assert mesh.authority.standing.trouble == ""
    mesh.lacking.clear()
    await settled(mesh, clock)
    clock.skip(LEAF * 0.6)
    await settled(mesh, clock)
    assert _issuer(mesh) == "other"
    clock.skip(LEAF + timedelta(minutes=6))
    await settled(mesh, clock)
    assert _roots(mesh) == {"other root"}


async def test_nonsense_is_told_with_its_file_and_what_was_good_before_goes_on(
    mesh: Mesh, root: Signer, tmp_path: Path, clock: FakeClock
) -> None:
    await mesh.open(WEB)
    hand(tmp_path, {"ca-key.pem": root.key_pem})
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert mesh.authority.standing.trouble == f"{tmp_path}: ca-key.pem does not belong to ca-cert.pem"
    assert _issuer(mesh) == "first"
    hand(tmp_path, root.below("second", START).handed_over())
    clock.skip(LEAF * 0.6)
    await mesh.look()
    assert (mesh.authority.standing.trouble, _issuer(mesh)) == ("", "second")


async def test_when_it_has_ended_nothing_is_signed_and_it_is_told(
    tmp_path: Path, root: Signer, clock: FakeClock
) -> None:
    hand(tmp_path, root.below("short", START, life=2 * DAY).handed_over())
    mesh = mesh_with(HandedOver(folder_reader(tmp_path), DOMAIN, clock, "the folder"), clock)
    await mesh.authority.begin()
    await settled(mesh, clock)
    await mesh.open(WEB)
    clock.skip(3 * DAY)
    await mesh.look()
    assert "valid from 2025-12-31 00:00:00 to 2026-01-03 00:00:00 UTC only" in mesh.authority.standing.trouble


def _without(name: str) -> Callable[[Signer], Files]:
    return lambda root: {k: v for k, v in root.below("x", START).handed_over().items() if k != name}


def _with(**files: bytes) -> Callable[[Signer], Files]:
    return lambda root: {
        **root.below("x", START).handed_over(), **{k.replace("_", "-") + ".pem": v for k, v in files.items()}
    }  # fmt: skip


def _below(**wishes: object) -> Callable[[Signer], Files]:
    return lambda root: root.below("x", START, **wishes).handed_over()


def _locked_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))


def _odd_key() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


MISTAKES: dict[str, tuple[Callable[[Signer], Files], str]] = {
    "no certificate": (_without("ca-cert.pem"), "ca-cert.pem is missing"),
    "no key": (_without("ca-key.pem"), "ca-key.pem is missing"),
    "no root": (_without("root-cert.pem"), "root-cert.pem is missing"),
    "nonsense": (_with(ca_cert=b"hello"), "ca-cert.pem does not hold certificates"),
    "nonsense for a chain": (_with(cert_chain=b"hello"), "cert-chain.pem does not hold certificates"),
    "nonsense for a key": (_with(ca_key=b"hello"), "ca-key.pem does not hold a private key without a passphrase"),
    "a key with a passphrase": (_with(ca_key=_locked_key()), "a private key without a passphrase"),
    "a key that sidecars do not take": (_with(ca_key=_odd_key()), "neither ECDSA nor RSA"),
    "another's root": (
        lambda root: {**root.below("x", START).handed_over(), "root-cert.pem": company_root("o", START).pem},
        "ca-cert.pem leads to 'CN=company root', which is not among the roots",
    ),
    "no CA": (_below(ca=False), "ca-cert.pem needs 'CN=x', which may not sign certificates"),
    "ended": (_below(life=timedelta(hours=-1)), "which is valid from 2025-12-31 00:00:00 to 2025-12-31 23:00:00 UTC"),
    "for others": (_below(permitted=["example.org"]), "'CN=x', whose name constraints do not allow spiffe://cluster.local"),
    "for what is below": (_below(permitted=[".cluster.local"]), "name constraints do not allow spiffe://cluster.local"),
    "too deep": (
        lambda _: company_root("r", START, path_length=0).below("x", START).handed_over(),
        "ca-cert.pem is below 'CN=r', which allows 0 issuers below it and not 1",
    ),
    "a root": (lambda root: {**root.handed_over(), "cert-chain.pem": b""}, "ca-cert.pem is a root"),
    "a weak key": (_below(key=rsa.generate_private_key(65537, 1024)), "an RSA key of 1024 bits; 2048 are the least"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_can_not_sign_for_this_mesh_is_refused_in_words(
    root: Signer, files: Callable[[Signer], Files], words: str
) -> None:
    with pytest.raises(ProviderError) as refused:
        read_handed(files(root), DOMAIN, START)
    assert words in str(refused.value)


def test_a_key_is_in_no_repr(root: Signer) -> None:
    files = root.below("x", START).handed_over()
    shown = repr(read_handed(files, DOMAIN, START))
    assert "PRIVATE" not in shown
    assert files["ca-key.pem"].splitlines()[1].decode() not in shown
    assert b64encode(files["ca-key.pem"]).decode()[:40] not in shown


def _issuer(mesh: Mesh) -> str:
    return _name(x509.load_pem_x509_certificate(mesh.given[WEB].chain).issuer)


def _roots(mesh: Mesh) -> set[str]:
    return {_name(each.subject) for each in x509.load_pem_x509_certificates(mesh.given[WEB].bundle)}


def _name(name: x509.Name) -> str:
    return name.rfc4514_string().removeprefix("CN=")
