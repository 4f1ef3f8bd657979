"""The control plane under measurement, in a process of its own: `python -m bench.server FOLDER CA ACCESS TRANSPORT`, or
`python -m bench.server --kubernetes KUBECONFIG`.

Rule: the parts, the event loop and the log are those of `weft run`. Commands come by stdin, one JSON answer to each
goes by stdout: `stats` for counters and costs, `streams`, `certificate NAMESPACE ACCOUNT` to replace one leaf now.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.world import TRUST_DOMAIN
from controlplane import logs
from controlplane.app import ControlPlane, control_plane
from controlplane.settings import ControlPlaneSettings, KubernetesSettings
from kube.settings import ClientSettings
from mesh.model import Identity
from mesh.settings import Access, MeshSettings
from xds.server import TransportKind


def stats(plane: ControlPlane) -> dict[str, Any]:
    """Costs of this process so far, and what was done for them. Time in ms, memory in MB."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "port": plane.server.port,
        "cpu_ms": (use.ru_utime + use.ru_stime) * 1000,
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "rss_most_mb": use.ru_maxrss / 1024,
        "ready": plane.status.ready,
        "rounds": plane.status.rounds,
        "round_ms": plane.status.seconds * 1000,
        "failures": plane.status.failures,
        "problems": len(plane.status.problems),
        "wakeups": plane.cache.wakeups,
        "assembled": plane.server.assembled,
        "pushes": sum(plane.server.counters.pushes.values()),
        "bytes": sum(plane.server.counters.bytes.values()),
        "nacks": sum(plane.server.counters.nacks.values()),
    }


async def answer(plane: ControlPlane, line: str) -> dict[str, Any]:
    """Obey one command."""
    command, *words = line.split()
    if command == "certificate":
        identity = Identity(TRUST_DOMAIN, *words)
        started = time.monotonic()
        plane.authority.forget([identity])
        plane.cache.publish_secrets(identity, await plane.authority.secrets(identity))
        return {"started": started}
    return {"streams": len(plane.server.proxies())} if command == "streams" else stats(plane)


async def serve(plane: ControlPlane) -> None:
    """Run until stdin ends."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(stop.set)

    async def obey() -> None:
        while True:
            print(json.dumps(await answer(plane, await lines.get())), flush=True)

    threading.Thread(target=read, daemon=True).start()
    obeying = asyncio.create_task(obey())
    await plane.run(stop)
    obeying.cancel()


async def serve_cluster(kubeconfig: Path) -> None:
    """The same with objects from an API server."""
    from controlplane import kubernetes  # noqa: PLC0415 - the official client is slow to import
    from kube.client import Client  # noqa: PLC0415

    settings = KubernetesSettings(
        client=ClientSettings(kubeconfig), instance="bench", mesh=MeshSettings(trust_domain=TRUST_DOMAIN),
        xds_address="127.0.0.1", xds_port=0, admin_port=0,
    )  # fmt: skip
    client = await Client.open(settings.client)
    try:
        await serve(await kubernetes.control_plane(settings, client))
    finally:
        await client.close()


def main() -> None:
    if sys.argv[1] == "--kubernetes":
        logs.configure("info")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_cluster(Path(sys.argv[2])))
        return
    folder, ca_folder, access, transport = sys.argv[1:5]
    logs.configure("info")
    settings = ControlPlaneSettings(
        paths=(Path(folder),),
        ca_folder=Path(ca_folder),
        mesh=MeshSettings(trust_domain=TRUST_DOMAIN, access=Access(access)),
        xds_address="127.0.0.1",
        xds_port=0,
        xds_transport=TransportKind(transport),
        admin_port=0,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(control_plane(settings)))


if __name__ == "__main__":
    main()
