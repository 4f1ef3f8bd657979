"""A real Prometheus inside a pod of a running mesh, scraping its sidecars and a text that stands for the control plane.

Rule: whoever uses it asks the HTTP API, as Grafana does. It is Debian's package `prometheus`; without it tests skip.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from local.state import command_in_pod
from running_mesh import RunningMesh

PORT = 9190
TEXT_PORT = 9191
SERVE = """
import http.server, sys
text = sys.stdin.buffer.read()
class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(text)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Told).serve_forever()
"""
ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"


def installed() -> bool:
    """Whether there is a Prometheus on this machine."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """Scrapes every second while this is a context. `text` is what the control plane's job is told, again and again."""

    def __init__(self, mesh: RunningMesh, pod: str, sidecars: Iterable[str], text: str) -> None:
        self._mesh, self._pod, self._text = mesh, pod, text
        self._targets = list(sidecars)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        folder = self._folder = Path(tempfile.mkdtemp(prefix="weft-prometheus-"))
        folder.chmod(0o777)
        config = folder / "prometheus.yaml"
        config.write_text(json.dumps(self._configuration()))
        config.chmod(0o644)
        self._start(["python3", "-c", SERVE, str(TEXT_PORT)], self._text.encode())
        self._start(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=error"], b"",
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            process.terminate()
            process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series an expression gives now. AssertionError where Prometheus does not take it or is not there."""
        url = f"http://127.0.0.1:{PORT}/api/v1/query?query={quote(expression)}"
        command, environment = command_in_pod(self._mesh.name, self._pod, ["python3", "-S", "-c", ASK, url])
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, (expression, done.stderr[-300:])
        found: list[dict[str, Any]] = json.loads(done.stdout)["data"]["result"]
        return found

    def answers(self) -> bool:
        """Whether everything was scraped three times, so that rates are known."""
        try:
            series = self.query("count_over_time(up[1m]) >= 3 and up == 1")
        except AssertionError:
            return False
        return len(series) == len(self._targets) + 1

    def _start(self, argv: list[str], said: bytes) -> None:
        command, environment = command_in_pod(self._mesh.name, self._pod, argv)
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
        self._started.append(process)
        assert process.stdin is not None
        process.stdin.write(said)
        process.stdin.close()

    def _configuration(self) -> dict[str, Any]:
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "weft-sidecars",
                    "metrics_path": "/stats/prometheus",
                    "static_configs": [{"targets": self._targets}],
                },
                {"job_name": "weft", "static_configs": [{"targets": [f"127.0.0.1:{TEXT_PORT}"]}]},
            ],
        }
