"""Files that others read while they change: objects for the control plane, volumes and hosts files for pods.

Rule: a reader sees the old content or the new, and a file whose content did not change is not touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from local.volumes import VolumeFiles


def replace_file(path: Path, content: bytes, mode: int = 0o644, owner: int | None = None) -> None:
    """Write a file by renaming a finished one over it."""
    if _same(path, content):
        return
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.chmod(mode)
    if owner is not None:
        os.chown(new, owner, owner)
    new.replace(path)


def rewrite_file(path: Path, content: bytes) -> None:
    """Write a file in place, for one that is bind-mounted: a rename would leave the mount with the old file."""
    if _same(path, content):
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(handle, content, 0)
        os.ftruncate(handle, len(content))
    finally:
        os.close(handle)


def write_volume(folder: Path, volume: VolumeFiles, owner: int | None) -> None:
    """Make a volume's folder hold these files and no others."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    wanted = {folder / name for name in volume.files}
    for found in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        found.unlink()
    for name, content in volume.files.items():
        path = folder / name
        if folder not in path.resolve().parents:
            continue
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        private = name in volume.secret and owner is not None
        replace_file(path, content, 0o600 if private else 0o644, owner if private else None)


def write_objects(folder: Path, objects: Mapping[str, bytes]) -> None:
    """Make a folder hold one JSON file per object, by file name, and no others."""
    for found in folder.glob("*.json"):
        if found.name not in objects:
            found.unlink()
    for name, content in objects.items():
        replace_file(folder / name, content)


def _same(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False
