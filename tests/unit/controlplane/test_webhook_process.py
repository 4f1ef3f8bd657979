"""The webhook's process: it begins when it has a certificate and knows its API server, and ends in steps."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from api_server_keys import Signer
from controlplane.webhook import NativeSidecars, Webhook, WebhookSettings
from fake_clock import FakeClock
from kube.client import ClientSettings, ConfigurationError
from webhook.certificates import CertificateFiles

ROOT = Signer("root")


class Running:
    """A webhook process inside the test, with time that the test moves."""

    def __init__(self, folder: Path, native: NativeSidecars = NativeSidecars.ON) -> None:
        self.clock = FakeClock()
        self.stop = asyncio.Event()
        self.webhook = Webhook(
            WebhookSettings(
                files=CertificateFiles(folder / "tls.crt", folder / "tls.key"),
                address="127.0.0.1",
                port=0,
                native_sidecars=native,
                kubernetes=ClientSettings(kubeconfig=folder / "none"),
            ),
            self.clock,
        )
        self.task = asyncio.create_task(self.webhook.run(self.stop))

    async def get(self, path: str) -> int:
        trust = ssl.create_default_context(cadata=ROOT.pem.decode())
        where = f"https://127.0.0.1:{self.webhook.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(where, ssl=trust) as response:
            return response.status

    async def leave(self) -> None:
        """Let it end: all its waiting is over."""
        self.stop.set()
        while not self.task.done():
            self.clock.skip(timedelta(minutes=1))
            await asyncio.wait([self.task], timeout=0.01)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    process = Running(folder)
    try:
        yield process
    finally:
        await process.leave()
        await process.task


def served_name(process: Running) -> list[str]:
    pem = ssl.get_server_certificate(("127.0.0.1", process.webhook.port))
    found = x509.load_pem_x509_certificate(pem.encode()).extensions
    return found.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


async def test_it_begins_when_the_certificate_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.clock.asleep(2)
        assert not process.webhook.serving.is_set()
        ROOT.server(["webhook.test"]).write(tmp_path, "tls")
        process.clock.skip(timedelta(seconds=1))
        await process.webhook.serving.wait()
        assert await process.get("/readyz") == 200


async def test_a_new_certificate_is_served_within_seconds(tmp_path: Path) -> None:
    ROOT.server(["a.test"]).write(tmp_path, "tls")
    async with running(tmp_path) as process:
        await process.webhook.serving.wait()
        assert await asyncio.to_thread(served_name, process) == ["a.test"]
        ROOT.server(["b.test"]).write(tmp_path, "tls")
        await process.clock.advance(timedelta(seconds=5))
        assert await asyncio.to_thread(served_name, process) == ["b.test"]


async def test_told_to_end_it_is_not_ready_and_still_answers_then_nothing_listens(tmp_path: Path) -> None:
    ROOT.server(["webhook.test"]).write(tmp_path, "tls")
    async with running(tmp_path) as process:
        await process.webhook.serving.wait()
        process.stop.set()
        await process.clock.asleep(2)
        assert (await process.get("/readyz"), await process.get("/healthz")) == (503, 200)
        process.clock.skip(timedelta(seconds=5))
        await process.task
        with pytest.raises(aiohttp.ClientConnectorError):
            await process.get("/healthz")


async def test_it_can_be_ended_before_there_is_a_certificate(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.clock.asleep(2)
        process.stop.set()
        await process.task
        assert not process.webhook.serving.is_set()


async def test_without_a_way_to_the_api_server_it_says_so(tmp_path: Path) -> None:
    process = Running(tmp_path, NativeSidecars.AUTO)
    with pytest.raises(ExceptionGroup) as failed:
        await process.task
    assert failed.group_contains(ConfigurationError)
