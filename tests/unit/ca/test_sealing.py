"""Keys at rest: sealed with a passphrase or by a command, opened again, and never in clear or in a message."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ca.authority import Authority
from ca.rotation import Wish
from ca.sealing import PASSPHRASE, CommandSeal, PassphraseSeal, Sealing, SealSettings, sealing
from ca.storage import StorageError
from fake_clock import FakeClock
from mesh.model import Identity

DOMAIN = "cluster.local"
KEYS = ("root.pem", "intermediate.pem")


def passphrase(*words: bytes) -> Sealing:
    return Sealing(PassphraseSeal(words))


def command(folder: Path, *, body: str = "", seconds: float = 10.0) -> Sealing:
    """A key management service, nearly: what it does to bytes can be undone by itself alone."""
    file = folder / "kms"
    file.write_text("#!/bin/sh\n" + (body or 'echo "$2" >> "$1"\nexec tr A-Za-z N-ZA-Mn-za-m\n'))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return Sealing(CommandSeal((str(file), str(folder / "asked")), seconds))


def open_with(folder: Path, seal: Sealing | None, clock: FakeClock | None = None) -> Authority:
    return Authority.open(folder / "ca", DOMAIN, sealing=seal, clock=clock or FakeClock())


def kept(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "ca" / name).read_bytes() for name in KEYS}


def test_with_a_passphrase_no_key_is_kept_in_clear_and_the_next_process_opens_them(tmp_path: Path) -> None:
    first = open_with(tmp_path, passphrase(b"correct horse"))
    for content in kept(tmp_path).values():
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
        assert b"BEGIN PRIVATE KEY" not in content
    again = open_with(tmp_path, passphrase(b"correct horse"))
    assert again.bundle_pem() == first.bundle_pem()
    assert again.issuers.root.to_pem() == first.issuers.root.to_pem()


def test_keys_that_are_in_clear_are_sealed_by_the_first_start_with_a_passphrase(tmp_path: Path) -> None:
    first = open_with(tmp_path, None)
    assert b"BEGIN PRIVATE KEY" in kept(tmp_path)["root.pem"]
    open_with(tmp_path, passphrase(b"correct horse"))
    assert all(b"BEGIN PRIVATE KEY" not in content for content in kept(tmp_path).values())
    assert open_with(tmp_path, passphrase(b"correct horse")).bundle_pem() == first.bundle_pem()


def test_one_passphrase_follows_another_and_an_empty_one_takes_the_seal_away(tmp_path: Path) -> None:
    open_with(tmp_path, passphrase(b"old"))
    open_with(tmp_path, passphrase(b"new", b"old"))
    open_with(tmp_path, passphrase(b"new"))
    open_with(tmp_path, passphrase(b"", b"new"))
    assert all(b"BEGIN PRIVATE KEY" in content for content in kept(tmp_path).values())
    open_with(tmp_path, passphrase(b"new"))
    with pytest.raises(StorageError, match=r"root.pem holds a key that none of the passphrases opens"):
        open_with(tmp_path, passphrase(b"old"))


def test_without_the_passphrase_it_is_said_what_to_do_and_nothing_is_changed(tmp_path: Path) -> None:
    open_with(tmp_path, passphrase(b"correct horse"))
    before = kept(tmp_path)
    with pytest.raises(StorageError, match=r"root.pem holds an encrypted key: start with the passphrase or command"):
        open_with(tmp_path, None)
    with pytest.raises(StorageError, match="sealed with a passphrase: start with --ca-key-passphrase-file"):
        open_with(tmp_path, command(tmp_path))
    assert kept(tmp_path) == before


async def test_what_is_not_changed_is_neither_sealed_nor_opened_again(tmp_path: Path) -> None:
    clock = FakeClock()
    authority = open_with(tmp_path, command(tmp_path), clock)
    asked = (tmp_path / "asked").read_text().split()
    assert sorted(asked) == ["encrypt", "encrypt"]
    before = kept(tmp_path)
    assert all(b"BEGIN WEFT SEALED KEY" in content for content in before.values())
    assert all(b"PRIVATE KEY" not in content for content in before.values())
    for _ in range(3):
        await authority.look(lambda _identity, _secrets: None)
    assert (tmp_path / "asked").read_text().split() == asked
    assert kept(tmp_path) == before
    await authority.ask(Wish.INTERMEDIATE)
    for _ in range(2):
        await authority.look(lambda _identity, _secrets: None)
    assert (tmp_path / "asked").read_text().split() == [*asked, "encrypt"]
    assert kept(tmp_path)["root.pem"] == before["root.pem"]
    again = open_with(tmp_path, command(tmp_path), clock)
    assert again.issuers.intermediate.to_pem() == authority.issuers.intermediate.to_pem()


async def test_while_a_command_fails_leaves_are_made_with_the_issuers_in_memory(tmp_path: Path) -> None:
    clock = FakeClock()
    authority = open_with(tmp_path, command(tmp_path), clock)
    command(tmp_path, body="exit 3\n")
    await authority.ask(Wish.INTERMEDIATE)
    for _ in range(2):
        await authority.look(lambda _identity, _secrets: None)
    assert "`" + str(tmp_path / "kms") in authority.trouble
    assert "ended with 3" in authority.trouble
    assert await authority.secrets(Identity(DOMAIN, "shop", "web"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit 1\n", "which ended with 1"),
        ("exec sleep 60\n", "which took more than 0.2 s"),
        ("exec true\n", "which answered 0 bytes"),
    ],
)
def test_a_command_that_does_not_work_is_told_and_no_key_is_kept(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(StorageError, match=words) as refused:
        open_with(tmp_path, command(tmp_path, body=body, seconds=0.2))
    assert "PRIVATE" not in str(refused.value)
    assert not (tmp_path / "ca" / "root.pem").exists()


def test_a_command_that_can_not_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="`/absent … encrypt`, which can't be run: No such file or directory"):
        open_with(tmp_path, Sealing(CommandSeal(("/absent",))))


def test_settings_name_one_way_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passphrase"
    with pytest.raises(StorageError, match="passphrase can't be read: No such file"):
        sealing(SealSettings(passphrase_file=file))
    file.write_text("\n\n")
    with pytest.raises(StorageError, match="holds no passphrase"):
        sealing(SealSettings(passphrase_file=file))
    with pytest.raises(StorageError, match="name one of"):
        sealing(SealSettings(passphrase_file=file, command="kms"))
    monkeypatch.setenv(PASSPHRASE, "from the environment")
    open_with(tmp_path, sealing(SealSettings()))
    assert b"ENCRYPTED" in kept(tmp_path)["root.pem"]
    assert "from the environment" not in repr(sealing(SealSettings()).__dict__)
