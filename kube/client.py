"""Talks to the Kubernetes API server: requests that answer with JSON, and watches line by line.

Rule: an answer that is a refusal is an ApiError with the server's own words, no answer is ApiUnavailable; nothing
else gets out. Credentials are loaded again when the server no longer takes them, without a restart.
Connections are the official `kubernetes` package's; what they carry is read raw, since only a part of it is needed.
Source: Kubernetes API concepts (kubernetes.io/docs/reference/using-api/api-concepts).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from yarl import URL

from kube.configuration import load, trust
from kube.durations import Durations
from kube.settings import ClientSettings, ConfigurationError

__all__ = ["ApiError", "ApiUnavailable", "Client", "ClientSettings", "ConfigurationError"]

MAX_LINE: Final = 32 * 1024 * 1024
"""Bytes in one line of a watch. The API server takes objects up to 3 MiB."""

SILENCE: Final = 660.0
"""Seconds after which a watch that says nothing is given up; servers are asked to end each within ten minutes."""

CONNECT_SECONDS: Final = 10.0
"""How long a connection may take to be there."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class ApiError(Exception):
    """The API server answered, and the answer is no.

    `code` is the HTTP status, `reason` the machine's word for it (`NotFound`, `Conflict`, `Expired`), `message` the
    server's sentence, `details` what it adds (`causes`, `retryAfterSeconds`): the fields of a metav1.Status.
    """

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] = _NOTHING) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.details = code, reason, message, details


class ApiUnavailable(Exception):  # noqa: N818 - a state of the other side, no mistake of ours
    """No answer from the API server: it is away, the network is, or the connection broke."""


class Client:
    """One identity at one API server. Made by `open`; belongs to the event loop it was made on."""

    def __init__(self, settings: ClientSettings, configuration: Any) -> None:
        self._settings = settings
        self._use(configuration)
        self._loading = asyncio.Lock()
        self.latency = Durations()
        """How long the API server took to begin its answers."""

    @classmethod
    async def open(cls, settings: ClientSettings | None = None) -> Client:
        """A client as the settings say. Raises ConfigurationError; nobody is asked anything yet."""
        chosen = settings or ClientSettings()
        return cls(chosen, await load(chosen))

    @property
    def server(self) -> str:
        """The API server's URL, for people."""
        return str(self._configuration.host)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = _NOTHING,
        body: object = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] = _NOTHING,
        seconds: float = 30.0,
    ) -> Any:
        """The decoded JSON of the answer, None where it is empty. Raises ApiError and ApiUnavailable.

        `body` is a JSON value, `headers` are more of them. `seconds` is how long everything together may take.
        """
        answer = await self.request_bytes(
            method, path, query=query, body=body, content_type=content_type, headers=headers, seconds=seconds
        )
        try:
            return msgspec.json.decode(answer) if answer else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiUnavailable(f"{method} {path}: the answer is no JSON: {error}") from error

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = _NOTHING,
        body: object = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] = _NOTHING,
        seconds: float = 30.0,
    ) -> bytes:
        """The bytes of the answer. Raises ApiError and ApiUnavailable."""
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
        with _translated(f"{method} {path}"):
            response = await self._send(method, path, query, body, {**headers, "Content-Type": content_type}, limits)
            return await response.read()

    @asynccontextmanager
    async def lines(self, path: str, *, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that has no end of its own, without their line feeds.

        A last line that was cut short is left out: a whole one ends in a line feed. Raises ApiError and
        ApiUnavailable, also while lines are read.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE)
        with _translated(f"watch {path}"):
            response = await self._send("GET", path, query, None, _NOTHING, limits)
        transport = response.connection.transport if response.connection is not None else None
        try:
            yield _lines(path, response.content)
        finally:
            response.close()
            if transport is not None:
                # Otherwise it would stay until the other side has agreed to the end of TLS, after ours has ended, even.
                transport.abort()

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()
        # What was cut is let go of in the event loop's next turn, which may be its last.
        await asyncio.sleep(0)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object,
        headers: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The response of a request the server agreed to."""
        target = f"{path}?{urlencode(query)}" if query else path
        for attempt in (1, 2):
            session = self._session
            started = time.monotonic()
            try:
                response = await self._once(method, target, body, headers, limits)
            except (aiohttp.ClientSSLError, ssl.SSLError):
                # Certificates rotate: look once whether ours or the server's is another by now.
                if attempt == 1 and await self._renew(session):
                    continue
                raise
            self.latency.add(time.monotonic() - started)
            if response.status < 300:
                return response
            refusal = _refusal(response.status, await response.read())
            if response.status != 401 or attempt == 2 or not await self._renew(session):
                raise refusal
        raise AssertionError("the second attempt returns or raises")

    async def _once(
        self, method: str, target: str, body: object, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        sent = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "weft", **headers}
        credential = await self._configuration.get_api_key_with_prefix("BearerToken")
        if credential:
            sent["Authorization"] = credential
        url = URL(f"{self._configuration.host}{target}", encoded=True)
        answer = await self._rest.request(  # type: ignore[no-untyped-call]
            method, url, headers=sent, body=body, _request_timeout=limits
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _renew(self, session: int) -> bool:
        """Load the credentials again, unless another request did meanwhile. Whether it is worth another try."""
        async with self._loading:
            if session != self._session:
                return True
            fresh = await load(self._settings)
            if trust(fresh) == self._trust and fresh.api_key == self._configuration.api_key:
                return False
            former, kept = self._rest, trust(fresh) == self._trust
            self._use(fresh, self._rest if kept else None)
            if not kept:
                await former.close()
            return True

    def _use(self, configuration: Any, rest: _Connections | None = None) -> None:
        self._configuration = configuration
        self._trust = trust(configuration)
        self._rest = rest or _Connections(configuration)
        self._session = getattr(self, "_session", 0) + 1


class _Connections(RESTClientObject):  # type: ignore[misc, unused-ignore]  # the package has no types for mypy
    """The official connections, with a silent death of the other side noticed within half a minute."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=_socket)


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A watch may be silent for minutes, so the kernel asks whether the other side is still there."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 25_000)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


async def _lines(path: str, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    with _translated(f"watch {path}"):
        async for chunk in content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line:
                    yield line
            if len(rest) > MAX_LINE:
                raise ApiUnavailable(f"watch {path}: a line is longer than {MAX_LINE >> 20} MiB")


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Failures of the connection as ApiUnavailable."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError, ConfigurationError, ConfigException) as error:
        raise ApiUnavailable(f"{doing}: {error or type(error).__name__}") from error


def _refusal(code: int, body: bytes) -> ApiError:
    """The ApiError that an answer's metav1.Status stands for, or its text where it holds none."""
    try:
        status = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        status = None
    if not isinstance(status, dict):
        return ApiError(code, "", body[:500].decode(errors="replace").strip())
    details = status.get("details")
    known = details if isinstance(details, dict) else _NOTHING
    return ApiError(code, str(status.get("reason") or ""), str(status.get("message") or ""), known)
