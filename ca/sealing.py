"""Keys encrypted where they are kept: with a passphrase, or by a command that asks a key management service.

Rule: a key is never written in clear once there is a seal, and never part of a message. What was sealed is remembered
with what it came from, so what has not changed is not written again and nobody is asked twice.
Source: PKCS #8 EncryptedPrivateKeyInfo with PBES2 (RFC 5958, RFC 8018), as the `cryptography` package writes it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ca.storage import LARGEST, StorageError

PATIENCE: Final = 10.0
"""Seconds that the command may take."""
REMEMBERED: Final = 16
PLAIN: Final = b"-----BEGIN PRIVATE KEY-----"
ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
BY_COMMAND: Final = b"-----BEGIN WEFT SEALED KEY-----\n"
END: Final = b"\n-----END WEFT SEALED KEY-----\n"
PASSPHRASE: Final = "WEFT_CA_KEY_PASSPHRASE"  # noqa: S105 - its name
"""The environment variable with the passphrase."""


class SealError(Exception):
    """A key could not be sealed or opened. The rest of a sentence; holds no key and no passphrase."""


class Seal(Protocol):
    """One way to encrypt keys. Both are PEM texts; both raise SealError."""

    def close(self, key_pem: bytes) -> bytes:
        """The key, encrypted."""

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        """The key in clear (PKCS #8, unencrypted), and whether it would be sealed the same way now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSettings:
    """Where the passphrase is, or the command. None: keys are kept in clear."""

    passphrase_file: Path | None = None
    command: str = ""


class PassphraseSeal:
    """The first passphrase seals, all of them open: so one can follow another. An empty first one takes seals away."""

    def __init__(self, passphrases: tuple[bytes, ...]) -> None:
        self._passphrases = passphrases

    def close(self, key_pem: bytes) -> bytes:
        """As Seal says."""
        if not self._passphrases[0]:
            return key_pem
        key = load_pem_private_key(key_pem, password=None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self._passphrases[0]))

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        """As Seal says."""
        if not sealed.startswith(ENCRYPTED):
            raise SealError("holds a key that was sealed by a command: start with --ca-key-command")
        for passphrase in filter(None, self._passphrases):
            try:
                key = load_pem_private_key(sealed, password=passphrase)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                continue
            clear = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            return clear, passphrase == self._passphrases[0]
        raise SealError("holds a key that none of the passphrases opens")


class CommandSeal:
    """`<command> encrypt` and `<command> decrypt`, each from standard input to standard output."""

    def __init__(self, words: tuple[str, ...], patience: float = PATIENCE) -> None:
        self._words = words
        self._patience = patience

    def close(self, key_pem: bytes) -> bytes:
        """As Seal says."""
        return BY_COMMAND + b64encode(self._run("encrypt", key_pem)) + END

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        """As Seal says."""
        if not sealed.startswith(BY_COMMAND):
            raise SealError("holds a key that was sealed with a passphrase: start with --ca-key-passphrase-file")
        try:
            content = b64decode(sealed.removeprefix(BY_COMMAND).partition(END.strip())[0])
        except ValueError as error:
            raise SealError("holds a sealed key that is no base64") from error
        opened = self._run("decrypt", content)
        if not opened.startswith(PLAIN):
            raise SealError(f"holds a key of which `{self._words[0]} … decrypt` makes no key")
        return opened, True

    def _run(self, action: str, content: bytes) -> bytes:
        name = f"`{self._words[0]} … {action}`"
        try:
            # What it says on its standard error goes where ours goes.
            done = subprocess.run(
                [*self._words, action], input=content, stdout=subprocess.PIPE, timeout=self._patience, check=False
            )
        except subprocess.TimeoutExpired:
            raise SealError(f"needs {name}, which took more than {self._patience:g} s") from None
        except OSError as error:
            raise SealError(f"needs {name}, which can't be run: {error.strerror}") from None
        if done.returncode != 0:
            raise SealError(f"needs {name}, which ended with {done.returncode}")
        if not done.stdout or len(done.stdout) > LARGEST:
            raise SealError(f"needs {name}, which answered {len(done.stdout)} bytes")
        return done.stdout


class Sealing:
    """Opens and seals what is kept, by name. Without a seal what is in clear stays so, and sealed keys are refused."""

    def __init__(self, seal: Seal | None = None) -> None:
        self._seal = seal
        self._sealed: dict[bytes, bytes] = {}
        """What is kept, by what it is in clear."""

    def opened(self, data: Mapping[str, bytes], place: Callable[[str], str]) -> dict[str, bytes]:
        """All of it in clear. `place` tells a person where something is. Raises StorageError."""
        return {name: self._in_words(self._open, content, place(name)) for name, content in data.items()}

    def closed(self, data: Mapping[str, bytes]) -> dict[str, bytes]:
        """All of it as it is to be kept. Raises StorageError."""
        return {name: self._in_words(self._close, content, name) for name, content in data.items()}

    def _in_words(self, work: Callable[[bytes], bytes], content: bytes, where: str) -> bytes:
        try:
            return work(content)
        except SealError as error:
            raise StorageError(f"{where} {error}") from error

    def _open(self, content: bytes) -> bytes:
        at = max(content.find(ENCRYPTED), content.find(BY_COMMAND))
        if at < 0:
            return content
        known = next((clear for clear, sealed in self._sealed.items() if sealed == content), None)
        if known is not None:
            return known
        if self._seal is None:
            raise SealError("holds an encrypted key: start with the passphrase or command that it was sealed with")
        key, current = self._seal.open(content[at:])
        clear = content[:at] + key
        if current:
            self._remember(clear, content)
        return clear

    def _close(self, content: bytes) -> bytes:
        at = content.find(PLAIN)
        if self._seal is None or at < 0:
            return content
        if content not in self._sealed:
            self._remember(content, content[:at] + self._seal.close(content[at:]))
        return self._sealed[content]

    def _remember(self, clear: bytes, sealed: bytes) -> None:
        while len(self._sealed) >= REMEMBERED:
            del self._sealed[next(iter(self._sealed))]
        self._sealed[clear] = sealed


def sealing(settings: SealSettings) -> Sealing:
    """As it was set. Raises StorageError where the passphrase can't be read, or both ways are named."""
    given = os.environ.get(PASSPHRASE, "")
    if sum((bool(given), settings.passphrase_file is not None, bool(settings.command))) > 1:
        raise StorageError(f"name one of --ca-key-passphrase-file, --ca-key-command and ${PASSPHRASE}")
    if settings.command:
        return Sealing(CommandSeal(tuple(shlex.split(settings.command))))
    if settings.passphrase_file is not None:
        try:
            lines = settings.passphrase_file.read_bytes().splitlines()
        except OSError as error:
            raise StorageError(f"{settings.passphrase_file} can't be read: {error.strerror}") from error
        if not any(lines):
            raise StorageError(f"{settings.passphrase_file} holds no passphrase")
        return Sealing(PassphraseSeal(tuple(lines)))
    return Sealing(PassphraseSeal((given.encode(),)) if given else None)
