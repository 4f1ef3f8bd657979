"""What tests let go wrong. Rule: without being asked the server never misbehaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.fakes.requests import Reply, Request


class CutError(Exception):
    """The connection ends here, in the middle of a line."""

    def __init__(self, half: bytes) -> None:
        super().__init__("cut")
        self.half = half


@dataclass
class Faults:
    """Set by tests, from any thread; each number counts down as it is used."""

    delay: float = 0.0
    """Seconds every request waits."""
    cut_lines: int = 0
    """So many of the next watch lines are sent by half, and their connection ends."""
    duplicate_lines: int = 0
    """So many of the next watch lines are sent twice."""
    replies: deque[tuple[str, Reply]] = field(default_factory=deque)
    """(method and start of the path, answer): the next request that fits is answered so, once."""
    requests: list[tuple[str, str]] | None = None
    """When a list: every request's method and path with its query are noted."""

    def refuse(self, request: str, code: int, times: int = 1) -> None:
        """Answer the next `times` requests that begin with `request` (like `GET /api/v1/pods`) with a bare code."""
        body = f'{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","code":{code}}}'.encode()
        self.replies.extend((request, Reply(code, body)) for _ in range(times))

    async def before(self, request: Request) -> Reply | None:
        """Note, wait, refuse."""
        if self.requests is not None:
            self.requests.append((request.method, request.path))
        if self.delay:
            await asyncio.sleep(self.delay)
        for each in list(self.replies):
            if f"{request.method} {request.path}".startswith(each[0]):
                self.replies.remove(each)
                return each[1]
        return None

    async def on_lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A watch's lines, as they go out; raises CutError."""
        async for line in lines:
            if self.cut_lines > 0:
                self.cut_lines -= 1
                raise CutError(line[: len(line) // 2])
            yield line
            if self.duplicate_lines > 0:
                self.duplicate_lines -= 1
                yield line
