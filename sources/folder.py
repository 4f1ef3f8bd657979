"""Objects from manifests in files and folders, read once or followed live.

Rule: only files that changed are read again, and what is being written is never half believed. While a file can't be
read, its last good state stays; what disappears is gone only once its file has been still for a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kube.problem import Problem
from smi.resources import Resources
from sources.files import Signature, fault, manifest_files, signature
from sources.manifest import MAX_BYTES, Manifest, file_problem, read_manifest, read_own
from sources.merge import merged, reusing
from sources.store import Store
from sources.watch import Wake, watch

STILL: Final = 0.05
"""Seconds without a write after which a file counts as written."""

_AGAIN: Final = 0.02
"""Seconds until a file that may still be being written is looked at again."""


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of a file.

    `again`: look at it again soon, whatever its signature says. `gone`: since when it has not been there.
    """

    manifest: Manifest = field(default_factory=Manifest)
    signature: Signature | None = None
    digest: bytes = b""
    again: bool = False
    gone: float | None = None


class FolderSource:
    """Reads `paths`, files and folders. Objects in `overlay` stand in for those of the same name, without a Problem."""

    def __init__(
        self, paths: Sequence[Path], overlay: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._paths = tuple(paths)
        self._overlay = overlay
        self._clock = clock
        self._files: dict[Path, _File] = {}
        self._own: dict[Path, _File] = {}
        self._given: tuple[list[Manifest], list[Manifest], list[Problem]] = ([], [], [])
        self._merged = Resources()

    def read(self) -> Resources:
        """Everything as it is now, without waiting for anybody to finish writing."""
        return self._round(patient=False)

    def placed(self, problem: Problem) -> Problem:
        """The same Problem with the exact line of its field, if its object was read from a file a person wrote.

        Made for Problems found later on the way, which know at best where their object begins.
        """
        places = (file.manifest.place(problem.object, problem.field) for file in self._files.values())
        origin = next((place for place in places if place), problem.origin)
        return replace(problem, origin=origin)

    async def run(self, store: Store) -> None:
        """Keep the store at what the files say, until cancelled. At first nobody's writing is waited for."""
        store.replace(await asyncio.to_thread(self.read))
        wake = Wake()
        watched = (*self._paths, *([self._overlay] if self._overlay else []))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch(watched, wake))
            while True:
                wake.clear()
                store.replace(await asyncio.to_thread(self._round, patient=True))
                await wake.wait(_AGAIN if any(file.again for file in self._files.values()) else None)

    def _round(self, *, patient: bool) -> Resources:
        now = self._clock()
        files = {path: self._file(path, now, patient=patient) for path in manifest_files(self._paths)}
        for path, last in self._files.items():
            gone = now if last.gone is None else last.gone
            if patient and path not in files and now - gone < STILL:
                files[path] = replace(last, again=True, gone=gone)
        self._files = files
        if self._overlay:
            self._own = {path: self._own_file(path) for path in manifest_files([self._overlay])}
        missing = [file_problem(str(path), why) for path in self._paths if (why := fault(path))]
        given = ([file.manifest for file in files.values()], [file.manifest for file in self._own.values()], missing)
        if given != self._given:
            self._given, self._merged = given, merged(*given)
        return self._merged

    def _file(self, path: Path, now: float, *, patient: bool) -> _File:
        """A file as it is now, or as it was while that is not certain."""
        last = self._files.get(path, _File())
        found = signature(path)
        if found is None or (found == last.signature and not last.again):
            return last
        young = abs(now - found.changed_ns / 1e9) < STILL
        try:
            content = _content(path)
        except OSError as error:
            problem = file_problem(str(path), f"The file cannot be read: {error.strerror}.")
            return _File(_believed(Manifest(problems=(problem,), broken=True), last.manifest), found)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest == last.digest:
            return replace(last, signature=found, again=young, gone=None)
        fresh = read_manifest(str(path), content, last.manifest)
        if patient and young and _doubtful(fresh, last.manifest, content):
            return replace(last, again=True, gone=None)
        return _File(_believed(fresh, last.manifest), found, digest, again=young)

    def _own_file(self, path: Path) -> _File:
        """A file of the overlay. A program writes them, whole."""
        last = self._own.get(path, _File())
        found = signature(path)
        if found is None or found == last.signature:
            return last
        try:
            return _File(reusing(read_own(str(path), _content(path)), last.manifest), found)
        except OSError:
            return last


def _content(path: Path) -> bytes:
    """The bytes of a file, at most one more than are allowed."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _doubtful(fresh: Manifest, last: Manifest, content: bytes) -> bool:
    """Whether this looks like a file that somebody is in the middle of writing."""
    return fresh.broken or fresh.blank or not content.endswith(b"\n") or bool(last.refs - fresh.refs)


def _believed(fresh: Manifest, last: Manifest) -> Manifest:
    """What to go by: what the file says, and its last word on objects that may be in a part that can't be read."""
    if not (fresh.broken or fresh.blank):
        return reusing(fresh, last)
    kept = tuple(item for item in last.items if item.read.ref and item.read.ref not in fresh.refs)
    if not kept:
        return reusing(fresh, last)
    problems = tuple(
        replace(problem, message=f"{problem.message} What the file said last stays in force.")
        for problem in fresh.problems
    )
    if fresh.blank:
        file = kept[0].origin.file
        message = "The file is empty; what it said last stays in force. Delete the file to delete its objects."
        problems = (file_problem(file, message),)
    return replace(reusing(fresh, last), items=(*fresh.items, *kept), problems=problems)
