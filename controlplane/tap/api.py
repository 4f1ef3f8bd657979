"""GET /tap of the admin API: the requests of some pods, as they happen, one JSON object a line.

Rule: it is answered to somebody on the control plane's own machine (loopback or the Unix socket), and to who has the
right in the cluster. Nobody who reads slowly is waited for: what he misses is counted and told to him.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import StreamingResponse

from controlplane.door.here import check_here
from controlplane.tap.wanted import Target, Wanted, target
from mesh.model import PodId
from xds.names import node_id
from xds.tapping import Taps
from xds.told import Told

UNREAD: Final = 1_000
"""Requests that wait for a slow reader."""
LOOK_EVERY: Final = 1.0
"""Seconds between two looks at which pods there are; as often a reader is told an empty line."""
WATCHERS: Final = 32
ELSEWHERE: Final = "requests are shown to somebody on the control plane's own machine or in its pod"


def tap_routes(taps: Taps | None, known: Callable[[], Iterable[PodId]]) -> APIRouter:
    """The route. `taps` is None where watching is switched off for the mesh; `known` are the meshed pods."""
    routes = APIRouter()
    sessions: set[Session] = set()

    @routes.get("/tap")
    async def tap(
        request: Request,
        wanted_target: Annotated[str, Query(alias="target")],
        namespace: str = "default",
        path: str = "",
        method: str = "",
        status: str = "",
        peer: str = "",
        port: int = 0,
    ) -> StreamingResponse:
        check_here(request, ELSEWHERE)
        if taps is None:
            raise HTTPException(409, "requests of this mesh can't be watched: its control plane runs with --no-tap")
        try:
            target_ = target(wanted_target, namespace)
            wanted = Wanted(path=path, method=method, status=status, peer=peer, port=port)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        if not target_.pods(known()):
            raise HTTPException(404, f"no meshed pod is known for {target_}")
        if len(sessions) >= WATCHERS:
            raise HTTPException(429, f"{WATCHERS} people watch already")
        session = Session(taps, target_, wanted, known)
        sessions.add(session)
        lines = session.lines(lambda: sessions.discard(session))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return routes


class Session:
    """One person who watches."""

    def __init__(self, taps: Taps, target_: Target, wanted: Wanted, known: Callable[[], Iterable[PodId]]) -> None:
        self._taps = taps
        self._target = target_
        self._wanted = wanted
        self._known = known
        self._unread: asyncio.Queue[Told] = asyncio.Queue(UNREAD)
        self._missed = 0

    async def lines(self, gone: Callable[[], None]) -> AsyncGenerator[bytes]:
        """What the reader is told, until the reader leaves; `gone` is called then."""
        watcher = self._taps.watch(self._take)
        pods: frozenset[PodId] = frozenset()
        try:
            while True:
                if (now := self._target.pods(self._known())) != pods:
                    pods = now
                    self._taps.turn(watcher, pods)
                    yield _line({"watching": sorted(map(node_id, pods))})
                else:
                    yield b"\n"
                async for line in self._until_look():
                    yield line
        finally:
            self._taps.leave(watcher)
            gone()

    async def _until_look(self) -> AsyncIterator[bytes]:
        until = asyncio.get_running_loop().time() + LOOK_EVERY
        while True:
            try:
                async with asyncio.timeout_at(until):
                    request = await self._unread.get()
            except TimeoutError:
                return
            yield _line(request_view(request))
            if self._missed:
                missed, self._missed = self._missed, 0
                yield _line({"missed": missed})

    def _take(self, request: Told) -> None:
        if not self._wanted.takes(request):
            return
        try:
            self._unread.put_nowait(request)
        except asyncio.QueueFull:
            self._missed += 1


def request_view(request: Told) -> dict[str, Any]:
    """One request as JSON values; the pod as `NAMESPACE/NAME`."""
    return {**asdict(request), "pod": node_id(request.pod)}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
