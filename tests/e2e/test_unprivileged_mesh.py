"""A user without privileges runs a whole mesh: in a user namespace, where a socket mark tells sidecars from apps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import world
from echo_mesh import EchoMesh

# All but the one that the kernel asks for where user 0 is mapped (user_namespaces(7)); nobody else needs it.
WITHOUT_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap") if os.geteuid() == 0 else ()


class UnprivilegedMesh(EchoMesh):
    """Started by a process that holds no capability that a cluster could use."""

    become = WITHOUT_CAPABILITIES


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[EchoMesh]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "base.yaml").write_text(world.base())
    with UnprivilegedMesh(folder, f"unprivileged-{os.getpid()}") as mesh:
        yield mesh


def test_without_privileges_the_mesh_refuses_and_allows_the_same(unprivileged: EchoMesh) -> None:
    mesh, web = unprivileged, "http://web-v1.test/"
    assert mesh.status("client", web) == 403
    mesh.write_unsettled("tcp.yaml", world.allow_tcp("lines", "client"))
    mesh.write("http.yaml", world.allow_http("web-v1", "client"))
    (answer,) = mesh.echo("client", "get", web)
    assert answer["status"] == 200
    assert "URI=spiffe://cluster.local/ns/test/sa/client" in answer["headers"]["x-forwarded-client-cert"]
    assert mesh.status("other", web) == 403
    assert mesh.status("plain", f"http://{mesh.pod_address('web-v1')}:8080/") == 0
    assert mesh.echo("client", "dial", "greeter.test", "9001")["first"] == "greeter: hello\n"
    assert mesh.echo("other", "dial", "greeter.test", "9001")["first"] == ""
