"""The trust domain changes under load through real sidecars, and nobody notices.

Leaves live 10 seconds here, so the old name is drained in 11.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import world
from constant_load import Load, short_lived_mesh
from echo_mesh import EchoMesh
from running_mesh import WEFT

OLD, NEW = "cluster.local", "shop.example"
LOAD_SECONDS = 40


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoMesh]:
    with short_lived_mesh(tmp_path_factory.mktemp("manifests"), f"domain-{os.getpid()}", "10s") as mesh:
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


def test_the_trust_domain_is_changed_without_one_failed_request(short_lived: EchoMesh) -> None:
    mesh = short_lived
    load = Load(mesh, LOAD_SECONDS)

    begun = weft_ca(mesh, "trust-domain", NEW)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    mesh.wait_until(lambda: domain(mesh)["signs"] == NEW, "leaves are of the new name", deadline=30)
    mesh.wait_until(lambda: domain(mesh)["phase"] == "none", "the change is over", deadline=30)
    assert (domain(mesh)["signs"], domain(mesh)["accepted"]) == (NEW, [NEW])
    load.ends_well(100)


def test_sidecars_prove_the_new_name_and_accept_it_alone(short_lived: EchoMesh) -> None:
    mesh = short_lived
    assert f"Trust domain {NEW}." in weft_ca(mesh, "status").stdout
    certificates = envoy(mesh, "client", "/certs")
    assert f"spiffe://{NEW}/ns/{world.NAMESPACE}/sa/client" in certificates
    routes = envoy(mesh, "web-v1", "/config_dump?resource=dynamic_route_configs")
    assert f"spiffe://{NEW}/ns/{world.NAMESPACE}/sa/client" in routes
    assert f"spiffe://{OLD}/" not in routes
