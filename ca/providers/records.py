"""Where it is written down which roots of a provider are trusted, with what each replica reports of its proxies.

Rule: whoever writes has read what it replaces, so a root that one replica saw is lost by none. There are no keys here,
but whoever may write it decides whom the mesh trusts: so it is a Secret.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from ca.providers.trust import Judged, Record, read_record
from ca.reports import Attendance, Report, read_report
from ca.storage import Folder, StorageError
from kube.client import ApiError, ApiUnavailable, Client

NAME: Final = "weft-trusted-roots"
"""The Secret in the control plane's namespace."""
ROOTS: Final = "roots.json"
FILE: Final = "trusted-roots.json"
REPLICA: Final = "replica."
MOST_TRIES: Final = 5
NOT_FOUND: Final = 404
CONFLICT: Final = 409

Judge = Callable[[Record, Mapping[str, Report]], Judged]


class Records(Protocol):
    """The record that all replicas share."""

    async def exchanged(self, judge: Judge, ours: Report, passed: float) -> Judged:
        """Read, have it judged with what all replicas report, `ours` among them, and write what came of it.

        `passed` are the seconds of our clock. Raises StorageError: then nothing was written.
        """


class FolderRecords:
    """In the folder of a control plane that is alone."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    async def exchanged(self, judge: Judge, ours: Report, passed: float) -> Judged:  # noqa: ARG002 - nobody is silent
        """As Records says."""
        return await asyncio.to_thread(self._exchanged, judge, ours)

    def _exchanged(self, judge: Judge, ours: Report) -> Judged:
        with self._folder.locked():
            found = self._folder.read(FILE)
            record = read_record(found, str(self._folder.path / FILE)) if found is not None else Record()
            judged = judge(record, {"this process": ours})
            if judged.record != record:
                self._folder.write(FILE, msgspec.json.encode(judged.record))
            return judged


class SecretRecords:
    """In a Secret of the control plane's namespace. `exists` says whether there is a replica of this name."""

    def __init__(
        self, client: Client, namespace: str, instance: str, exists: Callable[[str], bool | None], patience: float
    ) -> None:
        """A replica of which nothing is known counts for `patience` seconds after it last said something new."""
        self._client = client
        self._namespace = namespace
        self._instance = instance
        self._patience = patience
        self._attendance = Attendance(lambda name: name == instance or exists(name))
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._where = f"Secret {namespace}/{NAME}"

    async def exchanged(self, judge: Judge, ours: Report, passed: float) -> Judged:
        """As Records says."""
        try:
            for _ in range(MOST_TRIES):
                found = await self._read()
                data = {key: _decoded(each) for key, each in ((found or {}).get("data") or {}).items()}
                judged = self._judged(data, judge, ours, passed)
                wanted = self._data(data, judged.record, ours, passed)
                if wanted == data or await self._write(found, wanted):
                    return judged
        except (ApiError, ApiUnavailable) as error:
            raise StorageError(f"{self._where} can't be used: {error}") from error
        raise StorageError(f"{self._where} is changed by others all the time")

    def _judged(self, data: Mapping[str, bytes], judge: Judge, ours: Report, passed: float) -> Judged:
        record = read_record(data[ROOTS], f"{self._where}, data[{ROOTS}],") if ROOTS in data else Record()
        reports = {**_reports(data), self._instance: ours}
        if all(entry.held for entry in record.entries):
            # Nothing is under way: replicas have nothing new to say, and none is silent.
            self._attendance.begin()
        return judge(record, self._attendance.present(reports, timedelta(seconds=self._patience), passed))

    def _data(self, data: Mapping[str, bytes], record: Record, ours: Report, passed: float) -> dict[str, bytes]:
        """What the Secret should hold: no reports of replicas that are known to be gone."""
        gone = {name for name in _reports(data) if name != self._instance and self._attendance.is_gone(name, passed)}
        kept = {key: each for key, each in data.items() if key.removeprefix(REPLICA) not in gone}
        own = {REPLICA + self._instance: msgspec.json.encode(ours)}
        return {**kept, **own, ROOTS: msgspec.json.encode(record)}

    async def _read(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._client.request("GET", f"{self._collection}/{NAME}")
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return found

    async def _write(self, found: dict[str, Any] | None, data: dict[str, bytes]) -> bool:
        """Whether it is so now; False when another was faster."""
        encoded = {key: b64encode(each).decode() for key, each in data.items()}
        try:
            if found is not None:
                await self._client.request("PUT", f"{self._collection}/{NAME}", body={**found, "data": encoded})
            else:
                labels = {"app.kubernetes.io/part-of": "weft"}
                metadata = {"name": NAME, "namespace": self._namespace, "labels": labels}
                body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": encoded}
                await self._client.request("POST", self._collection, body=body)
        except ApiError as error:
            if error.code in {CONFLICT, NOT_FOUND}:
                return False
            raise
        return True


def _decoded(text: str) -> bytes:
    """The bytes; what is no base64 was never ours and is refused where it is read."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _reports(data: Mapping[str, bytes]) -> dict[str, Report]:
    found = [key for key in data if key.startswith(REPLICA)]
    return {key.removeprefix(REPLICA): read_report(data[key]) for key in found}
