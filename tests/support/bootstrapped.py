"""A real Envoy run from our bootstrap document, and the control plane it finds: one that says "you need nothing"."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy import ports
from proxy.bootstrap import BootstrapSettings, bootstrap
from xds import pb

ENVOY = str(Path(sys.executable).parent / "envoy")
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
OWN_PORTS = (ports.ADMIN, ports.HEALTH, ports.METRICS)


@dataclass
class Stream:
    """One stream of a proxy: the `authorization` it came with, and all its requests."""

    authorization: str
    requests: list[pb.DeltaDiscoveryRequest] = field(default_factory=list)


class EmptyControlPlane:
    """Answers every subscription with nothing, over TLS, and keeps what it was told."""

    def __init__(self, certificate: Certificate) -> None:
        self.streams: list[Stream] = []
        self._contexts: list[grpc.ServicerContext] = []
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        service, method = METHOD.lstrip("/").split("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        credentials = grpc.ssl_server_credentials([(certificate.key, certificate.pem)])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)

    def __enter__(self) -> EmptyControlPlane:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def end_streams(self) -> None:
        """End all streams, as a control plane does that goes."""
        for context in self._contexts:
            context.cancel()
        self._contexts.clear()

    def _serve(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        sent = dict(context.invocation_metadata())
        stream = Stream(str(sent.get("authorization", "")))
        self.streams.append(stream)
        self._contexts.append(context)
        answered: set[str] = set()
        with contextlib.suppress(grpc.RpcError):
            for raw in requests:
                request = pb.DeltaDiscoveryRequest.FromString(raw)
                stream.requests.append(request)
                if request.type_url not in answered:
                    answered.add(request.type_url)
                    nothing = pb.DeltaDiscoveryResponse(type_url=request.type_url, nonce="1")
                    # What is named and does not exist is said to be gone (rule R41).
                    nothing.removed_resources.extend(set(request.resource_names_subscribe) - {"*"})
                    yield nothing.SerializeToString()


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for `localhost`, PEM."""

    pem: bytes
    key: bytes


def certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return Certificate(made.public_bytes(serialization.Encoding.PEM), private)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def moved(document: Any, moves: Mapping[int, int]) -> Any:
    """The document with other port numbers, so that several Envoys can run beside each other."""
    if isinstance(document, dict):
        changed = {key: moved(value, moves) for key, value in document.items()}
        if "port_value" in changed:
            changed["port_value"] = moves.get(changed["port_value"], changed["port_value"])
        return changed
    return [moved(item, moves) for item in document] if isinstance(document, list) else document


class BootstrappedEnvoy:
    """Envoy with our bootstrap, on free ports of loopback. Use it as a context manager."""

    def __init__(self, settings: BootstrapSettings, folder: Path, *before: str) -> None:
        self.ports = {port: free_port() for port in OWN_PORTS}
        document = moved(bootstrap(replace(settings, pod_address="127.0.0.1")), self.ports)
        self._log = folder / "envoy.log"
        self._command = [
            *before, ENVOY, "--config-yaml", json.dumps(document), "--disable-hot-restart", "--concurrency", "1",
            "--service-node", "shop/web-0", "--service-cluster", "web.shop", "--log-level", "info",
        ]  # fmt: skip

    def __enter__(self) -> BootstrappedEnvoy:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def get(self, path: str, port: int = ports.HEALTH, method: str = "GET") -> tuple[int, str]:
        """Status and body of an answer; status 0 when there is none."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[port]}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        wait_until(lambda: self.get("/healthz/ready")[0] == 200, self._log)


def wait_until(holds: Any, log: Path | None = None, deadline: float = 15) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, log.read_text()[-3000:] if log else "waited in vain"
        time.sleep(0.02)


class TcpServer:
    """Accepts connections on a free port of 127.0.0.1, says `greeting` and keeps them open."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.callers: list[str] = []
        self._kept: list[socket.socket] = []
        self._greeting = greeting
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._kept:
            connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, caller = self._socket.accept()
                self.callers.append(caller[0])
                connection.sendall(self._greeting)
                self._kept.append(connection)
