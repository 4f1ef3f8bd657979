"""However a local cluster ends, nothing of it is left; and several live beside each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bare_node import (
    BareNode,
    alive,
    all_network_namespaces,
    network_namespaces,
    until_gone,
)
from local.state import StateError, claim, control_plane_pid, down, release, running, state_folder

SLEEPER = """
kind: Deployment
metadata: {name: sleeper}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - {name: app, command: [sh, -c, "setsid sleep 1000 & exec sleep infinity"]}
"""

EVERYTHING = 8
"""Processes of the cluster: unshare, the init, and of each pod the sandbox, the app and what has left its group."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a Deployment whose processes also leave their process group."""
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "sleeper.yaml").write_text(SLEEPER)
    return made


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A place of nobody's own; pytest's folders are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "manifests").mkdir()
        (place / "manifests" / "sleeper.yaml").write_text(SLEEPER)
        (place / "runtime").mkdir()
        os.chown(place / "runtime", 65534, 65534)
        yield place


@pytest.fixture
def node(folder: Path) -> Iterator[BareNode]:
    """The cluster, with its pods up."""
    with BareNode(f"left-{os.getpid()}", folder) as started:
        started.until(lambda: len(started.ready()) == 2, "all pods are ready")
        yield started


def interfaces() -> str:
    """The network interfaces of this machine."""
    return subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout


def init_of(node: BareNode) -> int:
    """The node's init: unshare's only child."""
    unshare = int(state_folder(node.name).with_name(f"{node.name}.lock").read_text())
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())


@pytest.mark.parametrize("victim", ["outer", "unshare", "init"])
def test_kill_9_of_any_part_leaves_nothing(node: BareNode, victim: str) -> None:
    node.until(lambda: len(node.descendants()) == EVERYTHING, "every process has started")
    pids = node.descendants()
    spaces = network_namespaces(pids) - network_namespaces([os.getpid()])
    assert len(spaces) == 3
    init = init_of(node)
    os.kill({"outer": node.process.pid, "init": init, "unshare": pids[0]}[victim], signal.SIGKILL)
    until_gone(pids)
    assert not all_network_namespaces() & spaces
    assert "weft0" not in interfaces()
    node.process.wait(5)
    assert not running(node.name)
    release(claim(node.name))
    assert not list(state_folder(node.name).parent.glob(f"{node.name}*"))


def test_ctrl_c_ends_everything_and_removes_the_files(node: BareNode) -> None:
    pids = node.descendants()
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(10) == 0
    assert not alive(pids)
    assert not list(state_folder(node.name).parent.glob(f"{node.name}*"))


def test_down_ends_a_cluster_from_outside(node: BareNode) -> None:
    pids = node.descendants()
    down(node.name)
    until_gone(pids)
    assert not state_folder(node.name).exists()
    with pytest.raises(StateError, match="no cluster named"):
        down(node.name)


def test_a_second_cluster_of_the_same_name_is_refused_in_a_sentence(node: BareNode) -> None:
    with pytest.raises(StateError, match="is running already"):
        claim(node.name)
    assert len(node.ready()) == 2


def test_a_second_cluster_lives_beside_the_first_with_the_same_addresses(node: BareNode, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sleeper.yaml").write_text(SLEEPER)
    with BareNode(f"beside-{os.getpid()}", other) as second:
        second.until(lambda: len(second.ready()) == 2, "all pods are ready")
        assert sorted(pod["address"] for pod in node.pods().values()) == sorted(
            pod["address"] for pod in second.pods().values()
        )
    assert len(node.ready()) == 2


def test_a_control_plane_that_ends_is_started_again(folder: Path) -> None:
    with BareNode(f"again-{os.getpid()}", folder, BARE_CONTROL_PLANE="sh -c exit") as node:
        node.until(lambda: node.log.read_text().count("control plane started") >= 3, "it was started three times")


def test_a_control_plane_that_is_killed_is_started_again_and_pods_go_on(folder: Path) -> None:
    with BareNode(f"killed-{os.getpid()}", folder, BARE_CONTROL_PLANE="sleep 1000") as node:
        node.until(lambda: len(node.ready()) == 2 and control_plane_pid(node.name), "everything runs")
        before = control_plane_pid(node.name)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        node.until(lambda: control_plane_pid(node.name) not in {None, before}, "another one runs")
        assert len(node.ready()) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="as anybody else, every other test runs unprivileged already")
def test_an_unprivileged_user_runs_the_same_in_a_user_namespace(nobodys: Path) -> None:
    folder, runtime = nobodys / "manifests", nobodys / "runtime"
    python = "/usr/bin/python3"
    packages = os.pathsep.join(path for path in sys.path if path)
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    probe = subprocess.run(
        [*become, python, "-c", "import local.cluster"], env={"PYTHONPATH": packages}, capture_output=True, check=False
    )
    if probe.returncode:
        # Below a closed folder only its owner can read our packages: then root without root's capabilities, but for
        # the one that the kernel asks for where user 0 is mapped (user_namespaces(7)).
        become, python = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap"], sys.executable
        os.chown(runtime, 0, 0)
    variables = {"PYTHONPATH": packages, "XDG_RUNTIME_DIR": str(runtime)}
    with BareNode(f"nobody-{os.getpid()}", folder, command=[*become, python], **variables) as node:
        node.until(lambda: node.log.read_text().count("ready") == 2, "both pods are ready")
        pids = node.descendants()
        assert network_namespaces(pids)
        node.process.kill()
        until_gone(pids)
