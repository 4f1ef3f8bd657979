"""`weft up --kubernetes` as a process: a node of an API server, with the control plane and the webhook.

Rule: tests act as people do: they write objects into the API server and run commands in pods.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from api_server import ApiServer
from raw_api import APPLY, RawApi

WEFT = [sys.executable, "-P", "-m", "controlplane.cli.main"]
SHOP = Path(__file__).parents[2] / "examples" / "shop"
PATIENCE = 90.0
PLURALS = {
    "Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "Service": "services", "Pod": "pods",
    "ConfigMap": "configmaps", "Deployment": "deployments", "Job": "jobs", "TrafficSplit": "trafficsplits",
    "TrafficTarget": "traffictargets", "HTTPRouteGroup": "httproutegroups", "TCPRoute": "tcproutes",
}  # fmt: skip

Document = dict[str, Any]


def path_of(document: Document) -> str:
    """Where the API server has an object."""
    version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind != "Namespace":
        root += f"/namespaces/{metadata['namespace']}"
    return f"{root}/{PLURALS[kind]}/{metadata['name']}"


def shop(*parts: str) -> list[Document]:
    """The example shop's objects: its base, and these folders of it. Namespaces and accounts first."""
    files = [file for part in ("base", *parts) for file in sorted((SHOP / part).rglob("*.yaml"))]
    found = [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
    order = ["Namespace", "ServiceAccount"]
    return sorted(found, key=lambda each: order.index(each["kind"]) if each["kind"] in order else len(order))


def is_ready(pod: Document) -> bool:
    """Whether the pod's Ready condition is true."""
    return condition(pod, "Ready") == "True"


def condition(pod: Document, kind: str) -> str:
    """A condition's status, empty where it is not there."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


class ClusterNode:
    """The process. Use it as a context manager: it is registered when the block begins and gone when it ends.

    `become` starts it, such as a program that gives up privileges first.
    """

    def __init__(self, server: ApiServer, folder: Path, name: str, *options: str, become: tuple[str, ...] = ()) -> None:
        self.name = name
        self.api = RawApi(server.admin_kubeconfig)
        self.events: list[dict[str, str]] = []
        self._log = folder / f"{name}.log"
        self._command = [
            *become, *WEFT, "up", "--kubernetes", "--kubeconfig", str(server.admin_kubeconfig), "--name", name,
            "--json", *options,
        ]  # fmt: skip
        self._awaited = ("Webhook", "registered") if "--no-webhook" not in options else (f"Node {name}", "ready")

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            for subject, what in ((f"Node {self.name}", "ready"), self._awaited):
                self.until(lambda s=subject, w=what: self.told(s, w), f"{subject} is {what}")  # type: ignore[misc]
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> int:
        """End it as Ctrl-C would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(10)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def told(self, subject: str, what: str) -> str | None:
        """The text of an event that was told of so far, None where there was none."""
        return next(
            (each["text"] or what for each in self.events if (each["subject"], each["what"]) == (subject, what)), None
        )

    def apply(self, documents: Iterable[Document]) -> None:
        """Put objects into the API server, as `kubectl apply --server-side` does."""
        for document in documents:
            path = path_of(document)
            self.api("PATCH", path, document, content_type=APPLY, fieldManager="tests", force="true").expect()

    def pods(self, namespace: str) -> list[Document]:
        """The pods of a namespace as the API server has them."""
        found: list[Document] = self.api("GET", f"/api/v1/namespaces/{namespace}/pods").expect(200)["items"]
        return found

    def pod(self, namespace: str, app: str) -> Document:
        """The one pod with this label `app`, or of this name, that is not being deleted."""
        (found,) = [
            each
            for each in self.pods(namespace)
            if app in {each["metadata"]["name"], (each["metadata"].get("labels") or {}).get("app")}
            and not each["metadata"].get("deletionTimestamp")
        ]
        return found

    def until_ready(self, namespace: str, count: int) -> None:
        """Wait until so many pods are there, all of them ready."""
        self.until(lambda: [is_ready(pod) for pod in self.pods(namespace)] == [True] * count, f"{count} pods are ready")

    def run(self, pod: str, *command: str, container: str = "") -> str:
        """What a command prints in a pod (`namespace/name`, a prefix of the name is enough)."""
        chosen = ("-c", container) if container else ()
        done = subprocess.run(
            [*WEFT, "exec", "--name", self.name, *chosen, pod, "--", *command],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def ask(self, pod: str, url: str, count: int = 1) -> dict[str, Any]:
        """The shop's own summary of requests that a pod makes."""
        asked: dict[str, Any] = json.loads(
            self.run(pod, "python3", "-m", "weft_shop", "ask", url, "--count", str(count))
        )
        return asked

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Wait until something holds; the test fails with `what` and the log's end when it never does."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline or self.process.poll() is not None:
                said = "\n".join(map(str, self.events[-20:]))
                raise AssertionError(f"waited in vain until {what}:\n{said}\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))
