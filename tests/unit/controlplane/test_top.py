"""`weft top` of a workload: how requests are put together, and what is drawn of them."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from controlplane.cli.main import command_line
from controlplane.cli.top import Requests
from controlplane.tap.busiest import OTHERS, PAIRS, PATHS, Busiest, Row
from controlplane.tap.wording import ends

CALLER = "spiffe://cluster.local/ns/shop/sa/storefront"


def request(path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "pod": "shop/web-6d5f7c9b8d-x7x2k", "direction": "inbound", "peer": CALLER, "protocol": "HTTP/2",
        "method": "GET", "path": path, "status": 200, "reason": "", "milliseconds": 1.0, "time": 1.0, **more,
    }  # fmt: skip


def rows(*requests: dict[str, Any]) -> list[Row]:
    busiest = Busiest()
    for each in requests:
        busiest.add(each)
    return busiest.rows()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ("shop/storefront", "shop/web")),
        ({"peer": "10.0.0.7:41234"}, ("10.0.0.7", "shop/web")),
        ({"peer": "[fd00::7]:41234"}, ("[fd00::7]", "shop/web")),
        ({"direction": "outbound", "peer": "shop/catalog/80"}, ("shop/web", "shop/catalog:80")),
        ({"direction": "outbound", "peer": "10.96.0.1:443"}, ("shop/web", "10.96.0.1:443")),
        ({"pod": "shop/database-0"}, ("shop/storefront", "shop/database")),
    ],
)
def test_ends_are_what_stays_the_same_from_one_connection_and_pod_to_the_next(
    given: dict[str, str], wanted: tuple[str, str]
) -> None:
    assert ends(request(**given)) == wanted


def test_requests_that_are_alike_are_one_row_with_best_worst_and_last() -> None:
    (row,) = rows(*(request(milliseconds=took, time=at) for took, at in ((3.0, 1.0), (1.0, 3.0), (2.0, 2.0))))
    assert (row.method, row.path, row.count) == ("GET", "/", 3)
    assert (row.best, row.worst) == (1.0, 3.0)
    assert row.last == 1.0, "the one that began last"


def test_the_busiest_come_first_and_methods_are_told_apart() -> None:
    found = rows(request("/a"), request("/b", method="POST"), request("/b"), request("/b"))
    assert [(row.method, row.path, row.count) for row in found] == [
        ("GET", "/b", 2),
        ("GET", "/a", 1),
        ("POST", "/b", 1),
    ]


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({"status": 200}, 1.0),
        ({"status": 403, "reason": "no TrafficTarget lets this caller do this"}, 1.0),
        ({"status": 503}, 0.0),
        ({"status": 0}, 0.0),
        ({"method": "", "path": "", "status": 0, "protocol": "TCP"}, 1.0),
        ({"method": "", "path": "", "status": 0, "protocol": "TCP", "reason": "plaintext"}, 0.0),
    ],
)
def test_what_failed_is_what_weft_stat_calls_failed(given: dict[str, Any], rate: float) -> None:
    assert [row.success_rate for row in rows(request(**given))] == [rate]


def test_many_paths_are_merged_by_what_looks_like_an_id() -> None:
    found = rows(*(request(f"/v1/users/{number}/cart") for number in range(PATHS + 5)), request("/v1/health"))
    assert [(row.path, row.count) for row in found] == [("/v1/users/*/cart", PATHS + 5), ("/v1/health", 1)]


def test_few_paths_stay_as_they_are() -> None:
    assert {row.path for row in rows(request("/items/1"), request("/items/2"))} == {"/items/1", "/items/2"}


def test_many_paths_without_ids_and_many_callers_end_in_one_row() -> None:
    words = [f"/{a}{b}" for a in "abcdef" for b in "abcdef"]
    by_path = {row.path: row.count for row in rows(*map(request, words))}
    assert len(by_path) == PATHS + 1
    assert by_path[OTHERS] == len(words) - PATHS
    callers = rows(*(request(peer=f"10.0.{number // 250}.{number % 250}:1") for number in range(PAIRS + 50)))
    assert len(callers) == PAIRS + 1
    assert (callers[0].source, callers[0].path, callers[0].count) == (OTHERS, OTHERS, 50)


@given(
    st.lists(
        st.builds(
            request,
            st.text(max_size=200) | st.integers().map(lambda number: f"/{number}"),
            method=st.sampled_from(["GET", "POST", ""]),
            milliseconds=st.floats(0, 1e6),
            peer=st.sampled_from([CALLER, "10.0.0.7:1"]),
        ),
        max_size=100,
    )
)
def test_every_request_is_in_some_row_and_rows_are_few(requests: list[dict[str, Any]]) -> None:
    found = rows(*requests)
    assert sum(row.count for row in found) == len(requests)
    assert len(found) <= (PATHS + 1) * 6
    assert all(row.best <= row.last <= row.worst for row in found)
    assert all((row.source + row.path + row.method).isprintable() for row in found)


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_shows_every_column_and_one_line_a_row(width: int) -> None:
    shown = Requests()
    shown.hear({"watching": ["shop/web-1", "shop/web-2"]})
    for path in ("/a/long/path/of/an/api/that/goes/on/and/on/and/on/for/ever", "/", "/three"):
        shown.hear(request(path, pod="shop/a-workload-with-a-long-name-6d5f7c9b8d-x7x2k"))
    shown.hear({"missed": 7})
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(shown.drawn(2))
    heading, *lines, note = console.export_text().splitlines()
    assert heading.split() == ["SOURCE", "DESTINATION", "METHOD", "PATH", "COUNT", "BEST", "WORST", "LAST", "SUCCESS"]
    assert len(lines) == 2
    assert all(line.split()[-5:] == ["1", "1.0ms", "1.0ms", "1.0ms", "100.00%"] for line in lines)
    assert note.startswith("3 requests of 2 pods. Rows that are not shown: 1. 7 came too fast")


class Api(HTTPServer):
    """Answers /tap with these lines, and keeps what was asked."""

    lines: tuple[dict[str, Any], ...] = ()
    asked: str = ""


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.asked = self.path
        self.send_response(200)
        self.end_headers()
        for line in self.server.lines:
            self.wfile.write(json.dumps(line).encode() + b"\n\n")

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def weft_top(api: Api, *words: str) -> Result:
    return CliRunner().invoke(command_line(), ["top", *words, "--admin", f"http://127.0.0.1:{api.server_port}"])


def test_a_workload_is_asked_for_with_what_was_chosen_and_its_table_stays(api: Api) -> None:
    api.lines = ({"watching": ["shop/web-1"]}, request("/a"), request("/b"), request("/a"), request("/never"))
    done = weft_top(api, "deploy/web", "-n", "shop", "--status", "2xx", "--max", "3")
    assert done.exit_code == 0
    assert api.asked == "/tap?target=deploy%2Fweb&namespace=shop&status=2xx"
    assert [line.split()[3:5] for line in done.stdout.splitlines()[1:3]] == [["/a", "2"], ["/b", "1"]]
    assert "/never" not in done.stdout


def test_a_control_plane_that_ends_is_said_below_what_was_seen(api: Api) -> None:
    api.lines = ({"watching": ["shop/web-1"]}, request("/a"))
    done = weft_top(api, "deploy/web")
    assert done.exit_code == 1
    assert "/a" in done.stdout
    assert "has ended" in done.stderr


def test_choosing_among_requests_needs_a_workload(api: Api) -> None:
    done = weft_top(api, "svc", "--path", "/a")
    assert done.exit_code == 2
    assert "name a workload" in done.stderr
