"""Folders that pods must see though their users may not pass through a folder above them, such as a Python below /root.

Rule: nothing's permissions change. A pod sees, in place of the closed folder, one that holds what it needs and no more.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.executables import executable
from local.sandbox import SandboxError

Reopened = Mapping[Path, Path]
"""A folder to mount, and the closed one it takes the place of."""


def needed(manifests: Iterable[Path]) -> list[Path]:
    """What pods run and read of this machine beyond the system's own: Python, its packages, the manifests' folders."""
    folders = (path.absolute() if path.is_dir() else path.absolute().parent for path in manifests)
    packages = (Path(entry) for entry in sys.path if entry)
    return [
        path for path in dict.fromkeys([Path(sys.prefix), Path(sys.base_prefix), *packages, *folders]) if path.is_dir()
    ]


def closed(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """The outermost folder that others may not pass through, for each path that has one above it."""
    found: dict[Path, list[Path]] = {}
    for path in paths:
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & 0o001:
                found.setdefault(parent, []).append(path)
                break
    return found


async def reopen(paths: Iterable[Path], folder: Path) -> Reopened:
    """Make the folders that take the place of closed ones, in `folder`. Raises SandboxError."""
    lines: list[str] = []
    made: dict[Path, Path] = {}
    for number, (above, below) in enumerate(sorted(closed(paths).items())):
        stage = folder / str(number)
        made[stage] = above
        lines.append(f"mkdir -p {_quoted(stage)}; mount -t tmpfs -o mode=0755 tmpfs {_quoted(stage)}")
        # Parents first, so that what lies inside another needed folder is there already.
        for path in sorted(below):
            target = stage / path.relative_to(above)
            lines.append(f"[ -d {_quoted(target)} ] || mkdir -p {_quoted(target)}")
            lines.append(f"mount --bind {_quoted(path)} {_quoted(target)}")
            lines.append(f"mount -o remount,bind,ro {_quoted(target)}")
    await _shell("\n".join(lines))
    return made


async def _shell(script: str) -> None:
    process = await asyncio.create_subprocess_exec(
        executable("sh"), "-ec", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise SandboxError(f"folders for pods could not be made: {said.decode(errors='replace').strip()}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
