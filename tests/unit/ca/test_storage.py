"""Keys lie in a folder that only its owner can open; files are whole or absent."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ca.storage import LARGEST, Folder, StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ca"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_made_for_their_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        folder = Folder.open(path)
        with folder.locked():
            folder.write("key.pem", b"secret")
    finally:
        os.umask(before)
    assert mode(path) == 0o700
    assert {file.name: mode(file) for file in path.iterdir()} == {"lock": 0o600, "key.pem": 0o600}


def test_what_was_written_is_read_and_what_was_not_is_none(path: Path) -> None:
    folder = Folder.open(path)
    with folder.locked():
        folder.write("key.pem", b"old")
        folder.write("key.pem", b"new")
    assert Folder.open(path).read("key.pem") == b"new"
    assert folder.read("other.pem") is None


@pytest.mark.parametrize("wide", [0o750, 0o705, 0o711, 0o777])
def test_a_folder_that_others_can_enter_is_refused_with_the_way_to_mend_it(path: Path, wide: int) -> None:
    Folder.open(path)
    path.chmod(wide)
    with pytest.raises(StorageError, match=rf"mode {wide:04o}\): run `chmod 700 {path}`"):
        Folder.open(path)


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(path: Path, wide: int) -> None:
    folder = Folder.open(path)
    with folder.locked():
        folder.write("key.pem", b"secret")
    (path / "key.pem").chmod(wide)
    with pytest.raises(StorageError, match=rf"mode {wide:04o}\): run `chmod 600"):
        folder.read("key.pem")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_refused(path: Path) -> None:
    folder = Folder.open(path)
    with folder.locked():
        folder.write("key.pem", b"secret")
    os.chown(path / "key.pem", 65534, 65534)
    with pytest.raises(StorageError, match="belongs to user 65534"):
        folder.read("key.pem")
    os.chown(path, 65534, 65534)
    with pytest.raises(StorageError, match="belongs to user 65534"):
        Folder.open(path)


def test_links_pipes_folders_and_huge_files_are_refused_without_hanging(path: Path, tmp_path: Path) -> None:
    folder = Folder.open(path)
    (tmp_path / "elsewhere").write_bytes(b"key")
    (path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(path / "pipe", 0o600)
    (path / "folder").mkdir(0o700)
    (path / "huge").write_bytes(b"x" * (LARGEST + 1))
    (path / "huge").chmod(0o600)
    for name in ("link", "pipe", "folder", "huge"):
        with pytest.raises(StorageError, match=str(path / name)):
            folder.read(name)


def test_a_file_in_the_folders_place_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(StorageError, match="is not a folder"):
        Folder.open(path)


def test_a_place_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't be used: Not a directory"):
        Folder.open(tmp_path / "file" / "deep" / "ca")


def test_a_writer_killed_halfway_leaves_the_old_file_and_its_draft_is_removed(path: Path) -> None:
    folder = Folder.open(path)
    with folder.locked():
        folder.write("key.pem", b"old")
    (path / "key.pem.0123456789abcdef.draft").write_bytes(b"ne")
    with folder.locked():
        assert folder.read("key.pem") == b"old"
    assert sorted(file.name for file in path.iterdir()) == ["key.pem", "lock"]


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.open(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with folder.locked():
        folder.write("key.pem", b"old")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            folder.write("key.pem", b"new")
    assert folder.read("key.pem") == b"old"
    assert sorted(file.name for file in path.iterdir()) == ["key.pem", "lock"]


def test_content_reaches_the_disk_before_the_name_and_the_name_before_write_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder.open(path)
    seen: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append(f"{'folder' if is_folder else 'file'} named={(path / 'key.pem').exists()}")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with folder.locked():
        folder.write("key.pem", b"secret")
    assert seen == ["file named=False", "folder named=True"]


def test_one_holds_the_lock_and_the_other_waits_or_says_so(path: Path) -> None:
    folder = Folder.open(path)
    refused: list[str] = []

    def other() -> None:
        try:
            with Folder.open(path).locked(patience=0.05):
                refused.append("not at all")
        except StorageError as error:
            refused.append(str(error))

    with folder.locked():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [f"another process has held {path / 'lock'} for 0.05 s"]
    with folder.locked(patience=0):
        pass
