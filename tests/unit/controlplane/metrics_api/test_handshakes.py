"""TLS of the metrics API: callers with no certificate or the front proxy's get through; both sides may change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from api_server_keys import Pair, Signer
from controlplane.metrics_api.tls import Handshakes, Served

FRONT, OTHER, OURS = Signer("front"), Signer("other"), Signer("ours")
SERVER = OURS.server(["localhost"])


class Changing:
    """What is served, exchanged by tests."""

    def __init__(self, clients: Signer | None) -> None:
        self.clients = clients
        self.pair = SERVER

    def __call__(self) -> Served:
        return Served(self.pair.certificate, self.pair.key, self.clients.pem.decode() if self.clients else "")


async def shown(handshakes: Handshakes, folder: Path, client: Pair | None, root: Signer = OURS) -> str:
    """The common name that the server sees, empty of none. Raises OSError where there is no handshake."""
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert() or {}
        seen.set_result(dict(pair for part in certificate.get("subject", ()) for pair in part).get("commonName", ""))
        writer.close()

    context = ssl.create_default_context(cadata=root.pem.decode())
    if client is not None:
        context.load_cert_chain(*client.write(folder, "client"))
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=handshakes.context) as listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        try:
            # In TLS 1.3 a client learns of a refusal of its certificate with the first thing it reads.
            await reader.read()
            return await asyncio.wait_for(seen, 5)
        finally:
            writer.close()


async def test_m1_the_front_proxys_certificate_is_seen_and_none_is_none(tmp_path: Path) -> None:
    served = Changing(FRONT)
    handshakes = Handshakes(served)
    assert await shown(handshakes, tmp_path, FRONT.client("front-proxy-client")) == "front-proxy-client"
    assert await shown(handshakes, tmp_path, None) == ""


@pytest.mark.filterwarnings("ignore:unclosed")
async def test_m1_another_cas_certificate_ends_the_handshake(tmp_path: Path) -> None:
    served = Changing(FRONT)
    with pytest.raises((OSError, ssl.SSLError)):
        await shown(Handshakes(served), tmp_path, OTHER.client("front-proxy-client"))


async def test_m1_a_ca_that_is_known_later_and_exchanged_counts_for_the_next_handshake(tmp_path: Path) -> None:
    served = Changing(None)
    handshakes = Handshakes(served)
    served.clients = FRONT
    assert await shown(handshakes, tmp_path, FRONT.client("a")) == "a"
    served.clients = OTHER
    assert await shown(handshakes, tmp_path, OTHER.client("b")) == "b"
    with pytest.raises((OSError, ssl.SSLError)):
        await shown(handshakes, tmp_path, FRONT.client("a"))


async def test_the_control_planes_certificate_may_be_another_meanwhile(tmp_path: Path) -> None:
    served = Changing(FRONT)
    handshakes = Handshakes(served)
    later = Signer("later")
    served.pair = later.server(["localhost"])
    assert await shown(handshakes, tmp_path, None, later) == ""
