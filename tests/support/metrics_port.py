"""A real Envoy with only the metrics listener of our bootstrap, in front of statistics and an app that a test writes.

Rule: the script under test runs where it will run, inside Envoy; only what it reads is made up.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from bootstrapped import wait_until
from proxy.bootstrap import ADMIN_CLUSTER, BootstrapSettings, bootstrap
from proxy.exposition import APP_CLUSTER, AppMetrics
from sidecars import envoy_binary

HOME = {"POD_NAME": "web-7d4b9c6d57-x2x4z", "POD_NAMESPACE": "shop", "SERVICE_ACCOUNT": "web-sa"}


class Told(ThreadingHTTPServer):
    """Answers every GET with `text`, or with 503 where there is none; keeps the headers it was asked with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.text: str | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(BaseHTTPRequestHandler):
    server: Told

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = (self.server.text or "").encode()
        self.send_response(503 if self.server.text is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


class MetricsPort:
    """The listener, running while this is a context. `statistics` is what Envoy would say, `app` what the app would."""

    def __init__(self, folder: Path, settings: BootstrapSettings, *, app: bool = False) -> None:
        self.statistics, self.app = Told(), Told()
        if app:
            settings = replace(settings, app_metrics=AppMetrics(self.app.server_port, "/own"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._path = folder / "metrics.json"
        self._path.write_text(json.dumps(self._document(replace(settings, pod_address="127.0.0.1"))))

    def _document(self, settings: BootstrapSettings) -> dict[str, object]:
        made = bootstrap(settings)["static_resources"]
        (listener,) = (item for item in made["listeners"] if item["name"] == "metrics")
        listener["address"]["socket_address"]["port_value"] = self.port
        clusters = {item["name"]: item for item in made["clusters"] if item["name"] in {ADMIN_CLUSTER, APP_CLUSTER}}
        (endpoint,) = clusters[ADMIN_CLUSTER]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = self.statistics.server_port
        return {"static_resources": {"listeners": [listener], "clusters": list(clusters.values())}}

    def __enter__(self) -> Self:
        command = [str(envoy_binary()), "-c", str(self._path), "--disable-hot-restart", "--concurrency", "1"]
        self._envoy = subprocess.Popen([*command, "-l", "error"], env={**os.environ, **HOME})
        wait_until(self._listens)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._envoy.kill()
        self._envoy.wait()
        for told in (self.statistics, self.app):
            told.shutdown()
            told.server_close()

    def _listens(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def scrape(self, headers: dict[str, str] | None = None, path: str = "/stats/prometheus") -> str:
        """What somebody who scrapes is told."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers or {})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            text: str = answer.read().decode()
        return text
