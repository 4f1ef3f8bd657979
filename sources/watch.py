"""Wakes a reader when something under the paths it reads may have changed.

Rule: the kernel's word is a hint that saves time, never the truth. Every second wakes the reader anyway, so what the
kernel does not report (a path that appears, a folder behind a link, a full inotify table) only takes longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from sources.files import is_folder

ANYWAY: Final = 1.0
"""Seconds after which the reader is woken whatever happens."""

_STEP_MS: Final = 2
"""Milliseconds without a further change after which changes are reported. watchfiles looks that often, which costs an
idle process 1.6 % of a core (10 ms: 0.7 %, but a change then waits 16 ms instead of 4)."""

_PARENTS_STEP_MS: Final = 10
"""The same for folders in which a path may appear or be replaced, which is rare."""

_TOGETHER_MS: Final = 40
"""Milliseconds for which an unbroken series of changes is held back at most."""

_Roots = frozenset[tuple[Path, int, int]]
"""What is watched: folders with device and inode, since a folder may be replaced by another of the same name."""


class Wake:
    """Says that it is time to look."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits, now or next."""
        self._event.set()

    def clear(self) -> None:
        """Forget what has been said so far: looking starts now."""
        self._event.clear()

    async def wait(self, seconds: float | None) -> None:
        """Wait until it is time to look, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass


async def watch(paths: Sequence[Path], wake: Wake) -> None:
    """Wake the reader of these paths, until cancelled. They need not exist yet."""
    absolute = tuple(path.absolute() for path in paths)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch(lambda: _folders(absolute), wake, absolute, recursive=True))
        tasks.create_task(_watch(lambda: _parents(absolute), wake, absolute, recursive=False))


async def _watch(roots: Callable[[], _Roots], wake: Wake, paths: Sequence[Path], *, recursive: bool) -> None:
    while True:
        watched = roots()
        try:
            await _until_other_roots(watched, roots, wake, paths, recursive=recursive)
        except OSError:
            await asyncio.sleep(ANYWAY)
        wake.set()


async def _until_other_roots(
    watched: _Roots, roots: Callable[[], _Roots], wake: Wake, paths: Sequence[Path], *, recursive: bool
) -> None:
    if not watched:
        await asyncio.sleep(ANYWAY)
        return

    def concerns(_change: Change, name: str) -> bool:
        return recursive or any(path.is_relative_to(name) for path in paths)

    changes = awatch(
        *sorted(path for path, _, _ in watched),
        watch_filter=concerns,
        step=_STEP_MS if recursive else _PARENTS_STEP_MS,
        debounce=_TOGETHER_MS,
        rust_timeout=int(ANYWAY * 1000),
        yield_on_timeout=True,
        recursive=recursive,
        ignore_permission_denied=True,
    )
    async with aclosing(changes):
        async for _ in changes:
            wake.set()
            if roots() != watched:
                return


def _folders(paths: Sequence[Path]) -> _Roots:
    """The folders that are read."""
    return _known(path for path in paths if is_folder(path))


def _parents(paths: Sequence[Path]) -> _Roots:
    """The folders in which a path that is a file, or is not there yet, would appear or be replaced."""
    return _known(next(parent for parent in path.parents if is_folder(parent)) for path in paths)


def _known(folders: Iterable[Path]) -> _Roots:
    found = set()
    for folder in folders:
        try:
            here = folder.stat()
        except OSError:
            continue
        found.add((folder, here.st_dev, here.st_ino))
    return frozenset(found)
