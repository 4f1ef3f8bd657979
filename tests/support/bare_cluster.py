"""A local cluster without a mesh, as a command: `bare_cluster.py NAME PATH…`. Prints its events."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from local import node
from local.cluster import Cluster
from local.injection import untouched
from local.settings import ClusterSettings, Event


def tell(event: Event) -> None:
    print(event.subject, event.what, event.text, flush=True)


async def serve(state: Path, name: str, paths: tuple[Path, ...]) -> None:
    control_plane = tuple(os.environ.get("BARE_CONTROL_PLANE", "").split())
    settings = ClusterSettings(
        state=state, name=name, paths=paths, control_plane=control_plane, inject=untouched, observe=tell
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Cluster(settings).run(stop)


def main() -> None:
    state = node.entered()
    if state is None:
        sys.exit(node.enter([sys.executable, *sys.argv], sys.argv[1]))
    asyncio.run(serve(state, sys.argv[1], tuple(Path(path) for path in sys.argv[2:])))


if __name__ == "__main__":
    main()
