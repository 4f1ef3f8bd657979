"""Envoy's own TLS (BoringSSL) judges our certificates: it takes the chain, and it obeys the name constraint."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ca.authority import Authority
from ca.issuance import Issuance, Leaf
from ca.issuer_folder import DEFAULT_LIFETIMES, IssuerFolder
from ca.storage import Folder
from kube.clock import SYSTEM_CLOCK
from mesh.model import Identity
from sds import Opened, open_secrets

DOMAIN = "cluster.local"
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent))
TYPE = "type.googleapis.com/envoy.extensions."
PATIENCE = 20.0


def listener(secrets: Opened) -> dict[str, Any]:
    """Answers every request, over mTLS with these secrets, whoever the peer is if its chain holds."""
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    manager = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "certificates",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"},
            }
        ],
    }
    leaf = {
        "certificate_chain": {"inline_string": secrets.chain.decode()},
        "private_key": {"inline_string": secrets.key.decode()},
    }
    tls = {
        "@type": TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [leaf],
            "validation_context": {"trusted_ca": {"inline_string": secrets.bundle.decode()}},
        },
    }
    chain = {
        "filters": [{"name": "manager", "typed_config": manager}],
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "certificates", "stat_prefix": "certificates", "address": address, "filter_chains": [chain]}


class RunningEnvoy:
    """One Envoy with one listener; ports are of its own choice."""

    def __init__(self, admin: int) -> None:
        self._admin = admin
        [status] = json.loads(self.ask("/listeners?format=json"))["listener_statuses"]
        self.port = status["local_address"]["socket_address"]["port_value"]

    def ask(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def count(self, statistic: str) -> int:
        return int(self.ask(f"/stats?filter=certificates.ssl.{statistic}$").rsplit(" ", 1)[-1])


@contextlib.contextmanager
def envoy(secrets: Opened, folder: Path) -> Iterator[RunningEnvoy]:
    bootstrap, admin, log = folder / "envoy.json", folder / "admin", folder / "envoy.log"
    bootstrap.write_text(
        json.dumps(
            {
                "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
                "static_resources": {"listeners": [listener(secrets)]},
            }
        )
    )
    assert ENVOY is not None
    command = [ENVOY, "-c", str(bootstrap), "--admin-address-path", str(admin), "--concurrency", "1"]
    command += ["--disable-hot-restart", "--component-log-level", "connection:debug"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield RunningEnvoy(_live(process, admin, log))
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _live(process: subprocess.Popen[bytes], admin: Path, log: Path) -> int:
    """The port of the admin interface, once Envoy answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            port = int(admin.read_text().rsplit(":", 1)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    return port
        time.sleep(0.05)
    raise AssertionError(f"Envoy did not start:\n{log.read_text()[-3000:]}")


def call(port: int, chain: bytes, key: bytes, bundle: bytes, folder: Path) -> tuple[bytes, object]:
    """Send a request with this leaf; the answer, and whom the server proved to be. Raises ssl.SSLError."""
    file = folder / "client.pem"
    file.write_bytes(key + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=bundle.decode())
    context.load_cert_chain(file)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw, context.wrap_socket(raw) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while piece := stream.recv(4096):
            answer += piece
        return answer, (stream.getpeercert() or {})["subjectAltName"]


@pytest.mark.skipif(ENVOY is None, reason="the Envoy wheel is not installed")
async def test_envoy_takes_our_chain_and_refuses_what_a_stolen_intermediate_makes_for_others(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "ca", DOMAIN)
    server = open_secrets(await authority.secrets(Identity(DOMAIN, "shop", "db")))
    client = open_secrets(await authority.secrets(Identity(DOMAIN, "shop", "web")))
    forged = stolen(tmp_path / "ca", Identity("evil.example", "shop", "web"))
    with envoy(server, tmp_path) as running:
        answer, proven = call(running.port, client.chain, client.key, client.bundle, tmp_path)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"hello")
        assert proven == (("URI", "spiffe://cluster.local/ns/shop/sa/db"),)
        assert running.count("fail_verify_error") == 0
        with pytest.raises(ssl.SSLError):
            call(running.port, forged.chain_pem, forged.key_pem, client.bundle, tmp_path)
        assert running.count("fail_verify_error") == 1
        assert running.count("handshake") == 1
    assert "permitted subtree violation" in (tmp_path / "envoy.log").read_text()


def stolen(folder: Path, identity: Identity) -> Leaf:
    """What a thief of the intermediate's key would make for somebody of another trust domain."""
    issuers = IssuerFolder(Folder.open(folder), DOMAIN, DEFAULT_LIFETIMES).settle(SYSTEM_CLOCK)
    thief = Issuance(issuers.intermediate, identity.trust_domain, timedelta(hours=1), lambda: 0.5)
    return thief.workload(identity, datetime.now(UTC))
