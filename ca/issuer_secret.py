"""The issuers of one trust domain, kept in a Secret that all replicas share, with what each of them reports.

Rule: whoever writes has read what it replaces (resourceVersion), so of several that make a root one wins and the others
use its, and a step of a rotation is taken on reports that nobody has changed meanwhile. What a person broke in the
Secret is told and not used; a Secret that is gone is written again from memory.
Source: Kubernetes API concepts, "Resource versions"; API reference, core/v1 Secret.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog

from ca.advancing import look, rotating, taken_over
from ca.keeping import INTERMEDIATE, NAMES, ROOT, Kept, Progress, asked_of, from_data, renamed, to_data
from ca.reports import NOTHING_SEEN, Attendance, Report, Seen, longest_leaf, read_report, report
from ca.rotation import Wish
from ca.sealing import Sealing
from ca.settling import Issuers, Lifetimes
from ca.storage import StorageError
from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock

__all__ = ["INTERMEDIATE", "NAME", "ROOT", "IssuerSecret"]

NAME: Final = "weft-ca"
REPLICA: Final = "replica."
"""What the keys of reports begin with; the replica's name follows."""
MOST_TRIES: Final = 5
"""Somebody else may be faster; then there is something to read."""
FAREWELL: Final = 2.0
"""Seconds for taking the report back when we end."""
NOT_FOUND: Final = 404
CONFLICT: Final = 409
"""Also the code of AlreadyExists."""

Secret = dict[str, Any]

log = structlog.get_logger(__name__)


class IssuerSecret:
    """Issuers kept in the Secret `weft-ca`; implements ca.keeping.IssuerStore.

    `writes` says whether this replica may replace what is there; the first issuers are made by whoever comes first.
    `instance` is this replica's name, empty where it is the only one; `exists` says of another's name whether there
    is such a replica, None where that can't be known.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        trust_domain: str,
        lifetimes: Lifetimes,
        writes: Callable[[], bool],
        *,
        instance: str = "",
        exists: Callable[[str], bool | None] = lambda _: None,
        sealing: Sealing | None = None,
    ) -> None:
        self._sealing = sealing or Sealing()
        self._client = client
        self._namespace = namespace
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes
        self._writes = writes
        self._instance = instance
        self._attendance = Attendance(lambda name: name == instance or exists(name))
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._where = f"Secret {namespace}/{NAME}"
        self.progress: Progress | None = None

    async def opened(self, clock: Clock) -> Issuers:
        """The issuers as they should be now, made if there are none. Raises StorageError.

        This replica has reported itself by then, so no step is taken that it does not know of.
        """
        with _in_words(self._where):
            for _ in range(MOST_TRIES):
                secret = await self._get()
                kept = await self._read(secret) if secret is not None else Kept()
                settled = kept.settled(self._trust_domain, self._lifetimes, clock, self._where)
                ours = report(settled.issuers, self._lifetimes.leaf, NOTHING_SEEN, clock.passed())
                if await self._swap(secret, settled.issuers, ours, self._predecessors(secret)):
                    settled.tell()
                    return settled.issuers
        raise StorageError(f"{self._where} is changed by others all the time")

    async def refreshed(self, issuers: Issuers, clock: Clock, seen: Seen = NOTHING_SEEN) -> Issuers:
        """The issuers of the Secret as it is now, in place of these. Raises StorageError."""
        with _in_words(self._where):
            secret = await self._get()
            if secret is None:
                return await self._restored(issuers)
            kept = await self._read(secret)
            if kept.intermediate is None and kept.root and kept.root.certificate == issuers.root.certificate:
                if self._writes():
                    await self._swap(secret, issuers, None)
                return issuers
            found = taken_over(kept, issuers, self._where, clock.now())
            if found is not issuers:
                return found
            return await self._moved_on(secret, issuers, clock, seen)

    async def ask(self, wish: Wish) -> Issuers:
        """Write down what a person wants; the holder of the lease does it. Raises StorageError."""
        return await self._rewritten(lambda kept, _: asked_of(kept, wish, self._where))

    async def rename(self, name: str, clock: Clock) -> Issuers:
        """Begin the change to this trust domain. Raises StorageError."""
        return await self._rewritten(lambda kept, leaf: renamed(kept, name, leaf, clock.now(), self._where))

    async def _rewritten(self, change: Callable[[Kept, timedelta], Issuers]) -> Issuers:
        """What is kept, changed; `change` is told the longest life of leaves."""
        with _in_words(self._where):
            for _ in range(MOST_TRIES):
                secret = await self._get()
                if secret is None:
                    raise StorageError(f"{self._where} is not there")
                leaf = longest_leaf(self._reports(secret).values(), self._lifetimes.leaf)
                asked = change(await self._read(secret), leaf)
                if await self._swap(secret, asked, None):
                    return asked
        raise StorageError(f"{self._where} is changed by others all the time")

    async def farewell(self) -> None:
        """Take our report back. Where that fails others wait until they see that we are gone."""
        with contextlib.suppress(ApiError, ApiUnavailable, StorageError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for _ in range(MOST_TRIES):
                    secret = await self._get()
                    key = REPLICA + self._instance
                    if secret is None or key not in (secret.get("data") or {}):
                        return
                    if await self._update(secret, {key: None}):
                        return

    async def _moved_on(self, secret: Secret, issuers: Issuers, clock: Clock, seen: Seen) -> Issuers:
        """Report, decide, and if this replica may: write the next step. What is not written is not used."""
        leaf, reports = self._lifetimes.leaf, self._reports(secret)
        ours = reports[self._instance] = report(issuers, leaf, seen, clock.passed())
        leaf = longest_leaf(reports.values(), leaf)
        if rotating(issuers):
            reports = self._attendance.present(reports, max(leaf, issuers.rotation.leaf), clock.passed())
        else:
            self._attendance.begin()
        looked = look(issuers, reports, seen, leaf, self._trust_domain, self._lifetimes, clock.now())
        self.progress = looked.progress
        if not self._writes() or looked.after is issuers:
            await self._tell(secret, ours, clock)
            return issuers
        if not await self._swap(secret, looked.after, ours, self._gone(secret, clock)):
            return issuers
        log.info(str(looked.progress.step.action), reason=looked.progress.step.reason)
        return looked.after

    async def _tell(self, secret: Secret, ours: Report, clock: Clock) -> None:
        """Bring our own report up to date, and nothing else; should somebody be faster, the next look does it."""
        changes: dict[str, bytes | None] = dict.fromkeys(self._gone(secret, clock)) if self._writes() else {}
        if self._instance:
            changes[REPLICA + self._instance] = msgspec.json.encode(ours)
        data = secret.get("data") or {}
        if changes := {name: each for name, each in changes.items() if _decoded(data, name) != each}:
            await self._update(secret, changes)

    async def _restored(self, issuers: Issuers) -> Issuers:
        """Write these down again: without them the next start would make a root that no running proxy trusts."""
        if self._writes():
            await self._swap(None, issuers, None)
        return issuers

    async def _swap(
        self, secret: Secret | None, issuers: Issuers, ours: Report | None, drop: tuple[str, ...] = ()
    ) -> bool:
        """Whether this is in the Secret now, in place of what was read; False when another was faster."""
        # Sealing takes a moment, and may ask somebody far away.
        sealed = await asyncio.to_thread(self._sealing.closed, to_data(issuers))
        wanted: dict[str, bytes | None] = {**dict.fromkeys(NAMES), **dict.fromkeys(drop), **sealed}
        if ours is not None and self._instance:
            wanted[REPLICA + self._instance] = msgspec.json.encode(ours)
        if secret is None:
            return await self._create({name: each for name, each in wanted.items() if each is not None})
        data = secret.get("data") or {}
        changes = {name: each for name, each in wanted.items() if _decoded(data, name) != each}
        return await self._update(secret, changes) if changes else True

    def _reports(self, secret: Secret) -> dict[str, Report]:
        data = secret.get("data") or {}
        found = [name for name in data if name.startswith(REPLICA)]
        return {name.removeprefix(REPLICA): read_report(_decoded(data, name) or b"") for name in found}

    def _gone(self, secret: Secret, clock: Clock) -> tuple[str, ...]:
        """The keys of reports whose replicas are known to be gone."""
        others = [name for name in self._reports(secret) if name != self._instance]
        return tuple(REPLICA + name for name in others if self._attendance.is_gone(name, clock.passed()))

    def _predecessors(self, secret: Secret | None) -> tuple[str, ...]:
        """The keys of reports of earlier processes in this pod: `<pod>_<something>`."""
        pod, mark, _ = self._instance.rpartition("_")
        if not mark or secret is None:
            return ()
        return tuple(REPLICA + name for name in self._reports(secret) if name.rpartition("_")[0] == pod)

    async def _read(self, secret: Secret) -> Kept:
        data = secret.get("data") or {}
        there = {name: found for name in NAMES if (found := _decoded(data, name)) is not None}
        opened = await asyncio.to_thread(self._sealing.opened, there, self._place)
        return from_data(opened, self._trust_domain, self._place)

    async def _get(self) -> Secret | None:
        try:
            secret: Secret = await self._client.request("GET", f"{self._collection}/{NAME}")
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return secret

    async def _create(self, contents: Mapping[str, bytes]) -> bool:
        metadata = {"name": NAME, "namespace": self._namespace, "labels": {"app.kubernetes.io/part-of": "weft"}}
        data = {name: b64encode(content).decode() for name, content in contents.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        return await self._succeeds("POST", self._collection, body)

    async def _update(self, secret: Secret, changes: Mapping[str, bytes | None]) -> bool:
        """Whether these keys were replaced, or removed (None), all at once."""
        kept = {name: each for name, each in (secret.get("data") or {}).items() if name not in changes}
        news = {name: b64encode(each).decode() for name, each in changes.items() if each is not None}
        return await self._succeeds("PUT", f"{self._collection}/{NAME}", {**secret, "data": {**kept, **news}})

    async def _succeeds(self, method: str, path: str, body: Secret) -> bool:
        try:
            await self._client.request(method, path, body=body)
        except ApiError as error:
            if error.code in {CONFLICT, NOT_FOUND}:
                return False
            raise
        return True

    def _place(self, name: str) -> str:
        return f"{self._where}, data[{name}],"


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Failures of the API server as StorageError."""
    try:
        yield
    except (ApiError, ApiUnavailable) as error:
        raise StorageError(f"{where} can't be used: {error}") from error


def _decoded(data: Mapping[str, Any], name: str) -> bytes | None:
    """The bytes under this name; what is no base64 was never ours and is refused where it is read."""
    if data.get(name) is None:
        return None
    try:
        return b64decode(data[name], validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""
