"""`weft proxies` and `weft check`: is everybody told, does everything hold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from controlplane.check import Line, checks
from controlplane.cli import options
from controlplane.cli.output import fail, show_json, show_table
from controlplane.client import AdminClient, Unreachable
from controlplane.install.chart import NAMESPACE
from controlplane.install.look import cluster
from kube.client import ClientSettings
from local.state import control_socket
from proxy import ports

Admin = Annotated[str | None, typer.Option("--admin", help="The admin API's URL, where it is no local cluster.")]

COLUMNS = {"Cluster": "CDS", "ClusterLoadAssignment": "EDS", "Listener": "LDS", "RouteConfiguration": "RDS",
           "TypedExtensionConfig": "ECDS", "Secret": "SDS"}  # fmt: skip


def admin_client(admin: str | None, name: str, seconds: float = 5) -> AdminClient:
    """The admin API that was named, else the local cluster's, else the one on this machine's loopback."""
    socket: Path | None = control_socket(name)
    return AdminClient(admin or socket or f"http://127.0.0.1:{ports.CONTROL_PLANE_ADMIN}", seconds)


def proxies(
    as_json: options.AsJson = False, name: options.ClusterName = options.DEFAULT_CLUSTER, admin: Admin = None
) -> None:
    """List connected sidecars: synced, stale or rejected, per resource type. Exit 1 on rejections."""
    try:
        found: list[dict[str, Any]] = admin_client(admin, name).get("/proxies")
    except Unreachable as error:
        fail(str(error), 1)
    if as_json:
        show_json(found)
    else:
        show_table(["PROXY", *COLUMNS.values()], [_row(proxy) for proxy in found])
        for proxy in found:
            for kind, state in proxy["types"].items():
                if state["error"]:
                    print(f"{proxy['node']} rejected {COLUMNS.get(kind, kind)}: {state['error']}")
    if any(state["state"] == "rejected" for proxy in found for state in proxy["types"].values()):
        raise typer.Exit(1)


def _row(proxy: dict[str, Any]) -> list[str]:
    states = proxy["types"]
    return [proxy["node"], *(states.get(kind, {}).get("state", "-") for kind in COLUMNS)]


def check(
    as_json: options.AsJson = False,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Look at a cluster, not at this machine.")] = False,
    namespace: options.ReleaseNamespace = NAMESPACE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Check this machine and the running mesh; each line says what holds, or how to mend it. Exit 1 if any fails.

    With --kubernetes (or --kubeconfig, or --context) a cluster: before Weft is installed whether it can be, afterwards
    whether it is well.
    """
    if kubernetes or kubeconfig or context:
        lines = asyncio.run(cluster(ClientSettings(kubeconfig=kubeconfig, context=context), namespace))
    else:
        lines = checks(admin_client(admin, name), name)
    if as_json:
        show_json([{"ok": line.ok, "sentence": line.sentence, "hint": line.hint} for line in lines])
    else:
        for line in lines:
            _show(line)
    if not all(line.ok for line in lines):
        raise typer.Exit(1)


def _show(line: Line) -> None:
    mark = ("✓ ", "green") if line.ok else ("× ", "red")
    Console(soft_wrap=True).print(Text.assemble(mark, line.sentence))
    if not line.ok and line.hint:
        Console(soft_wrap=True).print(Text(f"  {line.hint}", style="dim"))
