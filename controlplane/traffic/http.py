"""Plain HTTP questions to sidecars and to Prometheus.

Rule: whatever goes wrong is an OSError. Whoever answers may be hostile: redirects are not followed, for who answers
must not choose whom we ask, and nothing is unpacked, for it may be a thousand times as long as it looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


class AnsweredError(OSError):
    """There is an answer, and it is not 200 but `status`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the answer is {status}: {text}")
        self.status = status


class Http:
    """Keeps connections for a while; `close` ends them. Belongs to the event loop it is first used on."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, url: str, *, form: Mapping[str, str] | None = None, most: int = -1) -> bytes:
        """The body of an answer of 200. Raises OSError, also for one of more than `most` bytes (-1: no limit)."""
        # Importing it takes a while, which only those pay who ask.
        import aiohttp  # noqa: PLC0415

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, headers={"accept-encoding": "identity"}
            )
        try:
            async with self._session.request(method, url, data=form, allow_redirects=False) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if most >= 0 and len(body) > most:
                        raise OSError(f"the answer is longer than {most} bytes")
        except aiohttp.ClientError as error:
            raise OSError(str(error) or type(error).__name__) from error
        if answer.status != 200:
            raise AnsweredError(answer.status, bytes(body[:200]).decode(errors="replace").strip())
        return bytes(body)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def closed_at_the_end(self) -> None:
        """Do nothing until cancelled, then close."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()
