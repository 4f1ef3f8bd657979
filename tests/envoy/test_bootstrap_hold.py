"""The hooks of a sidecar that is no native one, with a real Envoy: it starts before the app and ends after it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootstrapped import BootstrappedEnvoy, EmptyControlPlane, certificate
from proxy import ports
from proxy.bootstrap import BootstrapSettings
from webhook.inject import InjectorSettings, NamespaceView, inject

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, as the image does")


def hook(name: str, moves: dict[str, str]) -> list[str]:
    """The command of one of the sidecar's hooks, with other ports."""
    pod = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web"}]}}
    done = inject(pod, NamespaceView("shop"), InjectorSettings(native_sidecar=False), everything=True)
    words: list[str] = done.pod["spec"]["containers"][0]["lifecycle"][name]["exec"]["command"]
    for old, new in moves.items():
        words = [word.replace(old, new) for word in words]
    return words


@contextmanager
def ended(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive its test."""
    with subprocess.Popen(words) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[BootstrappedEnvoy]:
    made = certificate()
    (tmp_path / "bundle.pem").write_bytes(made.pem)
    (tmp_path / "token").write_text("token")
    with EmptyControlPlane(made) as control_plane:
        settings = BootstrapSettings(
            control_plane_host="localhost",
            control_plane_port=control_plane.port,
            ca_file=str(tmp_path / "bundle.pem"),
            token_file=str(tmp_path / "token"),
        )
        yield BootstrappedEnvoy(settings, tmp_path)


def test_the_app_is_held_until_the_sidecar_is_ready(envoy: BootstrappedEnvoy) -> None:
    words = hook("postStart", {str(ports.ADMIN): str(envoy.ports[ports.ADMIN])})
    with ended(words) as holding:
        time.sleep(0.5)
        assert holding.poll() is None
        with envoy:
            assert holding.wait(10) == 0
            assert envoy.get("/healthz/ready")[0] == 200


def test_the_sidecar_goes_on_until_the_last_connection_has_ended(envoy: BootstrappedEnvoy) -> None:
    moves = {str(ports.ADMIN): str(envoy.ports[ports.ADMIN]), str(ports.INBOUND): str(envoy.ports[ports.HEALTH])}
    with envoy:
        envoy.wait_ready()
        with socket.create_connection(("127.0.0.1", envoy.ports[ports.HEALTH])) as connection:
            connection.sendall(b"GET /healthz/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            with ended(hook("preStop", moves)) as draining:
                time.sleep(6.5)
                assert draining.poll() is None
                connection.close()
                assert draining.wait(5) == 0
