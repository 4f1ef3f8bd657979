"""Leaves, intermediates and roots are replaced under load through real sidecars, and nobody notices.

Leaves live 20 seconds here, so each of them is replaced several times, and a root is drained in 22 seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import world
from constant_load import WEB, Load, short_lived_mesh
from echo_mesh import EchoMesh
from local.state import control_plane_pid
from running_mesh import WEFT

LOAD_SECONDS = 110


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoMesh]:
    with short_lived_mesh(tmp_path_factory.mktemp("manifests"), f"rotation-{os.getpid()}", "20s") as mesh:
        yield mesh


def weft_ca(mesh: EchoMesh, *words: str) -> Any:
    """The answer of `weft ca`."""
    done = subprocess.run(
        [*WEFT, "ca", *words, "--json", "--name", mesh.name], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def root_of(mesh: EchoMesh) -> str:
    """The fingerprint of the root that signs."""
    return str(mesh.get("/ca")["root"]["sha256"])


def wait_for_phase(mesh: EchoMesh, phase: str) -> None:
    mesh.wait_until(
        lambda: mesh.get("/ca")["rotation"]["phase"] == phase, f"the rotation is in phase {phase}", deadline=60
    )


def test_leaf_intermediate_and_root_are_rotated_and_rolled_back_without_one_failed_request(
    short_lived: EchoMesh,
) -> None:
    mesh = short_lived
    first = root_of(mesh)
    load = Load(mesh, LOAD_SECONDS)

    intermediate = weft_ca(mesh, "rotate")["intermediate"]["sha256"]
    mesh.wait_until(lambda: mesh.get("/ca")["intermediate"]["sha256"] != intermediate, "another intermediate signs")
    weft_ca(mesh, "rotate", "--root")
    wait_for_phase(mesh, "drain")
    second = root_of(mesh)
    weft_ca(mesh, "rotate")
    wait_for_phase(mesh, "none")
    weft_ca(mesh, "rotate", "--root")
    wait_for_phase(mesh, "drain")
    third = root_of(mesh)
    weft_ca(mesh, "rollback")
    mesh.wait_until(lambda: root_of(mesh) == second, "the second root signs again")
    wait_for_phase(mesh, "none")

    assert len({first, second, third}) == 3
    status = weft_ca(mesh, "status")
    assert [each["sha256"] for each in status["bundle"]] == [second]
    load.ends_well(500)


def test_a_sidecar_that_starts_after_the_rotation_trusts_whom_all_others_trust(short_lived: EchoMesh) -> None:
    mesh = short_lived
    mesh.write("late.yaml", world.manifests(
        world.deployment("late", "client", ["sleep", "infinity"], []),
    ))  # fmt: skip
    mesh.wait_until(lambda: "late" in mesh.ready_apps(), "the new pod is ready")
    mesh.wait_until(lambda: mesh.status("late", WEB) == 200, "a new pod calls a pod that is older than the root")


def test_sidecars_that_read_an_older_root_come_back_to_a_new_control_plane(short_lived: EchoMesh) -> None:
    """gRPC reads the root once, when the channel is made: the server leads them to it by its crossed certificates."""
    mesh = short_lived
    before = {proxy["node"]: proxy["connected"] for proxy in mesh.proxies()}
    process = control_plane_pid(mesh.name)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    mesh.wait_until(
        lambda: {p["node"] for p in mesh.proxies() if p["connected"] > before.get(p["node"], 0)} >= set(before),
        "every proxy has come back",
    )
