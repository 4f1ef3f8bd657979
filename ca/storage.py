"""A folder for keys that only its owner can open.

Rule: a file is either whole or absent, and keys that others can read or change are not used at all.
"""

from __future__ import annotations

import binascii
import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

LOCK: Final = "lock"
DRAFT: Final = ".draft"
PENDING: Final = "pending.json"
"""Several files that are to change together: whoever locks the folder next finishes what was begun."""
LARGEST: Final = 64 * 1024
"""Bytes; what is kept here is a key and a certificate, about 2 KiB."""
LOCK_PATIENCE: Final = 10.0
"""Seconds to wait for another process that creates or rotates; that takes milliseconds."""


class StorageError(Exception):
    """The folder can't be used. The text is one sentence for the person who runs the command; it never holds a key."""


class Folder:
    """Small files by name, read and written whole.

    Every process of the owner may have the folder open. Whoever reads in order to write holds `locked`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Open the folder, made with mode 0700 when missing. Raises StorageError when others can get at it."""
        with _in_words(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise StorageError(f"{path} is not a folder")
        _refuse_others(path, status, "700")
        return cls(path)

    @contextlib.contextmanager
    def locked(self, patience: float = LOCK_PATIENCE) -> Iterator[None]:
        """Keep other processes and threads out; drafts of writers that were killed are removed.

        Raises StorageError when somebody else holds the lock for `patience` seconds.
        """
        path = self.path / LOCK
        with _in_words(path):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(file, patience)
            self._remove_drafts()
            self._finish()
            yield
        finally:
            os.close(file)

    def read(self, name: str) -> bytes | None:
        """The file's content, or None when there is no such file. Raises StorageError when it can't be trusted."""
        path = self.path / name
        with _in_words(path):
            try:
                # Never follow a link, and never hang on a pipe that somebody put here.
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with os.fdopen(file, "rb") as stream:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError(f"{path} is not a regular file")
                _refuse_others(path, status, "600")
                content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise StorageError(f"{path} is larger than {LARGEST} bytes and can't be what is kept there")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace the file at once: after a crash it is the old one or the new one. Call it under `locked`.

        Raises StorageError when the disk is full or refuses.
        """
        draft = self.path / f"{name}.{secrets.token_hex(8)}{DRAFT}"
        with _in_words(self.path / name):
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self.path / name)
            finally:
                draft.unlink(missing_ok=True)
            self._sync()

    def write_all(self, contents: Mapping[str, bytes | None]) -> None:
        """Replace these files, or remove them (None): after a crash all are the old ones, or all will be the new ones.

        Call it under `locked`. Raises StorageError; what was begun by then is finished under the next lock.
        """
        if len(contents) > 1:
            encoded = {name: None if each is None else b64encode(each).decode() for name, each in contents.items()}
            self.write(PENDING, json.dumps(encoded).encode())
        self._apply(contents)

    def _finish(self) -> None:
        begun = self.read(PENDING)
        if begun is None:
            return
        try:
            encoded: dict[str, str | None] = json.loads(begun)
            self._apply({name: None if each is None else b64decode(each) for name, each in encoded.items()})
        except (ValueError, TypeError, AttributeError, binascii.Error) as error:
            raise StorageError(f"{self.path / PENDING} is not what was written there: remove it") from error

    def _apply(self, contents: Mapping[str, bytes | None]) -> None:
        for name, content in contents.items():
            if content is not None:
                self.write(name, content)
        with _in_words(self.path):
            for name in (*(name for name, content in contents.items() if content is None), PENDING):
                (self.path / name).unlink(missing_ok=True)
            self._sync()

    def _sync(self) -> None:
        """Make the rename itself last."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _acquire(self, file: int, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                # The system releases it with the last descriptor, so also when the process is killed.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StorageError(f"another process has held {self.path / LOCK} for {patience:g} s") from None
                time.sleep(0.01)
            else:
                return

    def _remove_drafts(self) -> None:
        """Whoever wrote them is dead, or would hold the lock; they may hold keys."""
        with _in_words(self.path):
            for draft in self.path.glob(f"*{DRAFT}"):
                draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} can't be used: {error.strerror or error}") from error


def _refuse_others(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to user {status.st_uid}, but this process runs as user {os.geteuid()}")
    if status.st_mode & 0o077:
        raise StorageError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}): run `chmod {mode} {path}` "
            "if nobody else has read or changed it"
        )
