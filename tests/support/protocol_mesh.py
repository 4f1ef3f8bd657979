"""A mesh for the matrix of protocols: who serves, who calls, and what one caller found on all rows at once.

echo-v1, echo-v2  meshed servers, each behind a Service of its own and both behind `echo`, which a TrafficSplit divides
bare              a server without a sidecar; `mixed` leads to it and to echo-v1
open              a server in a namespace that takes plaintext and lets everybody in
client            may do everything; `limited` may only ask for /granted; `stranger` nothing; `plain` has no sidecar
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import world
from local.state import command_in_pod
from protocol_rows import ROWS
from running_mesh import RunningMesh
from world import Manifest, account, group_ref, manifests, route_group, target, thing

NAMESPACE = world.NAMESPACE
OPEN = "open"
HERE = Path(__file__).parent
SERVER = str(HERE / "protocol_server.py")
CLIENT = str(HERE / "protocol_client.py")
PATIENCE = 90.0
CALLERS = ("client", "limited", "stranger")

Found = Mapping[str, Mapping[str, Any]]
"""By row: `names`, `refused`, `facts`, as protocol_client tells them."""


def service(name: str, selector: Mapping[str, str]) -> Manifest:
    """A Service with a port for every row, declared as the row says."""
    ports = [
        {"name": row.port_name, "port": row.called, "targetPort": row.port}
        | ({"appProtocol": row.app_protocol} if row.app_protocol else {})
        for row in ROWS
    ]
    return thing("v1", "Service", name, spec={"selector": dict(selector), "ports": ports})


def server(name: str, *, sidecar: bool = True, **labels: str) -> Manifest:
    """A pod that serves every row."""
    given = {"app": "echo", "version": name, **labels} | ({} if sidecar else {"weft.dev/inject": "disabled"})
    return world.deployment(name, "server", [sys.executable, SERVER, name], [ROWS[-1].port], given)


def base() -> str:
    """Everything but what the other tests of the family add."""
    callers = [thing("v1", "ServiceAccount", name) for name in (*CALLERS, "server")]
    idle = ["sleep", "infinity"]
    return manifests(
        _namespace(NAMESPACE),
        _namespace(OPEN, {"weft.dev/access": "permissive", "weft.dev/mtls": "permissive"}),
        *callers,
        *(world.deployment(name, name, idle, []) for name in CALLERS),
        world.deployment("plain", "client", idle, [], {"weft.dev/inject": "disabled"}),
        server("echo-v1", group="split", mixed="yes"),
        server("echo-v2", group="split"),
        server("bare", sidecar=False, mixed="yes"),
        service("echo", {"group": "split"}),
        *(service(name, {"version": name}) for name in ("echo-v1", "echo-v2", "bare")),
        service("mixed", {"mixed": "yes"}),
        *(_elsewhere(item) for item in (server("open"), service("open", {"version": "open"}))),
        *rules(),
    )


def rules() -> list[Manifest]:
    """HTTP by routes, everything else by ports."""
    ports = [row.port for row in ROWS if not row.is_http]
    everything = {"name": "all", "pathRegex": ".*", "methods": ["*"]}
    return [
        route_group("everything", everything),
        target("http", "server", [account("client")], [group_ref("everything")]),
        thing("specs.smi-spec.io/v1alpha4", "TCPRoute", "ports", spec={"matches": {"ports": ports}}),
        target("tcp", "server", [account("client")], [{"kind": "TCPRoute", "name": "ports"}]),
        route_group("granted", {"name": "granted", "pathRegex": "/granted$", "methods": ["GET"]}),
        target("limited", "server", [account("limited")], [group_ref("granted")]),
    ]


def _namespace(name: str, annotations: Mapping[str, str] | None = None) -> Manifest:
    metadata = {"name": name, "labels": {"weft.dev/inject": "enabled"}, "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _elsewhere(item: Manifest) -> Manifest:
    return item | {"metadata": item["metadata"] | {"namespace": OPEN}}


class ProtocolMesh(RunningMesh):
    """The mesh, and what a caller finds in it."""

    def wait_until(self, holds: Callable[[], bool], what: str, deadline: float = PATIENCE) -> None:
        """Wait longer than others do: seven sidecars and five servers in Python start at once."""
        super().wait_until(holds, what, deadline)

    def run_in(self, caller: str, *words: str) -> subprocess.Popen[str]:
        """Start a Python program in a caller's pod."""
        command, environment = command_in_pod(self.name, f"{NAMESPACE}/{caller}", [sys.executable, *words])
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip

    def talk(self, caller: str, host: str, *options: str) -> Found:
        """What a caller finds on all rows of a host."""
        process = self.run_in(caller, CLIENT, host, *options)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        found: Found = json.loads(out)
        return found
