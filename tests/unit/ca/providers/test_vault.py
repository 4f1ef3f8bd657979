"""Vault's PKI behind its HTTP API: what is asked, how a login lives, and which words a refusal has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from ca.providers.checking import checked
from ca.providers.provider import ProviderError, RootsFile, Wanted
from ca.providers.vault import Vault, VaultSettings
from company_ca import Signer, company_root, pem
from fake_clock import FakeClock
from fake_vault import JWT, FakeVault
from provided import LEAF, WEB, mesh_with

SIGN = "POST pki/sign/mesh"
LOGIN = "POST auth/kubernetes/login"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def signer() -> Signer:
    now = datetime.now(UTC)
    return company_root("vault root", now).below("vault intermediate", now)


@pytest.fixture
async def server(signer: Signer, tmp_path: Path) -> AsyncIterator[FakeVault]:
    made = await FakeVault(signer).start(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
def settings(server: FakeVault, tmp_path: Path) -> VaultSettings:
    (tmp_path / "token").write_text(f"{JWT}\n")
    (tmp_path / "vault-ca.pem").write_bytes(server.ca_pem)
    return VaultSettings(
        address=server.url, role="mesh", token_file=tmp_path / "token", ca_file=tmp_path / "vault-ca.pem"
    )


@pytest.fixture
async def vault(settings: VaultSettings, clock: FakeClock) -> AsyncIterator[Vault]:
    made = Vault(settings, clock)
    yield made
    await made.close()


@pytest.fixture
def wanted() -> Wanted:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB.uri)])
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
    return Wanted(WEB, request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()), LEAF, frozenset())


async def test_it_signs_and_its_chain_leads_to_its_root(
    vault: Vault, signer: Signer, wanted: Wanted, clock: FakeClock
) -> None:
    path = checked(await vault.sign(wanted), wanted, await vault.roots(), clock.now())
    assert path.root == signer.root
    assert [each.issuer.rfc4514_string() for each in path.certificates] == ["CN=vault intermediate", "CN=vault root"]


async def test_one_login_is_enough_until_the_middle_of_its_life_and_is_renewed_then(
    vault: Vault, server: FakeVault, wanted: Wanted, clock: FakeClock
) -> None:
    await vault.sign(wanted)
    await vault.sign(wanted)
    assert server.asked == [LOGIN, SIGN, SIGN]
    clock.skip(timedelta(minutes=31))
    await vault.sign(wanted)
    assert server.asked[3:] == ["POST auth/token/renew-self", SIGN]
    server.renewable = False
    clock.skip(timedelta(minutes=31))
    await vault.sign(wanted)
    assert server.asked[5:] == ["POST auth/token/renew-self", LOGIN, SIGN], "what can't be renewed is made anew"


async def test_a_login_that_was_revoked_is_made_anew_once(vault: Vault, server: FakeVault, wanted: Wanted) -> None:
    await vault.sign(wanted)
    server.tokens.clear()
    await vault.sign(wanted)
    assert server.asked == [LOGIN, SIGN, SIGN, LOGIN, SIGN]


async def test_the_token_is_read_anew_for_each_login(
    vault: Vault, server: FakeVault, settings: VaultSettings, wanted: Wanted
) -> None:
    settings.token_file.write_text("an old one")
    with pytest.raises(ProviderError, match="auth/kubernetes/login: 403 permission denied"):
        await vault.sign(wanted)
    settings.token_file.write_text(JWT)
    await vault.sign(wanted)


async def test_a_namespace_is_named_in_every_request(
    settings: VaultSettings, server: FakeVault, wanted: Wanted, clock: FakeClock
) -> None:
    server.namespace = "team/mesh"
    vault = Vault(replace(settings, namespace="team/mesh"), clock)
    await vault.sign(wanted)
    await vault.roots()
    await vault.close()
    elsewhere = Vault(settings, clock)
    with pytest.raises(ProviderError, match="404"):
        await elsewhere.sign(wanted)
    await elsewhere.close()


async def test_what_vault_refuses_is_told_in_its_words(
    vault: Vault, server: FakeVault, settings: VaultSettings, wanted: Wanted, clock: FakeClock
) -> None:
    server.allowed = "spiffe://example.org/"
    with pytest.raises(ProviderError, match=f"sign/mesh: 400 URI {WEB.uri} is not allowed by this role"):
        await vault.sign(wanted)
    server.sealed = True
    with pytest.raises(ProviderError, match="503 Vault is sealed"):
        await vault.sign(wanted)
    server.sealed = False
    for wrong, words in (
        (replace(settings, auth_role="other"), 'invalid role name "other"'),
        (replace(settings, role="other"), "unknown role: other"),
        (replace(settings, token_file=Path("/absent")), "/absent can't be read: FileNotFoundError"),
        (replace(settings, ca_file=None), "can't be reached: .*certificate verify failed"),
        (replace(settings, address="https://127.0.0.1:1"), "can't be reached"),
    ):
        other = Vault(wrong, clock)
        with pytest.raises(ProviderError, match=words):
            await other.sign(wanted)
        await other.close()


async def test_roots_may_come_from_a_file(settings: VaultSettings, tmp_path: Path, clock: FakeClock) -> None:
    root = company_root("chosen", clock.now())
    (tmp_path / "roots.pem").write_bytes(pem(root.certificate))
    assert await Vault(replace(settings, roots=RootsFile(tmp_path / "roots.pem")), clock).roots() == (root.certificate,)
    with pytest.raises(ProviderError, match="/absent can't be read: No such file or directory"):
        await Vault(replace(settings, roots=RootsFile(Path("/absent"))), clock).roots()


async def test_an_answer_is_read_whole_in_however_many_pieces_it_comes(
    vault: Vault, server: FakeVault, signer: Signer
) -> None:
    server.comment = b"# a comment\n" * 60_000
    assert await vault.roots() == (signer.root,)
    server.comment *= 2
    with pytest.raises(ProviderError, match="Vault's answer is longer than 1048576 bytes"):
        await vault.roots()


async def test_a_chain_without_a_root_asks_for_a_file(vault: Vault, server: FakeVault, signer: Signer) -> None:
    server.signer = replace(signer, above=())
    with pytest.raises(ProviderError, match="Vault's pki/ca_chain holds no root: name a file of roots"):
        await vault.roots()


async def test_a_mesh_on_vault_survives_that_it_is_sealed(vault: Vault, server: FakeVault, clock: FakeClock) -> None:
    mesh = mesh_with(vault, clock)
    await mesh.authority.begin()
    await mesh.look()
    await mesh.look()
    first = await mesh.open(WEB)
    server.sealed = True
    clock.skip(timedelta(seconds=5))
    await mesh.look()
    assert mesh.given[WEB] == first
    assert "Vault is sealed" in mesh.authority.standing.trouble
    assert JWT not in mesh.authority.standing.trouble
    assert "hvs." not in repr(vault.__dict__)
    server.sealed = False
    await mesh.look()
    assert mesh.authority.standing.trouble == ""
