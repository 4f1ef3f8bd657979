"""The example app: what its servers answer, and that its client counts everything and tries nothing twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from weft_shop import client, roles, servers
from weft_shop.__main__ import main
from weft_shop.servers import Answer, Request


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    """The port of a server that serves while the context lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[index, misc] # an address of TCP
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, count: int = 1, *, keep_alive: bool = True, **headers: str) -> client.Counts:
    """Some requests to a URL; underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.ask(client.Call(url, headers=named, keep_alive=keep_alive), count)


@contextmanager
def shop(greeting: str = "", version: str = "v1") -> Iterator[str]:
    """The URL of a storefront before a catalog before an inventory."""
    with (
        serving(servers.line_server(0, roles.inventory, greeting)) as lines,
        serving(servers.web_server(0, roles.catalog(version, roles.Inventory("127.0.0.1", lines)))) as catalog,
        serving(servers.web_server(0, roles.storefront(f"http://127.0.0.1:{catalog}/items"))) as storefront,
    ):
        yield f"http://127.0.0.1:{storefront}/"


@pytest.mark.parametrize("greeting", ["", roles.GREETING])
def test_a_page_is_made_of_what_catalog_and_inventory_say(greeting: str) -> None:
    with shop(greeting) as url:
        counts = ask(url)
    assert counts.statuses == {"200": 1}
    assert counts.versions == {"v1": 1}
    assert counts.last["catalog"]["items"] == roles.STOCK


def test_the_storefront_passes_the_visitors_header_on_and_no_other() -> None:
    seen: list[Request] = []

    def note(request: Request) -> Answer:
        seen.append(request)
        return Answer({})

    with (
        serving(servers.web_server(0, note)) as catalog,
        serving(servers.web_server(0, roles.storefront(f"http://127.0.0.1:{catalog}/"))) as port,
    ):
        ask(f"http://127.0.0.1:{port}/", x_visitor="tester", x_other="1")
    assert seen[0].headers["x-visitor"] == "tester"
    assert "x-other" not in seen[0].headers


def test_the_storefront_answers_with_the_catalogs_status() -> None:
    with (
        serving(servers.web_server(0, lambda _: Answer("no", 403))) as catalog,
        serving(servers.web_server(0, roles.storefront(f"http://127.0.0.1:{catalog}/"))) as port,
    ):
        assert ask(f"http://127.0.0.1:{port}/").statuses == {"403": 1}


def test_an_upstream_that_is_not_there_is_502_and_probes_still_succeed() -> None:
    nowhere = roles.Inventory("127.0.0.1", closed_port())
    with (
        serving(servers.web_server(0, roles.catalog("v1", nowhere))) as catalog,
        serving(servers.web_server(0, roles.storefront(f"http://127.0.0.1:{closed_port()}/"))) as storefront,
    ):
        assert ask(f"http://127.0.0.1:{catalog}/items").statuses == {"502": 1}
        assert ask(f"http://127.0.0.1:{catalog}/").statuses == {"200": 1}
        assert ask(f"http://127.0.0.1:{storefront}/").statuses == {"502": 1}
        assert ask(f"http://127.0.0.1:{storefront}/healthz").statuses == {"200": 1}


def test_the_catalog_says_who_the_mesh_told_it_called() -> None:
    with serving(servers.web_server(0, roles.catalog("v2", roles.Inventory("127.0.0.1", 1)))) as port:
        counts = ask(f"http://127.0.0.1:{port}/", x_forwarded_client_cert="By=spiffe://y;Hash=1;URI=spiffe://x")
    assert counts.last == {"app": "catalog", "version": "v2", "caller": "spiffe://x"}


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 50)])
def test_requests_share_a_connection_unless_told_otherwise(keep_alive: bool, connections: int) -> None:
    with serving(servers.web_server(0, lambda _: Answer({"version": "v1"}))) as port:
        counts = ask(f"http://127.0.0.1:{port}/", 50, keep_alive=keep_alive)
    assert (counts.requests, counts.connections, counts.versions["v1"]) == (50, connections, 50)
    assert counts.failures == []


def test_a_handler_that_fails_costs_an_answer_of_500_and_not_the_connection() -> None:
    def fail(request: Request) -> Answer:
        raise ValueError(request.path)

    with serving(servers.web_server(0, fail)) as port:
        counts = ask(f"http://127.0.0.1:{port}/x", 2)
    assert (counts.statuses, counts.connections) == ({"500": 2}, 1)
    assert counts.last == {"error": "ValueError: /x"}


def test_a_connection_that_closes_under_a_request_is_counted_and_not_tried_again() -> None:
    class Closes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    with serving(socketserver.TCPServer(("127.0.0.1", 0), Closes)) as port:
        counts = ask(f"http://127.0.0.1:{port}/", 2)
    assert (counts.requests, counts.connections, len(counts.failures)) == (2, 2, 2)
    assert counts.statuses == {}


def test_load_adds_up_what_all_workers_counted() -> None:
    with serving(servers.web_server(0, lambda _: Answer({"version": "v1"}))) as port:
        counts = client.load(client.Call(f"http://127.0.0.1:{port}/"), 0.2, 3)
    assert counts.connections == 3
    assert counts.requests == counts.statuses["200"] == counts.versions["v1"] > 3


def test_waiting_ends_with_the_first_answer_of_the_kind() -> None:
    answers = iter(["v1", "v1", "v2"])
    with serving(servers.web_server(0, lambda _: Answer({"version": next(answers)}))) as port:
        seen = client.wait_for(client.Call(f"http://127.0.0.1:{port}/"), 200, "v2", 10)
    assert seen.at is not None
    assert seen.counts.versions == {"v1": 2, "v2": 1}


def test_waiting_ends_when_its_time_is_up() -> None:
    with serving(servers.web_server(0, lambda _: Answer({}))) as port:
        assert client.wait_for(client.Call(f"http://127.0.0.1:{port}/"), 403, "", 0.05).at is None


@pytest.mark.parametrize("greeting", ["", roles.GREETING])
def test_a_conversation_stays_on_one_connection(greeting: str) -> None:
    with serving(servers.line_server(0, roles.inventory, greeting)) as port:
        said = client.talk("127.0.0.1", port, 0.05, greeted=bool(greeting))
    assert said["lines"] > 1
    assert (said["greeting"], said["failure"]) == (greeting, "")


def test_a_conversation_that_is_cut_says_how() -> None:
    said = client.talk("127.0.0.1", closed_port(), 0)
    assert said["lines"] == 0
    assert said["failure"].startswith("ConnectionRefusedError")


@pytest.mark.parametrize(("line", "answer"), [("stock loom", "loom 3"), ("stock ship", "ship 0"), ("hello", "? hello")])
def test_inventory_lines(line: str, answer: str) -> None:
    assert roles.inventory(line) == answer


def test_the_command_line_prints_json_and_fails_when_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with shop() as url:
        assert main(["ask", url, "--count", "3", "-H", "x-visitor=tester"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"] == {"v1": 3}
    assert main(["ask", url]) == 1


@pytest.mark.parametrize("role", [["storefront"], ["catalog", "--version", "v1"], ["inventory"]])
def test_a_server_ends_when_told_to(role: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "weft_shop", *role, "--port", "0"], stderr=subprocess.PIPE, env={**os.environ}
    )
    with process:
        assert process.stderr is not None
        assert b"serves on port" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def closed_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    return port
