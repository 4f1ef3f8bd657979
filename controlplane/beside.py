"""What runs outside of a node, on the machine itself: the way to the API server, and the webhook that it asks.

Rule: it begins before the node and ends after it, in one thread that owns all of it. It listens on loopback and on a
file in the cluster's folder, and takes back what it registered.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ca.authority import Authority
from ca.storage import StorageError
from controlplane.install.chart import NAMESPACE, InstallError
from controlplane.registering import AnotherWeftError, Document, Registering, check_alone, documents_of_chart
from kube.client import ApiError, ApiUnavailable, Client, ClientSettings
from kube.kubeconfig import LOOPBACK, Kubeconfig
from local.executables import executable
from local.process import answers, keep_running
from local.relay import Handler, relay
from local.settings import Event

OWN_KUBECONFIG: Final = "kubeconfig.outside"
NODE_KUBECONFIG: Final = "kubeconfig"
"""In the cluster's folder: how the API server is reached from the machine, and from inside the node."""

API_SOCKET: Final = "api.sock"
"""In the cluster's folder: whoever connects to it speaks to the API server."""

CERTIFICATE_LIFETIME: Final = timedelta(days=30)
NEW_CERTIFICATE: Final = 24 * 3600.0
"""Seconds between two certificates of the webhook."""

PATIENCE: Final = 30.0
"""Seconds that the webhook may take to answer."""
TRY_AGAIN: Final = 2.0


class BesideError(Exception):
    """It can't begin; the text is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideSettings:
    """How the API server is reached, the command of the webhook (None for none) and who is told of events.

    The command is completed with where to listen, its certificate and how to reach the API server.
    """

    kubeconfig: Kubeconfig
    webhook: tuple[str, ...] | None
    observe: Callable[[Event], Any]


@contextmanager
def beside(folder: Path, settings: BesideSettings) -> Iterator[None]:
    """Run all of it while the block lasts; it is in force when the block begins, but for the webhook, which follows.

    Raises BesideError.
    """
    running = _Beside(folder, settings)
    thread = threading.Thread(target=running.run, name="beside the node")
    thread.start()
    try:
        running.begun.wait()
        if running.failure:
            raise BesideError(running.failure)
        yield
    finally:
        running.stop()
        thread.join()


class _Beside:
    def __init__(self, folder: Path, settings: BesideSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._documents: list[Document] = []
        self.begun = threading.Event()
        self.failure = ""

    def run(self) -> None:
        """The thread."""
        try:
            self._loop.run_until_complete(self._main())
        except Exception as error:
            # A failure of ours ends what is beside the node, not the node.
            self.failure = f"{type(error).__name__}: {error}"
            self._tell("failed", self.failure)
        finally:
            self.begun.set()
            self._loop.close()

    def stop(self) -> None:
        """End soon; from another thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def _main(self) -> None:
        async with AsyncExitStack() as ends:
            try:
                client = await self._begin(ends)
            except (AnotherWeftError, InstallError, ApiUnavailable, OSError) as error:
                self.failure = str(error)
                return
            except ApiError as error:
                self.failure = f"the API server refuses: {error.message}"
                return
            self.begun.set()
            if self._settings.webhook is not None:
                await self._with_webhook(client, self._settings.webhook)
            else:
                await self._stopped.wait()

    async def _begin(self, ends: AsyncExitStack) -> Client:
        folder, kubeconfig = self._folder, self._settings.kubeconfig
        for name, each in ((OWN_KUBECONFIG, kubeconfig), (NODE_KUBECONFIG, kubeconfig.at_loopback())):
            (folder / name).touch(0o600)
            (folder / name).write_text(each.text())
        host, port = kubeconfig.host, kubeconfig.port

        async def listen(handler: Handler) -> asyncio.Server:
            return await asyncio.start_unix_server(handler, folder / API_SOCKET)

        await ends.enter_async_context(relay(listen, lambda: asyncio.open_connection(host, port)))
        client = await Client.open(ClientSettings(folder / OWN_KUBECONFIG))
        ends.push_async_callback(client.close)
        if self._settings.webhook is not None:
            self._documents = await asyncio.to_thread(documents_of_chart, NAMESPACE)
            await check_alone(client, self._documents)
        return client

    async def _with_webhook(self, client: Client, command: tuple[str, ...]) -> None:
        """Run the webhook and have it asked, until the end."""
        port = _free_port()
        root = self._certificate()
        registering = Registering(client, NAMESPACE, f"https://localhost:{port}", root)
        log = self._folder / "logs" / "webhook.log"
        log.parent.mkdir(exist_ok=True)
        words = (
            executable("setpriv"), "--pdeathsig", "KILL", "--", *command, "--address", LOOPBACK, "--port", str(port),
            "--tls-cert", str(self._folder / "webhook.crt"), "--tls-key", str(self._folder / "webhook.key"),
            "--kubeconfig", str(self._folder / OWN_KUBECONFIG), "--leaving-seconds", "0",
        )  # fmt: skip
        tasks = [
            asyncio.create_task(keep_running(words, log, "webhook", lambda event, _pid: self._settings.observe(event))),
            asyncio.create_task(self._renew()),
            asyncio.create_task(self._register(registering, port)),
        ]
        ended = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([ended, *tasks[:2]], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        await self._unregister(registering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _register(self, registering: Registering, port: int) -> None:
        """Have it asked, as soon as it answers and the API server takes it."""
        await answers(LOOPBACK, port, PATIENCE)
        told = ""
        while True:
            try:
                await registering.register(self._documents)
            except (ApiError, ApiUnavailable) as error:
                if str(error) != told:
                    told = str(error)
                    self._tell("not asked", told)
                await asyncio.sleep(TRY_AGAIN)
            else:
                self._tell("registered", registering.url)
                return

    async def _unregister(self, registering: Registering) -> None:
        try:
            await registering.unregister(self._documents)
        except (ApiError, ApiUnavailable) as error:
            self._tell("left", f"the webhook configurations weft-webhook are still there: {error}")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(NEW_CERTIFICATE)
            try:
                self._certificate()
            except (StorageError, OSError) as error:
                self._tell("not renewed", f"its certificate stays for now: {error}")

    def _certificate(self) -> bytes:
        """Give the webhook a certificate of a CA of its own, whose root this returns."""
        authority = Authority.open(self._folder / "webhook-ca", "localhost")
        leaf = authority.served_elsewhere(("localhost",), CERTIFICATE_LIFETIME)
        for name, content in (("webhook.key", leaf.key_pem), ("webhook.crt", leaf.chain_pem)):
            new = self._folder / f"{name}.new"
            new.touch(0o600)
            new.write_bytes(content)
            new.replace(self._folder / name)
        return authority.bundle_pem()

    def _tell(self, what: str, text: str) -> None:
        self._settings.observe(Event("Webhook", what, text))


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])
