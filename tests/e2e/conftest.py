"""One mesh for most end-to-end tests, and one for those about protocols; every test leaves it as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import protocol_mesh
import world
from echo_mesh import EchoMesh


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoMesh]:
    """The mesh, up and settled, with no access rule and no split."""
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "base.yaml").write_text(world.base())
    with EchoMesh(folder, f"mesh-{os.getpid()}", "--identity-bindings") as mesh:
        yield mesh


@pytest.fixture
def mesh(running: EchoMesh) -> Iterator[EchoMesh]:
    """The mesh; what a test writes into its folder is gone when the next one starts."""
    yield running
    added = [path for path in sorted(Path(running.folder).rglob("*.yaml")) if path.name != "base.yaml"]
    running.remove(*(str(path.relative_to(running.folder)) for path in added if path.name != "sentinel.yaml"))


@pytest.fixture(scope="session")
def protocols(tmp_path_factory: pytest.TempPathFactory) -> Iterator[protocol_mesh.ProtocolMesh]:
    """The mesh of all protocols, up and settled."""
    folder = tmp_path_factory.mktemp("protocols")
    (folder / "base.yaml").write_text(protocol_mesh.base())
    with protocol_mesh.ProtocolMesh(folder, f"protocols-{os.getpid()}") as mesh:
        yield mesh
