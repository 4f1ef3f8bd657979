"""The trust domain changes under load through real sidecars, and nobody notices.

Leaves live 10 seconds here, so the old name is drained in 11.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import world
from echo_mesh import EchoMesh
from local.state import command_in_pod
from running_mesh import WEFT

WEB, TALK = "http://web-v1.test/", "talk.test:7070"
GRPC = str(Path(world.ECHO).with_name("grpc_echo.py"))
OLD, NEW = "cluster.local", "shop.example"
LOAD_SECONDS = 40


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoMesh]:
    """A mesh of its own whose leaves live 10 seconds, with an HTTP, a TCP and a gRPC service that `client` may call."""
    folder = tmp_path_factory.mktemp("manifests")
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
        environment.setenv("WEFT_LEAF_LIFETIME", "10s")
        with EchoMesh(folder, f"domain-{os.getpid()}") as mesh:
            yield mesh


def weft_ca(mesh: EchoMesh, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WEFT, "ca", *words, "--name", mesh.name], capture_output=True, text=True, check=False, timeout=30
    )


def domain(mesh: EchoMesh) -> dict[str, Any]:
    found: dict[str, Any] = mesh.get("/ca")["trust_domain"]
    return found


def envoy(mesh: EchoMesh, pod: str, path: str) -> str:
    """What a sidecar's admin interface, on the pod's loopback, answers."""
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:15000{path}').read().decode())"
    return mesh.run(f"{world.NAMESPACE}/{pod}", sys.executable, "-c", script).stdout


def stream(mesh: EchoMesh) -> subprocess.Popen[str]:
    """One gRPC stream from `client`, kept busy."""
    command, environment = command_in_pod(
        mesh.name, f"{world.NAMESPACE}/client", [sys.executable, GRPC, "hold", TALK, str(LOAD_SECONDS)]
    )
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_trust_domain_is_changed_without_one_failed_request(short_lived: EchoMesh) -> None:
    mesh = short_lived
    knocking = mesh.start_echo("client", "knock", "lines.test", "9000", str(LOAD_SECONDS))
    held = mesh.start_echo("client", "hold", "lines.test", "9000", str(LOAD_SECONDS))
    loads = [mesh.start_echo("client", "load", WEB, str(LOAD_SECONDS)) for _ in range(2)]
    streaming = stream(mesh)

    begun = weft_ca(mesh, "trust-domain", NEW)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    mesh.wait_until(lambda: domain(mesh)["signs"] == NEW, "leaves are of the new name", deadline=30)
    mesh.wait_until(lambda: domain(mesh)["phase"] == "none", "the change is over", deadline=30)
    assert (domain(mesh)["signs"], domain(mesh)["accepted"]) == (NEW, [NEW])
    assert all(process.poll() is None for process in (knocking, held, *loads, streaming)), "the load outlasts it all"
    knocked, kept, said, *answers = (
        json.loads(process.communicate(timeout=LOAD_SECONDS + 30)[0]) for process in (knocking, held, streaming, *loads)
    )
    assert (knocked["errors"], kept["error"], said["error"]) == ([], "", "")
    assert min(knocked["lines"], kept["lines"], said["messages"]) > 100
    for answer in answers:
        assert (answer["errors"], answer["connections"]) == ([], 1)
        assert answer["counts"]["200"] > 100


def test_sidecars_prove_the_new_name_and_accept_it_alone(short_lived: EchoMesh) -> None:
    mesh = short_lived
    assert f"Trust domain {NEW}." in weft_ca(mesh, "status").stdout
    certificates = envoy(mesh, "client", "/certs")
    assert f"spiffe://{NEW}/ns/{world.NAMESPACE}/sa/client" in certificates
    routes = envoy(mesh, "web-v1", "/config_dump?resource=dynamic_route_configs")
    assert f"spiffe://{NEW}/ns/{world.NAMESPACE}/sa/client" in routes
    assert f"spiffe://{OLD}/" not in routes
