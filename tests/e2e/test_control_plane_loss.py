"""Fail static: the control plane is killed, and nothing that runs changes."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import world
from local.state import control_plane_pid

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WEB = "http://web-v1.test/"


def test_kill_minus_9_of_the_control_plane_loses_no_request_and_nothing_is_sent_again(mesh: EchoMesh) -> None:
    mesh.write_unsettled("tcp.yaml", world.allow_tcp("lines", "client"))
    mesh.write("http.yaml", world.allow_http("web-v1", "client"))
    connected = {proxy["node"]: proxy["connected"] for proxy in mesh.proxies()}
    load = mesh.start_echo("client", "load", WEB, "6")
    held = mesh.start_echo("client", "hold", "lines.test", "9000", "6")
    time.sleep(1)
    process = control_plane_pid(mesh.name)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    mesh.wait_until(
        lambda: {p["node"] for p in mesh.proxies() if p["connected"] > connected[p["node"]]} == set(connected),
        "every proxy has come back",
    )
    mesh.settle()
    http, tcp = (json.loads(process.communicate(timeout=30)[0]) for process in (load, held))
    assert (http["errors"], http["connections"]) == ([], 1)
    assert tcp["error"] == ""
    # A new process issues new leaves; nothing else is new to anybody.
    pushed = {labels: count for labels, count in mesh.metric("weft_xds_pushed_resources_total").items() if count}
    assert pushed == {'{type="Secret"}': len(connected)}


def test_a_mistake_in_a_file_changes_nothing_that_runs(mesh: EchoMesh) -> None:
    mesh.write("http.yaml", world.allow_http("web-v1", "client"))
    before = pushes(mesh)
    for text in ("{not yaml", "kind: TrafficSplit\n", "- 1\n- 2\n", "\tx: 1\n", ""):
        mesh.write("broken.yaml", text)
        assert mesh.status("client", WEB) == 200
    mesh.write("http.yaml", "apiVersion: access.smi-spec.io/v1alpha3\nkind: [")
    assert mesh.status("client", WEB) == 200, "a file caught half-written leaves what it said before in force"
    assert pushes(mesh) == before


def test_a_change_sends_each_proxy_only_what_changed(mesh: EchoMesh) -> None:
    mesh.write_unsettled("v1.yaml", world.allow_http("web-v1", "client"))
    mesh.write_unsettled("v2.yaml", world.allow_http("web-v2", "client"))
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": 9, "web-v2": 1}))
    before = pushes(mesh)
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": 1, "web-v2": 9}))
    assert grown(before, pushes(mesh)) == {("client", "RouteConfiguration"): 1}
    before, size = pushes(mesh), sent_bytes(mesh, "web-v1", "RouteConfiguration")
    mesh.write("v1.yaml", world.allow_http("web-v1", "client").replace('".*"', '"/narrow"'))
    assert grown(before, pushes(mesh)) == {("web-v1", "RouteConfiguration"): 1}
    assert sent_bytes(mesh, "web-v1", "RouteConfiguration") - size < 2000


def pushes(mesh: EchoMesh) -> dict[tuple[str, str], int]:
    """How many responses each app's proxy was sent, by type."""
    return {
        (app_of(proxy["node"]), kind): state["pushes"]
        for proxy in mesh.proxies()
        for kind, state in proxy["types"].items()
    }


def grown(before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """What was sent in between."""
    return {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}


def sent_bytes(mesh: EchoMesh, app: str, kind: str) -> int:
    """How many bytes of a type an app's proxy was sent so far."""
    (count,) = [proxy["types"][kind]["bytes"] for proxy in mesh.proxies() if app_of(proxy["node"]) == app]
    return int(count)


def app_of(node: str) -> str:
    """The Deployment behind a proxy's node id."""
    return node.split("/")[1].rsplit("-", 2)[0]
