"""Two callers in a namespace that refuses egress, and two servers outside the mesh that have names.

`api.example` and `files.example` are headless Services without sidecars: names that lead to addresses outside the mesh,
as those of the internet do.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from local.state import command_in_pod
from running_mesh import RunningMesh
from world import Manifest, manifests

PATIENCE = 15
OUTSIDE = str(Path(__file__).with_name("outside.py"))


def base(certificate: str) -> str:
    """The two namespaces and what lives there. `certificate` is the servers' key and certificate, PEM."""
    marks = {"labels": {"weft.dev/inject": "enabled"}, "annotations": {"weft.dev/egress": "refused"}}
    command = ["python3", OUTSIDE, "serve"]
    return manifests(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "closed", **marks}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "example"}},
        *(_pod("closed", name, ["sleep", "infinity"]) for name in ("buyer", "other")),
        *(_pod("example", name, [*command, name, certificate], 8080) for name in ("api", "files")),
        *(_headless(name) for name in ("api", "files")),
    )


def policy(name: str, *ports: tuple[int, str], sources: Iterable[str] = ("buyer",), **fields: Any) -> str:
    """An EgressPolicy of the closed namespace, as a file."""
    spec = {
        "sources": [{"kind": "ServiceAccount", "name": source} for source in sources],
        "ports": [{"number": number, "protocol": protocol} for number, protocol in ports],
        **fields,
    }
    metadata = {"name": name, "namespace": "closed"}
    return manifests({"apiVersion": "weft.dev/v1alpha1", "kind": "EgressPolicy", "metadata": metadata, "spec": spec})


class Watch:
    """A connection in use: its answers one by one, without those that equal the one before."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answers: queue.Queue[Any] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended()

    def __next__(self) -> Any:
        """The next answer; waits for it at most a while."""
        return self._answers.get(timeout=PATIENCE)

    def ended(self) -> list[Any]:
        """Hang up; the answers that nobody asked for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join()
        self._process.stdout.close()
        return [self._answers.get() for _ in range(self._answers.qsize())]


class EgressMesh(RunningMesh):
    """A running mesh with this world."""

    def ask(self, caller: str, *attempts: list[Any]) -> Any:
        """All attempts at once, from a pod of the closed namespace; the answers in their order."""
        command, environment = self._in_pod(caller, ["ask", json.dumps(attempts)])
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def watch(self, caller: str, *words: str) -> Watch:
        """One connection, kept in use."""
        return Watch(*self._in_pod(caller, ["watch", *words]))

    def _in_pod(self, caller: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
        return command_in_pod(self.name, f"closed/{caller}", ["python3", OUTSIDE, *words])


def _pod(namespace: str, name: str, command: list[str], port: int = 0) -> Manifest:
    container: Manifest = {"name": "app", "image": "python:3.11", "command": command}
    if port:
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _headless(name: str) -> Manifest:
    ports = [{"name": f"p{number}", "port": number, "targetPort": number} for number in (8080, 8081, 8443, 9000)]
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "example"}, "spec": spec}
