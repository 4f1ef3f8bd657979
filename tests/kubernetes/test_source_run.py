"""`weft run --kubernetes` as a process: ready once it read the cluster, gone when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path

from api_server import ApiServer
from cluster_world import when


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def readiness(port: int) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        said: dict[str, object] = json.loads(connection.getresponse().read())
        return said
    except OSError:
        return {}
    finally:
        connection.close()


async def test_a_control_plane_is_ready_once_it_read_the_cluster(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    admin = free_port()
    command = [
        sys.executable, "-m", "controlplane.cli.main", "run", "--kubernetes", "--kubeconfig",
        str(api_server.admin_kubeconfig), "--xds-port", str(free_port()), "--admin-port", str(admin),
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        environment = {**os.environ, "POD_NAMESPACE": namespace}
        process = await asyncio.create_subprocess_exec(*command, stderr=log, env=environment)
    try:
        await when(lambda: bool(readiness(admin).get("ready")) or process.returncode is not None)
        assert process.returncode is None, (tmp_path / "log").read_text()
        said = readiness(admin)
        assert (said["waiting"], said["troubles"], said["failure"]) == ([], {}, "")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
