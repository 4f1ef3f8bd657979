"""The process `weft webhook`, called by an API server for as long as a block lasts.

Rule: what is asked about is what the chart's own webhook configuration says; only the Service is replaced by the
process's address, since nothing runs pods here. The process has the rights that the chart grants and no others.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api_server import ApiServer
from api_server_keys import Signer
from controlplane.install import chart
from raw_api import RawApi

NAMESPACE = "weft-system"
USER = f"system:serviceaccount:{NAMESPACE}:weft-webhook"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
ROOT = Signer("weft")


@dataclass
class WebhookProcess:
    """A running `weft webhook`."""

    port: int
    folder: Path
    process: subprocess.Popen[str]
    log: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)

    def client_config(self, path: str) -> dict[str, str]:
        """What a webhook configuration or a CRD says of it."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": b64encode(ROOT.pem).decode()}

    def renew(self, name: str) -> None:
        """Give it another certificate, as the kubelet would."""
        pair = ROOT.server([f"weft-webhook.{NAMESPACE}.svc", name])
        for suffix, content in (("key", pair.key), ("crt", pair.certificate)):
            (self.folder / "new").write_bytes(content)
            (self.folder / "new").rename(self.folder / f"tls.{suffix}")

    def logged(self, event: str) -> dict[str, Any]:
        """Its next log line of this event."""
        while True:
            line = self.log.get(timeout=30)
            if line["event"] == event:
                return line

    def end(self) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def webhook_process(folder: Path, *words: str) -> Iterator[WebhookProcess]:
    """The process, from its first answer on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-P", "-m", "controlplane.cli.main", "webhook", "--address", "127.0.0.1", "--port", str(port),
        "--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key"), "--leaving-seconds", "0", *words,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        running = WebhookProcess(port, folder, process)
        reader = threading.Thread(target=_read, args=(running,), daemon=True)
        try:
            running.renew("first.test")
            reader.start()
            running.logged("serving")
            yield running
        finally:
            process.kill()
            process.wait()
            reader.join(10)


def _read(running: WebhookProcess) -> None:
    assert running.process.stderr is not None
    for text in running.process.stderr:
        running.log.put(json.loads(text) if text.startswith("{") else {"event": text})


@contextmanager
def injecting(
    api_server: ApiServer, api: RawApi, folder: Path, *words: str, marks: bool = False
) -> Iterator[WebhookProcess]:
    """The process, asked by the API server about pods as the chart would have it."""
    rights = api_server.kubeconfig_as(USER, GROUPS)
    flags = (*words, "--other-meshes") if marks else words
    with webhook_process(folder, "--kubeconfig", str(rights), *flags) as running:
        objects = _objects(running, marks=marks)
        api("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}).expect(201, 409)
        try:
            for made in objects:
                api("POST", PATHS[made["kind"]], made).expect(201)
            _await_calls(api)
            yield running
        finally:
            for made in objects:
                api("DELETE", f"{PATHS[made['kind']]}/{made['metadata']['name']}")


def _objects(running: WebhookProcess, *, marks: bool) -> Sequence[dict[str, Any]]:
    """The webhook's rights, and who is to be asked about: of the chart."""
    rendered = chart.manifest({"injector": {"otherMeshesMarks": marks}}, NAMESPACE)
    found = [each for each in rendered if each["kind"] in PATHS and each["metadata"]["name"] == "weft-webhook"]
    for made in found:
        for entry in made.get("webhooks", ()):
            entry["clientConfig"] = running.client_config(entry["clientConfig"]["service"]["path"])
    return found


def _await_calls(api: RawApi) -> None:
    """An API server learns of a configuration a moment after it was written; the answer to a probe shows it."""
    metadata = {"name": "probe", "labels": {"weft.dev/inject": "enabled"}}
    probe = {"metadata": metadata, "spec": {"containers": [{"name": "probe", "image": "probe"}]}}
    while True:
        answer = api("POST", "/api/v1/namespaces/kube-system/pods", probe, dryRun="All")
        if any("gets no sidecar" in warning for warning in answer.warnings):
            return
