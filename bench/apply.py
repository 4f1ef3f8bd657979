"""From the apply of a TrafficSplit to the first request that obeys it: API server, control plane, Envoy, app.

Rule: what is measured is a whole cluster of one machine (`weft up --kubernetes`), as a developer has it. Both ends are
timed by the machine's monotonic clock: just before the write is sent, and just after an answer has arrived.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.measures import percentile
from kube.client import Client, ClientSettings
from local.state import command_in_pod

if TYPE_CHECKING:
    from cluster_node import ClusterNode

ROOT: Final = Path(__file__).resolve().parent.parent
SPLITS: Final = "/apis/split.smi-spec.io/v1alpha4/namespaces/shop/trafficsplits"
LIMIT: Final = 30.0
"""Seconds until a change that nobody obeys ends the measurement."""
PAUSE: Final = 0.2
"""Seconds between two changes, in which all is quiet."""
POD: Final = "shop/storefront"

WATCH: Final = """
import http.client, json, select, sys, time
connection, last, asked = http.client.HTTPConnection("catalog", timeout=5), "", 0
while not select.select([sys.stdin], [], [], 0.001)[0]:
    connection.request("GET", "/")
    answer = connection.getresponse()
    body = answer.read()
    version = json.loads(body).get("version", "") if answer.status == 200 else str(answer.status)
    asked += 1
    if version != last:
        print(version, time.monotonic_ns(), asked, flush=True)
        last = version
"""
"""Asks the catalog until its input ends, a millisecond after each answer, and says when another version answers."""

Result = dict[str, Any]


def apply(changes: int) -> Result:
    """Toggle a split between two versions so many times, in a cluster with the example shop."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    sys.path.insert(0, str(ROOT))
    from api_server import start_api_server  # noqa: PLC0415 - test support, which is no package
    from cluster_node import ClusterNode, shop  # noqa: PLC0415

    server = start_api_server()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
            ClusterNode(server, Path(folder), f"bench-{os.getpid()}") as node,
        ):
            node.apply(shop("access", "canary"))
            node.until_ready("shop", 5)
            load = os.getloadavg()[0]
            took = asyncio.run(_measured(node, server.admin_kubeconfig, changes))
        return {
            "api_server": "real" if server.real else "fake",
            "changes": len(took),
            "p50_ms": round(percentile(took, 0.5), 1),
            "p99_ms": round(percentile(took, 0.99), 1),
            "worst_ms": round(max(took), 1),
            "load_before": round(load, 2),
            "load_after": round(os.getloadavg()[0], 2),
        }
    finally:
        server.stop()


async def _measured(node: ClusterNode, kubeconfig: Path, changes: int) -> list[float]:
    """Milliseconds of each change."""
    client = await Client.open(ClientSettings(kubeconfig))
    pod = f"shop/{node.pod('shop', 'storefront')['metadata']['name']}"
    command, environment = command_in_pod(node.name, pod, [sys.executable, "-c", WATCH])
    watching = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert watching.stdin
    assert watching.stdout
    try:
        await _applied(client, "v1")
        await _until(watching.stdout, "v1")
        took = []
        for number in range(changes):
            version = ("v2", "v1")[number % 2]
            await asyncio.sleep(PAUSE)
            sent = time.monotonic_ns()
            await _applied(client, version)
            took.append((await _until(watching.stdout, version) - sent) / 1e6)
        return took
    finally:
        watching.stdin.close()
        await watching.wait()
        await client.close()


async def _applied(client: Client, version: str) -> None:
    """All weight on one version, as `kubectl apply --server-side` writes it."""
    backends = [{"service": f"catalog-{each}", "weight": int(each == version)} for each in ("v1", "v2")]
    body = {
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "catalog-canary", "namespace": "shop"},
        "spec": {"service": "catalog", "backends": backends},
    }  # fmt: skip
    query = {"fieldManager": "tests", "force": "true"}
    await client.request(
        "PATCH", f"{SPLITS}/catalog-canary", query=query, body=body, content_type="application/apply-patch+yaml"
    )


async def _until(lines: asyncio.StreamReader, version: str) -> int:
    """When the version answered first, in nanoseconds of the monotonic clock."""
    async with asyncio.timeout(LIMIT):
        while line := await lines.readline():
            found, at, _ = line.decode().split()
            if found == version:
                return int(at)
    raise RuntimeError("the program that asks has ended")
