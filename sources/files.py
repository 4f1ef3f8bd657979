"""Which files a source reads. Rule: the order is the same on every machine, and only regular files are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".yaml", ".yml", ".json")
_PARTS: Final = attrgetter("parts")


@dataclass(frozen=True, slots=True)
class Signature:
    """Tells one state of a file from another without reading it."""

    changed_ns: int
    size: int
    inode: int


def signature(path: Path) -> Signature | None:
    """The signature of a regular file, None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino)


def is_folder(path: Path) -> bool:
    """Whether this is a folder that can be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def fault(path: Path) -> str:
    """Why nothing can be read at a path, as a sentence; empty if something can."""
    try:
        path.stat()
    except (OSError, ValueError):
        return "There is no such file or folder; it is read as soon as there is."
    if os.access(path, os.R_OK):
        return ""
    return "The permission to read this is missing; it is read as soon as it is there."


def manifest_files(paths: Sequence[Path]) -> list[Path]:
    """The files meant by these paths: files as given, of folders all manifests in them, in order, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        for file in sorted(_within(path), key=_PARTS) if is_folder(path) else [path]:
            if signature(file):
                found.setdefault(file)
    return list(found)


def _within(folder: Path) -> Iterator[Path]:
    """The manifests in a folder. Hidden entries are left out, as editors and ConfigMap volumes leave them."""
    seen: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        try:
            here = Path(name).stat()
        except OSError:  # gone since it was listed
            continue
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        for entry in files:
            if not entry.startswith(".") and entry.endswith(SUFFIXES):
                yield Path(name, entry)
