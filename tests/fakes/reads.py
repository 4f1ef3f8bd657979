"""Get, list and watch. Rule: what a list says at a resourceVersion and what a watch says from it fit together.

Source: Kubernetes API concepts (changes, chunks, streaming lists).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tests.fakes import errors, events, selectors, tables
from tests.fakes.errors import Cause, StatusError
from tests.fakes.kinds import Kind, storage_key
from tests.fakes.requests import Call, Reply, Stream, is_true
from tests.fakes.storage import Event, Feed, Object, Stored, TooOldError

if TYPE_CHECKING:
    from tests.fakes.api import Api

INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
LIST_TOO_OLD = "The resourceVersion for the provided list is too old."
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class Selection:
    """Which objects a list or watch is about."""

    namespace: str
    test: selectors.Test

    def holds(self, stored: Stored | None) -> bool:
        if stored is None:
            return False
        if self.namespace and stored.object["metadata"].get("namespace", "") != self.namespace:
            return False
        return self.test(stored.object)


def selection(call: Call) -> Selection:
    """From labelSelector, fieldSelector and the path."""
    tests: list[selectors.Test] = []
    if text := call.query.get("labelSelector", ""):
        tests.append(selectors.labels(text))
    if text := call.query.get("fieldSelector", ""):
        tests.append(selectors.fields(text, call.kind.plural, _selectable(call.kind)))
    return Selection(call.namespace, lambda each: all(test(each) for test in tests))


def _selectable(kind: Kind) -> frozenset[str] | None:
    """The fields a custom kind can be selected by beside its name; None for a built-in kind."""
    if kind.crd is None:
        return None
    for version in (kind.crd or {}).get("spec", {}).get("versions", []):
        if version["name"] == kind.version:
            return frozenset(each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or [])
    return frozenset()


def number(text: str) -> int:
    """A resourceVersion; raises 400 for anything else than a number."""
    if not text.isdigit():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.bad_request(f'invalid resource version: resourceVersion: Invalid value: "{text}": {why}')
    return int(text)


class Reader:
    """Answers get, list and watch."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, call: Call) -> Reply:
        stored = self._api.store.get(storage_key(call.kind), (self._api.place(call)))
        if stored is None:
            raise errors.not_found(call.kind.group, call.kind.plural, call.name)
        self._not_in_the_future(call.query.get("resourceVersion", ""))
        (body,) = await self.encoded(call.kind, [stored])
        return tables.shown(call, [body], None) or Reply(200, body)

    async def list_all(self, call: Call) -> Reply:
        _check_list_options(call)
        chosen, key = selection(call), storage_key(call.kind)
        version, start = self._list_version(call)
        try:
            found = self._api.store.at(key, version, call.namespace)
        except TooOldError:
            raise self._too_old(call, start) from None
        matching = [each for each in found if chosen.holds(each) and _order(each) > start]
        limit = _whole(call, "limit")
        page = matching[:limit] if limit else matching
        meta: Object = {"resourceVersion": str(version)}
        if call.kind.crd is not None:
            meta = {"continue": "", **meta}
        if limit and page and len(page) == limit and _order(page[-1]) < _order(found[-1]):
            meta["continue"] = _token(version, _order(page[-1]))  # whatever follows may match nothing
            if not (call.query.get("labelSelector") or call.query.get("fieldSelector")):
                meta["remainingItemCount"] = len(matching) - len(page)
        items = await self.encoded(call.kind, page, of_list=True)
        return tables.shown(call, items, meta) or Reply(200, list_document(call.kind, meta, items))

    def _list_version(self, call: Call) -> tuple[int, str]:
        """The resourceVersion to list at and the place after which to start."""
        current = self._api.store.version
        if token := call.query.get("continue", ""):
            version, start = _from_token(token)
            return (current if version < 0 else version), start
        wanted = call.query.get("resourceVersion", "")
        self._not_in_the_future(wanted)
        exact = call.query.get("resourceVersionMatch") == "Exact"
        if exact or (
            wanted not in {"", "0"} and call.query.get("limit") and not call.query.get("resourceVersionMatch")
        ):
            return number(wanted), ""
        return current, ""

    def _not_in_the_future(self, wanted: str) -> None:
        if wanted and number(wanted) > self._api.store.version:
            raise errors.too_large_version(number(wanted), self._api.store.version)

    def _too_old(self, call: Call, start: str) -> StatusError:
        if not call.query.get("continue"):
            return errors.expired(LIST_TOO_OLD)
        error = errors.expired(INCONSISTENT)
        error.list_meta = {"continue": _token(-1, start)}
        return error

    async def encoded(self, kind: Kind, found: Sequence[Stored], of_list: bool = False) -> list[bytes]:
        """JSON of each in the kind's version; items of a built-in kind's list carry no kind and apiVersion."""
        if not found:
            return []
        if kind.crd is None:
            if kind.group == "events.k8s.io" or kind.key == ("", "events"):
                return [msgspec.json.encode(events.shown(each.object, kind, of_list)) for each in found]
            return [each.bare if of_list else each.typed for each in found]
        others = [each for each in found if each.object["apiVersion"] != kind.api_version]
        if not others:
            return [each.typed for each in found]
        converted = await self._api.conversion.convert(kind, [each.object for each in others], kind.api_version)
        texts = {id(old): msgspec.json.encode(new) for old, new in zip(others, converted, strict=True)}
        return [texts.get(id(each)) or each.typed for each in found]

    async def watch(self, call: Call) -> Stream:
        _check_watch_options(call)
        chosen = selection(call)
        feed = Feed()
        key = storage_key(call.kind)
        self._api.store.feeds.setdefault(key, set()).add(feed)
        return Stream(self._watched(call, chosen, feed))

    async def _watched(self, call: Call, chosen: Selection, feed: Feed) -> AsyncGenerator[bytes]:
        store, key = self._api.store, storage_key(call.kind)
        try:
            try:
                start = self._start(call, chosen, feed)
            except TooOldError as old:
                said = f"too old resource version: {call.query['resourceVersion']} ({old.oldest})"
                yield _line("ERROR", msgspec.json.encode(errors.expired(said).status()))
                return
            async for line in self._events(call, chosen, start):
                yield line
            if is_true(call.query.get("sendInitialEvents", "")) and _bookmarked(call):
                yield self._bookmark(call, {INITIAL_EVENTS_END: "true"})
            async for line in self._live(call, chosen, feed):
                yield line
        finally:
            store.feeds.get(key, set()).discard(feed)

    def _start(self, call: Call, chosen: Selection, feed: Feed) -> list[Event]:
        """The events to begin with. The feed was joined in the same step, so nothing is missed or sent twice."""
        store, key = self._api.store, storage_key(call.kind)
        wanted = call.query.get("resourceVersion", "")
        feed.waiting.clear()
        if is_true(call.query.get("sendInitialEvents", "")) or (
            wanted in {"", "0"} and "sendInitialEvents" not in call.query
        ):
            return [Event("ADDED", each, None) for each in store.all(key, call.namespace) if chosen.holds(each)]
        if wanted in {"", "0"}:
            return []
        return store.since(key, number(wanted))

    async def _live(self, call: Call, chosen: Selection, feed: Feed) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + float(call.query.get("timeoutSeconds") or self._api.watch_seconds)
        mark = _next_bookmark(loop.time(), end, self._api.bookmark_seconds)
        while not feed.ended or feed.waiting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feed.woken.wait(), max(min(end, mark) - loop.time(), 0))
            feed.woken.clear()
            while feed.waiting:
                async for line in self._events(call, chosen, [feed.waiting.popleft()]):
                    yield line
            if _bookmarked(call) and (feed.bookmark or loop.time() >= mark):
                yield self._bookmark(call, {})
            if loop.time() >= mark:
                mark = _next_bookmark(loop.time(), end, self._api.bookmark_seconds)
            feed.bookmark = False
            if loop.time() >= end:
                return

    async def _events(self, call: Call, chosen: Selection, writes: Sequence[Event]) -> AsyncIterator[bytes]:
        for event in writes:
            shown = _seen_as(event, chosen)
            if shown is None:
                continue
            kind, stored = shown
            try:
                (body,) = await self.encoded(call.kind, [stored])
            except StatusError as error:
                yield _line("ERROR", msgspec.json.encode(error.status()))
                return
            reply = tables.shown(call, [body], None)
            yield _line(kind, reply.body if reply else body)

    def _bookmark(self, call: Call, annotations: dict[str, str]) -> bytes:
        metadata: Object = {"resourceVersion": str(self._api.store.version)}
        if annotations:
            metadata["annotations"] = annotations
        head = {"kind": call.kind.kind, "apiVersion": call.kind.api_version}
        return _line("BOOKMARK", msgspec.json.encode({**head, "metadata": metadata}))


def _bookmarked(call: Call) -> bool:
    return is_true(call.query.get("allowWatchBookmarks", ""))


def _next_bookmark(now: float, end: float, pause: float) -> float:
    """When to send the next bookmark: after `pause`, and two seconds before the watch ends."""
    last = end - 2
    return min(now + pause, last) if now < last else end + 1


def _seen_as(event: Event, chosen: Selection) -> tuple[str, Stored] | None:
    """How a watch with a selector sees a write: an object that begins or ceases to match appears or goes."""
    now = event.type != "DELETED" and chosen.holds(event.after)
    before = chosen.holds(event.before)
    if now:
        return ("MODIFIED" if before else "ADDED"), event.after
    if not before or event.before is None:
        return None
    metadata = {**event.before.object["metadata"], "resourceVersion": str(event.version)}
    return "DELETED", Stored({**event.before.object, "metadata": metadata}, event.version)


def _line(kind: str, body: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


def list_document(kind: Kind, meta: Object, items: Sequence[bytes]) -> bytes:
    head = {"kind": kind.list_name, "apiVersion": kind.api_version, "metadata": meta}
    return msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}\n"


def _whole(call: Call, name: str) -> int:
    """A number of the query, 0 where it is not given; raises 400."""
    text = call.query.get(name) or "0"
    if not text.isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _order(stored: Stored) -> str:
    """The place of an object in a list."""
    metadata = stored.object["metadata"]
    return f"{metadata.get('namespace', '')}\x00{metadata['name']}"


def _token(version: int, start: str) -> str:
    text = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _from_token(token: str) -> tuple[int, str]:
    try:
        found: Any = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"])
    except (msgspec.DecodeError, binascii.Error, KeyError, TypeError, ValueError):
        raise errors.bad_request("invalid continue token: continue key is not valid") from None


def _check_list_options(call: Call) -> None:
    query, causes = call.query, []
    match = query.get("resourceVersionMatch", "")
    if match:
        causes = list(_match_causes(match, query.get("resourceVersion", ""), query.get("continue", "")))
    if "sendInitialEvents" in query:
        causes.append(_refused("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _raise(causes)
    if query.get("continue") and query.get("resourceVersion", "") not in {"", "0"}:
        raise errors.bad_request("specifying resource version is not allowed when using continue")


def _match_causes(match: str, version: str, token: str) -> list[Cause]:
    causes, where = [], "resourceVersionMatch"
    if not version:
        causes.append(_refused(where, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if token:
        causes.append(_refused(where, "resourceVersionMatch is forbidden when continue is provided"))
    if match not in {"Exact", "NotOlderThan"}:
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(Cause(where, text, "FieldValueNotSupported"))
    if match == "Exact" and version == "0":
        causes.append(_refused(where, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return causes


def _check_watch_options(call: Call) -> None:
    query, causes, where = call.query, [], "resourceVersionMatch"
    match = query.get(where, "")
    if "sendInitialEvents" in query and match != "NotOlderThan":
        causes.append(_refused(where, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match and "sendInitialEvents" not in query:
        causes.append(
            _refused(where, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        )
    if match and match != "NotOlderThan":
        text = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        causes.append(Cause(where, text, "FieldValueNotSupported"))
    _raise(causes)
    if not (version := query.get("resourceVersion", "0") or "0").isdigit():
        why = f'strconv.ParseUint: parsing "{version}": invalid syntax'
        raise StatusError(500, "", f'resourceVersion: Invalid value: "{version}": {why}')


def _refused(where: str, why: str) -> Cause:
    return Cause(where, f"Forbidden: {why}", "FieldValueForbidden")


def _raise(causes: Sequence[Cause]) -> None:
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)
