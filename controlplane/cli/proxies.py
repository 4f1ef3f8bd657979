"""`weft proxies`: is everybody told. And how commands find the control plane that they ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from controlplane.cli import options
from controlplane.cli.output import fail, say, show_json, show_table
from controlplane.client import AdminClient, Unreachable
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
                    say(f"{proxy['node']} rejected {COLUMNS.get(kind, kind)}: {state['error']}")
    if any(state["state"] == "rejected" for proxy in found for state in proxy["types"].values()):
        raise typer.Exit(1)


def _row(proxy: dict[str, Any]) -> list[str]:
    states = proxy["types"]
    return [proxy["node"], *(states.get(kind, {}).get("state", "-") for kind in COLUMNS)]
