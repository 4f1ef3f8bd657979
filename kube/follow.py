"""Keeps a Collection at what the API server says: lists it in pages, then watches, for as long as it is wanted.

Rule: whatever goes wrong, the collection keeps its last state and another attempt is made, later each time. Only what
is certain ends it: the kind is not served here (NotServed).
Source: Kubernetes API concepts, "Efficient detection of changes" and "Retrieving large results sets in chunks".
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from kube.client import ApiError, ApiUnavailable, Client
from kube.collection import Collection, newest
from kube.shallow import decoded

PAGE: Final = 500
"""Objects in a page of a list, as kubectl asks for."""

WATCH_SECONDS: Final = (300, 600)
"""How long the server is asked to keep a watch, drawn anew each time so that not all end at once."""

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
"""Seconds between attempts; doubled each time, and half of it by chance."""

LIST_SECONDS: Final = 60.0


class NotServed(Exception):  # noqa: N818 - a state of the cluster, no mistake of ours
    """The API server does not know this kind."""


class Observer(Protocol):
    """Who wants to know how it goes."""

    def in_step(self) -> None:
        """The collection is what the server says, or was a moment ago."""

    def out_of_step(self, why: str) -> None:
        """An attempt failed; the next one comes by itself."""


class _PageMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _PageMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: _PageMeta


_PAGE: Final = msgspec.json.Decoder(_Page)
_EVENT: Final = msgspec.json.Decoder(_Event)
_BOOKMARK: Final = msgspec.json.Decoder(_Bookmark)


class Backoff:
    """How long to wait before the next attempt."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._next = FIRST_WAIT

    def reset(self) -> None:
        """It went well."""
        self._next = FIRST_WAIT

    def seconds(self, at_least: float = 0.0) -> float:
        """The next wait; `at_least` is what the server asked for."""
        wait, self._next = self._next, min(self._next * 2, LONGEST_WAIT)
        return max(wait * (0.5 + self._draw() / 2), at_least)


class Follower:
    """Follows one path, such as `/api/v1/pods`; of it what `selector` selects, a fieldSelector."""

    def __init__(
        self,
        client: Client,
        path: str,
        collection: Collection[Any],
        observer: Observer,
        sleep: Callable[[float], Awaitable[None]],
        backoff: Backoff | None = None,
        selector: str = "",
    ) -> None:
        self._client = client
        self._path = path
        self._collection = collection
        self._observer = observer
        self._sleep = sleep
        self._backoff = backoff or Backoff()
        self._selected = {"fieldSelector": selector} if selector else {}
        self._version = ""
        """Where the watch goes on; empty: a list comes first."""

    async def run(self) -> None:
        """Follow until cancelled. Raises NotServed."""
        while True:
            try:
                if not self._version:
                    self._version = await self._list()
                if not await self._watch():
                    # A server that ends every watch at once is not to be asked in a circle.
                    await self._sleep(min(self._backoff.seconds(), 1.0))
            except ApiError as error:
                await self._refused(error)
            except ApiUnavailable as error:
                await self._wait(str(error))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._version = ""
                await self._wait(f"{self._path}: the answer can't be read: {error}")

    async def _list(self) -> str:
        """Read everything, page by page. The resourceVersion of the list."""
        self._collection.begin()
        query = {"limit": str(PAGE), **self._selected}
        while True:
            page = decoded(
                _PAGE, await self._client.request_bytes("GET", self._path, query=query, seconds=LIST_SECONDS)
            )
            for item in page.items or ():
                self._collection.listed(item)
            if not page.metadata.continue_:
                break
            query = {"limit": str(PAGE), **self._selected, "continue": page.metadata.continue_}
        self._collection.complete(page.metadata.resource_version)
        self._observer.in_step()
        return page.metadata.resource_version

    async def _watch(self) -> bool:
        """Follow events until the server ends the watch, which is no failure. Whether it told anything."""
        told = False
        query = {
            **self._selected,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311 - spreads load, hides nothing
        }
        async with self._client.lines(self._path, query=query) as lines:
            self._observer.in_step()
            async for line in lines:
                self._take(decoded(_EVENT, line))
                self._backoff.reset()
                told = True
        return told

    def _take(self, event: _Event) -> None:
        """One event. Raises the ApiError that an ERROR event holds."""
        if event.type == "BOOKMARK":
            version = _BOOKMARK.decode(event.object).metadata.resource_version
        elif event.type == "ERROR":
            raise _error(event.object)
        else:
            version = self._collection.event(event.type, event.object)
        self._version = newest(self._version, version)

    async def _refused(self, error: ApiError) -> None:
        """The server's answer was no: what follows from it."""
        if error.code == 404:
            raise NotServed(self._path) from error
        if error.code == 410:
            # What we know is too old to go on from. It stays in force until the new list is whole.
            self._version = ""
            await self._sleep(self._backoff.seconds())
            return
        if error.code in {400, 500, 504}:  # it can't go on from there; 504 also stands for a version from the future
            self._version = ""
        await self._wait(error.message or str(error), _retry_after(error))

    async def _wait(self, why: str, at_least: float = 0.0) -> None:
        self._observer.out_of_step(why)
        await self._sleep(self._backoff.seconds(at_least))


def _error(raw: msgspec.Raw) -> ApiError:
    """The metav1.Status of an ERROR event."""
    status = msgspec.json.decode(raw)
    known = status if isinstance(status, dict) else {}
    code, details = known.get("code"), known.get("details")
    return ApiError(
        code if isinstance(code, int) else 500, str(known.get("reason", "")), str(known.get("message", "")),
        details if isinstance(details, dict) else {},
    )  # fmt: skip


def _retry_after(error: ApiError) -> float:
    """Seconds the server asked to wait."""
    asked = error.details.get("retryAfterSeconds")
    return min(float(asked), 60.0) if isinstance(asked, int | float) else 0.0
