"""Rule A15 with a real Envoy: the kubelet's questions, asked through the health port, get the app's answers."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import grpc
import pytest

from bootstrapped import (
    BootstrappedEnvoy,
    EmptyControlPlane,
    TcpServer,
    certificate,
    free_port,
)
from proxy import ports
from proxy.bootstrap import BootstrapSettings
from proxy.probes import AskGrpc, AskHttp, AskTcp, Probe
from proxy.redirect import DIRECT_SOURCE

Asked = Callable[..., BootstrappedEnvoy]
Question = tuple[str, str, str, str]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """Runs an Envoy that has one probe, at `/probe`."""
    made = certificate()
    (tmp_path / "bundle.pem").write_bytes(made.pem)
    (tmp_path / "token").write_text("token")
    running: list[BootstrappedEnvoy] = []

    with EmptyControlPlane(made) as control_plane:

        def run(ask: AskHttp | AskTcp | AskGrpc, timeout: int = 1) -> BootstrappedEnvoy:
            settings = BootstrapSettings(
                control_plane_host="localhost",
                control_plane_port=control_plane.port,
                ca_file=str(tmp_path / "bundle.pem"),
                token_file=str(tmp_path / "token"),
                probes=(Probe("/probe", ask, timeout),),
            )
            running.append(BootstrappedEnvoy(settings, tmp_path).__enter__())
            running[-1].wait_ready()
            return running[-1]

        yield run
        for envoy in running:
            envoy.__exit__()


class App(BaseHTTPRequestHandler):
    """Answers as its path says, and remembers what it was asked."""

    seen: ClassVar[list[Question]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Host"], self.headers.get("X-Probe", ""), self.client_address[0]))
        if self.path.startswith("/slow"):
            time.sleep(2)
            return
        self.send_response(int(self.path.rpartition("=")[2]) if "=" in self.path else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def app(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[Question]]]:
    class OneApp(App):
        seen: ClassVar[list[Question]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), OneApp) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, OneApp.seen
        server.shutdown()


def probed(envoy: BootstrappedEnvoy, **headers: str) -> tuple[int, str | None]:
    """Status and Location, as somebody sees them who follows no redirect."""
    connection = http.client.HTTPConnection("127.0.0.1", envoy.ports[ports.HEALTH], timeout=5)
    connection.request("GET", "/probe", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Location")


PATHS = [("/ok?a=b&status=200", 200), ("/x?status=500", 500), ("/x?status=302", 302)]
SERVICES = [("", 200), ("web", 200), ("db", 503), ("nobody", 503), ("x" * 300, 503)]


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_a15_http_probe_has_the_path_headers_and_answer_it_had(asked: Asked, path: str, status: int) -> None:
    with app() as (port, seen):
        envoy = asked(AskHttp(port, path))
        assert probed(envoy, Host="shop.example", **{"X-Probe": "yes"}) == (status, None)
    assert seen == [(path, "shop.example", "yes", DIRECT_SOURCE)]


def test_a15_http_probe_fails_after_its_own_timeout(asked: Asked) -> None:
    with app() as (port, _):
        envoy = asked(AskHttp(port, "/slow"))
        before = time.monotonic()
        assert probed(envoy)[0] == 504
        assert 0.9 < time.monotonic() - before < 2


def test_a15_http_probe_of_an_app_that_is_away_fails(asked: Asked) -> None:
    assert probed(asked(AskHttp(free_port(), "/")))[0] == 503


def test_a15_https_probe_takes_any_certificate_and_tls_1_3(asked: Asked, tmp_path: Path) -> None:
    made = certificate()
    (tmp_path / "app.pem").write_bytes(made.pem + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(tmp_path / "app.pem")
    with app(context) as (port, seen):
        assert probed(asked(AskHttp(port, "/tls", tls=True)))[0] == 200
    assert seen[0][0] == "/tls"


@pytest.mark.parametrize("greeting", [b"", b"220 mail.example ESMTP\r\n" * 100])
def test_a15_tcp_probe_is_a_connection_and_nothing_more(asked: Asked, greeting: bytes) -> None:
    server = TcpServer(greeting)
    envoy = asked(AskTcp(server.port), timeout=3)
    before = time.monotonic()
    assert envoy.get("/probe") == (200, "")
    assert time.monotonic() - before < 1
    assert server.callers == [DIRECT_SOURCE]
    server.close()
    assert envoy.get("/probe")[0] == 503


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """grpc.health.v1: `web` serves, `db` does not, nobody else is known."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self._check)

    @staticmethod
    def _check(request: bytes, context: grpc.ServicerContext) -> bytes:
        answers = {b"": b"\x08\x01", b"\x0a\x03web": b"\x08\x01", b"\x0a\x02db": b"\x08\x02"}
        if request not in answers:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return answers[request]


@pytest.mark.parametrize(("service", "status"), SERVICES)
def test_a15_grpc_probe_asks_the_health_service(asked: Asked, service: str, status: int) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Health(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert asked(AskGrpc(port, service)).get("/probe")[0] == status
    finally:
        server.stop(0).wait()


def test_a15_grpc_probe_of_an_app_that_is_away_fails(asked: Asked) -> None:
    assert asked(AskGrpc(free_port())).get("/probe")[0] == 503
