"""The fake API server on a socket: TLS and HTTP/1.1 on loopback.

Rule: all of Api runs in one thread, the server's own.

`FakeApiServer.start()` for tests; what it does not do is said in tests/fakes/README.md.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from aiohttp import web

from tests.fakes import certificates
from tests.fakes.api import Api, Clock
from tests.fakes.controllers import Controllers
from tests.fakes.faults import CutError, Faults
from tests.fakes.requests import Reply, Request, Stream

T = TypeVar("T")


class FakeApiServer:
    """An API server for tests. Every method may be called from any thread and blocks until it is done."""

    real = False

    def __init__(self, clock: Clock, *, controllers: bool) -> None:
        self.controllers = controllers
        self.faults = Faults()
        self._folder = Path(tempfile.mkdtemp(prefix="fake-api-server-"))
        self.ca_pem, certificate, key = certificates.serving()
        self._tls = _context(self._folder, certificate, key)
        self.api = Api(self.ca_pem.decode(), clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-api-server", daemon=True)
        self._web: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self._port = 0
        self._kubeconfigs = 0
        self._working: Controllers | None = None

    @classmethod
    def start(cls, clock: Clock = time.time, *, controllers: bool = True) -> FakeApiServer:
        """A running server.

        `clock` gives seconds since the epoch; with `controllers` Deployments get pods and Services EndpointSlices.
        """
        server = cls(clock, controllers=controllers)
        server._thread.start()
        server.run(server._furnish())
        server.come_back()
        server.admin_kubeconfig = server.kubeconfig_as("kubernetes-admin", ["system:masters"])
        return server

    admin_kubeconfig: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._port}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(self, act: Callable[[], T]) -> T:
        """Call something in the server's thread."""

        async def called() -> T:
            return act()

        return self.run(called())

    def kubeconfig_as(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of that user, to whom RBAC applies."""
        token = self.call(lambda: self.api.authn.add(user, groups))
        return self.kubeconfig_with(token)

    def kubeconfig_with(self, token: str) -> Path:
        """A kubeconfig with a bearer token."""
        self._kubeconfigs += 1
        path = self._folder / f"kubeconfig-{self._kubeconfigs}"
        authority = base64.b64encode(self.ca_pem).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "user"}}],
            "current-context": "fake",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def go_away(self) -> None:
        """Refuse connections and end those there are, until `come_back`."""
        self.run(self._close())

    def come_back(self) -> None:
        """Listen, at the address it had."""
        self.run(self._listen())

    def restart(self) -> None:
        """As a new process over the same storage: connections end, nobody can watch from an old resourceVersion."""
        self.go_away()
        self.compact()
        self.come_back()

    def compact(self) -> None:
        """Forget old versions: watches and lists that go on from one are told 410."""
        self.call(self.api.store.compact)

    def bookmark(self) -> None:
        """Send a bookmark to every watch that allows them."""

        def ask() -> None:
            for feeds in self.api.store.feeds.values():
                for feed in feeds:
                    feed.ask_for_bookmark()

        self.call(ask)

    def end_watches(self) -> None:
        """End every watch as its timeout does."""

        def end() -> None:
            for feeds in self.api.store.feeds.values():
                for feed in feeds:
                    feed.end()

        self.call(end)

    def stop(self) -> None:
        """End it for good."""
        if self._loop.is_closed():
            return
        self.go_away()
        if self._working is not None:
            self.run(self._working.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _furnish(self) -> None:
        self.api.furnish()
        if self.controllers:
            self._working = Controllers(self.api)

    async def _listen(self) -> None:
        self._web = web.Server(self._answered, handler_cancellation=True, access_log=None)
        self._listening = await asyncio.get_running_loop().create_server(
            self._web, "127.0.0.1", self._port, ssl=self._tls
        )
        self._port = self._listening.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listening is None or self._web is None:
            return
        self._listening.close()
        for connection in list(self._web.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._web.shutdown(timeout=0.5)
        self._listening = None

    async def _answered(self, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            incoming.method,
            incoming.path,
            dict(incoming.query),
            _headers(incoming),
            await incoming.content.read(),
        )
        reply = await self.faults.before(request) or await self.api.handle(request)
        if isinstance(reply, Stream):
            return await self._streamed(incoming, reply)
        return _whole(reply)

    async def _streamed(self, incoming: web.BaseRequest, reply: Stream) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": reply.content_type, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(incoming)
        try:
            async for line in self.faults.on_lines(reply.lines):
                await response.write(line)
        except CutError as cut:
            await response.write(cut.half)
            if incoming.transport is not None:
                incoming.transport.close()
            raise ConnectionResetError from None
        except ConnectionError:
            return response
        finally:
            await reply.lines.aclose()
        await response.write_eof()
        return response


def _headers(incoming: web.BaseRequest) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in incoming.headers.items():
        key = name.lower()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _whole(reply: Reply) -> web.Response:
    response = web.Response(status=reply.code, body=reply.body)
    response.headers["Content-Type"] = reply.content_type
    response.headers["Cache-Control"] = "no-cache, private"
    for name, value in reply.headers:
        response.headers.add(name, value)
    return response


def _context(folder: Path, certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = folder / "tls.pem"
    chain.write_bytes(certificate + key)
    context.load_cert_chain(chain)
    return context


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End what is still under way."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
