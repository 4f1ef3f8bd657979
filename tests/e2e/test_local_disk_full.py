"""A local cluster whose disk is full goes on as it was, and catches up once there is room."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bare_node import BareNode

SIZE = 2 * 1024 * 1024


def pod(name: str) -> dict[str, Any]:
    container = {"name": "app", "image": "any", "command": ["sleep", "infinity"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk of its own for the cluster's files."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", disk], check=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_ends_no_pod_and_new_ones_start_when_there_is_room(tmp_path: Path, small: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(pod("first")))
    with BareNode(f"full-{os.getpid()}", folder) as node:
        node.until(lambda: node.ready() == ["first"], "the first pod is ready")
        # Without a probe it is ready as soon as it is started; its view of the files is made a moment later.
        node.until(lambda: not node.run("default/first", "ls", "-A", "/run").strip(), "its files are in place")
        filling = small / "filling"
        with contextlib.suppress(OSError):
            filling.write_bytes(bytes(2 * SIZE))
        (folder / "b.json").write_text(json.dumps(pod("second")))
        node.until(lambda: "No space left on device" in node.log.read_text(), "it says what is wrong")
        assert node.run("default/first", "echo", "alive") == "alive\n"
        filling.unlink()
        node.until(lambda: node.ready() == ["first", "second"], "the second pod is ready too")
        assert node.log.read_text().count("Pod default/first gone") == 0
