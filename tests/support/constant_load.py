"""A mesh whose leaves live some seconds, and load of every kind that a change of its authority must not disturb.

Rule: nothing is tried twice: what fails once is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import world
from echo_mesh import EchoMesh
from local.state import command_in_pod

WEB, TALK = "http://web-v1.test/", "talk.test:7070"
GRPC = str(Path(world.ECHO).with_name("grpc_echo.py"))


@contextmanager
def short_lived_mesh(folder: Path, name: str, leaf_lifetime: str) -> Iterator[EchoMesh]:
    """A mesh of its own, with an HTTP, a TCP and a gRPC service that `client` may call."""
    (folder / "base.yaml").write_text(world.base())
    (folder / "talk.yaml").write_text(world.manifests(
        world.thing("v1", "ServiceAccount", "talk"),
        world.deployment("talk", "talk", [sys.executable, GRPC, "serve", "0.0.0.0:7070"], [7070]),
        world.service("talk", {"app": "talk"}, ("grpc", 7070, 7070)),
    ))  # fmt: skip
    (folder / "http.yaml").write_text(world.allow_http("web-v1", "client"))
    (folder / "grpc.yaml").write_text(world.allow_http("talk", "client"))
    (folder / "tcp.yaml").write_text(world.allow_tcp("lines", "client"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEFT_LEAF_LIFETIME", leaf_lifetime)
        with EchoMesh(folder, name) as mesh:
            yield mesh


class Load:
    """What `client` does for so many seconds: handshakes one after the other, a TCP connection and a gRPC stream that
    are held, and requests over two HTTP connections."""

    def __init__(self, mesh: EchoMesh, seconds: int) -> None:
        self._seconds = seconds
        self._knocking = mesh.start_echo("client", "knock", "lines.test", "9000", str(seconds))
        self._held = mesh.start_echo("client", "hold", "lines.test", "9000", str(seconds))
        self._streaming = _stream(mesh, seconds)
        self._loads = [mesh.start_echo("client", "load", WEB, str(seconds)) for _ in range(2)]

    def ends_well(self, least: int) -> None:
        """It still runs, nothing of it has failed when it ends, and there was at least so much of each."""
        running = (self._knocking, self._held, self._streaming, *self._loads)
        assert all(process.poll() is None for process in running), "the load outlasts it all"
        knocked, held, stream, *answers = (
            json.loads(process.communicate(timeout=self._seconds + 30)[0]) for process in running
        )
        assert (knocked["errors"], held["error"], stream["error"]) == ([], "", "")
        assert knocked["lines"] > least, "each of them was a handshake of its own"
        assert held["lines"] > least
        assert stream["messages"] > least
        for answer in answers:
            assert (answer["errors"], answer["connections"]) == ([], 1)
            assert answer["counts"]["200"] > least


def _stream(mesh: EchoMesh, seconds: int) -> subprocess.Popen[str]:
    """One gRPC stream, kept busy."""
    command, environment = command_in_pod(
        mesh.name, f"{world.NAMESPACE}/client", [sys.executable, GRPC, "hold", TALK, str(seconds)]
    )
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
