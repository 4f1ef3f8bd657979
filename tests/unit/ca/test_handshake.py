"""Two leaves meet in a real TLS 1.3 handshake, each proving its identity to the other."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from ca.authority import Authority
from mesh.model import Identity
from sds import open_secrets

DOMAIN = "cluster.local"


async def side(authority: Authority, name: str, role: int, folder: Path) -> ssl.SSLContext:
    """One end as the secrets of an identity make it, checked as strictly as OpenSSL can."""
    secrets = open_secrets(await authority.secrets(Identity(DOMAIN, "shop", name)))
    file = folder / f"{name}.pem"
    file.write_bytes(secrets.key + secrets.chain)
    made = ssl.SSLContext(role)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    made.load_verify_locations(cadata=secrets.bundle.decode())
    made.load_cert_chain(file)
    return made


class Server(threading.Thread):
    """Takes one connection and remembers who it was."""

    def __init__(self, context: ssl.SSLContext, end: socket.socket) -> None:
        super().__init__()
        self._context, self._end = context, end
        self.names: object = None
        self.refusal = ""

    def run(self) -> None:
        with self._end:
            try:
                with self._context.wrap_socket(self._end, server_side=True) as stream:
                    self.names = (stream.getpeercert() or {})["subjectAltName"]
                    stream.sendall(b"hello")
            except ssl.SSLError as error:
                self.refusal = str(error)


def meet(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[object, object, str | None]:
    """Whom the client saw, whom the server saw, and the protocol they spoke."""
    ours, theirs = socket.socketpair()
    thread = Server(server, theirs)
    thread.start()
    try:
        with ours, client.wrap_socket(ours) as stream:
            if stream.recv(5) != b"hello":
                raise ssl.SSLError(thread.refusal)
            return (stream.getpeercert() or {})["subjectAltName"], thread.names, stream.version()
    finally:
        thread.join()


async def test_two_leaves_speak_tls_1_3_and_know_each_other_by_spiffe_id(folder: Path, tmp_path: Path) -> None:
    authority = Authority.open(folder, DOMAIN)
    client = await side(authority, "web", ssl.PROTOCOL_TLS_CLIENT, tmp_path)
    server = await side(authority, "db", ssl.PROTOCOL_TLS_SERVER, tmp_path)
    assert meet(client, server) == (
        (("URI", "spiffe://cluster.local/ns/shop/sa/db"),),
        (("URI", "spiffe://cluster.local/ns/shop/sa/web"),),
        "TLSv1.3",
    )


@pytest.mark.parametrize("stranger", ["client", "server"])
async def test_leaves_of_two_meshes_do_not_trust_each_other(folder: Path, tmp_path: Path, stranger: str) -> None:
    ours, other = Authority.open(folder, DOMAIN), Authority.open(tmp_path / "other", DOMAIN)
    client = await side(other if stranger == "client" else ours, "web", ssl.PROTOCOL_TLS_CLIENT, tmp_path)
    server = await side(other if stranger == "server" else ours, "db", ssl.PROTOCOL_TLS_SERVER, tmp_path)
    with pytest.raises(ssl.SSLError, match=r"(?i)verify failed|unknown.ca"):
        meet(client, server)
