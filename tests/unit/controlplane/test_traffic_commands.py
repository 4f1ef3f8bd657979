"""`weft stat`, `weft edges`, `weft top` of pairs: what is asked of the admin API, and what is printed at any width."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner, Result

from controlplane.cli.main import command_line


def row(name: str, requests: int, failures: int = 0, **more: Any) -> dict[str, Any]:
    rate = (requests - failures) / requests if requests else None
    latency = dict.fromkeys(("p50", "p90", "p95", "p99"), 2.25 if requests else None)
    return {
        "kind": "Deployment", "namespace": "a-namespace-of-some-length", "name": name, "requests": requests,
        "failures": failures, "success_rate": rate, "rps": requests / 30, "latency_ms": latency,
        "codes": {"200": requests - failures, "503": failures} if requests else {}, "pods": {"meshed": 1, "all": 2},
        "connections": {"open": 3, "opened": 3, "closed": 0}, "bytes": {"sent": 20_480, "received": 0}, **more,
    }  # fmt: skip


class Api(ThreadingHTTPServer):
    """Answers everything with `rows`, or `refusal`; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rows: list[dict[str, Any]] = []
        self.silent: list[str] = []
        self.refusal: tuple[int, str] | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, dict(parse_qsl(parts.query))))
        code, document = 200, {"seconds": 30.0, "silent": self.server.silent, "rows": self.server.rows}
        if self.server.refusal is not None:
            code, document = self.server.refusal[0], {"detail": self.server.refusal[1]}
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def weft(api: Api, *words: str) -> Result:
    return CliRunner().invoke(
        command_line(), [*words, "--admin", f"http://127.0.0.1:{api.server_port}"], env={"COLUMNS": "80"}
    )


@pytest.mark.parametrize(
    ("words", "path", "asked"),
    [
        (["stat"], "/traffic/stat", {"kind": "deployments", "window": "30.0"}),
        (["stat", "svc/web", "-n", "shop", "-t", "1m30s"], "/traffic/stat",
         {"kind": "svc", "name": "web", "namespace": "shop", "window": "90.0"}),
        (["stat", "ts", "canary"], "/traffic/stat", {"kind": "ts", "name": "canary", "window": "30.0"}),
        (["stat", "deploy", "--from", "deploy/shop/a", "--to", "svc/shop/b"], "/traffic/stat",
         {"kind": "deploy", "caller": "deploy/shop/a", "called": "svc/shop/b", "window": "30.0"}),
        (["edges", "ns"], "/traffic/edges", {"kind": "ns", "window": "30.0"}),
    ],
)  # fmt: skip
def test_a_command_asks_what_it_was_asked(api: Api, words: list[str], path: str, asked: dict[str, str]) -> None:
    done = weft(api, *words)
    assert done.exit_code == 0, done.output
    assert api.asked == [(path, asked)]


def test_a_table_is_as_wide_as_it_is_and_loses_no_word(api: Api) -> None:
    api.rows = [row("a-deployment-with-a-long-name-v1", 3000, 30), row("b", 0)]
    heading, first, second = weft(api, "stat", "-o", "wide").stdout.splitlines()
    assert heading.split() == [
        "NAMESPACE", "NAME", "MESHED", "SUCCESS", "RPS", "P50", "P95", "P99", "TCP", "REQUESTS", "FAILED", "SENT",
        "RECEIVED", "CODES",
    ]  # fmt: skip
    assert first.split() == [
        "a-namespace-of-some-length", "a-deployment-with-a-long-name-v1", "1/2", "99.00%", "100.0", "2.2ms", "2.2ms",
        "2.2ms", "3", "3000", "30", "20.5k", "0", "200:2970", "503:30",
    ]  # fmt: skip
    assert second.split()[2:9] == ["1/2", "-", "-", "-", "-", "-", "3"]


def test_a_split_shows_weights_and_shares(api: Api) -> None:
    backend = {"apex": "web", "name": "web-v2", "weight": 10, "share": 0.125}
    api.rows = [row("canary", 100, backend=backend)]
    heading, line = weft(api, "stat", "ts").stdout.splitlines()
    assert heading.split()[2:6] == ["APEX", "BACKEND", "WEIGHT", "SHARE"]
    assert line.split()[2:6] == ["web", "web-v2", "10", "12.5%"]


def test_top_shows_the_busiest_pairs_first_until_it_is_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", ended)
    peer = {"kind": "Deployment", "name": "caller"}
    api.rows = [row(name, number, peer=peer, namespace="s") for name, number in {"idle": 1, "busy": 900}.items()]
    done = weft(api, "top")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [
        ["FROM", "TO"], ["caller", "s/busy"], ["caller", "s/idle"]
    ]  # fmt: skip


def test_json_is_what_the_control_plane_says(api: Api) -> None:
    api.rows = [row("web", 3)]
    assert json.loads(weft(api, "edges", "-o", "json").stdout)["rows"] == api.rows


def test_sidecars_that_do_not_answer_are_named(api: Api) -> None:
    api.silent = ["shop/web-1"]
    assert "1 sidecar does not answer: shop/web-1" in weft(api, "stat").stderr


@pytest.mark.parametrize(("code", "exit_code"), [(400, 2), (503, 1)])
def test_a_refusal_is_a_sentence(api: Api, code: int, exit_code: int) -> None:
    api.refusal = code, "no such thing as 'foo'"
    done = weft(api, "stat", "foo")
    assert (done.exit_code, "no such thing as 'foo'" in done.stderr) == (exit_code, True)


def test_a_window_that_is_none_is_not_understood(api: Api) -> None:
    assert weft(api, "stat", "-t", "yesterday").exit_code == 2
    assert api.asked == []
