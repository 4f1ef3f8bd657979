"""HTTP/1.1 apps whose sidecars speak HTTP/2 to each other (decision 0100): what could be lost on the way is not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

import world
from protocol_mesh import ProtocolMesh
from protocol_rows import ROWS, Row
from world import manifests

STALLED = 40
TALK = """
import ast, json, socket, sys
host, port, stalled, request = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), ast.literal_eval(f"b'{sys.argv[4]}'")
idle = []
for _ in range(stalled):
    sock = socket.create_connection((host, port), 5)
    sock.sendall(b"GET /big HTTP/1.1\\r\\nhost: any\\r\\n\\r\\n")
    sock.recv(1, socket.MSG_PEEK)
    idle.append(sock)
with socket.create_connection((host, port), 10) as sock:
    sock.sendall(request)
    got = b""
    while part := sock.recv(1 << 16):
        got += part
head, _, body = got.partition(b"\\r\\n\\r\\n")
lines = head.decode().lower().split("\\r\\n")
print(json.dumps({"status": lines[0], "headers": lines[1:], "body": body.decode()}))
"""
STATS = """
import json, sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:15000/stats?format=json&filter=downstream_cx_http._total").read().decode())
"""
HTTP1 = [row for row in ROWS if row.speaks == "http1"]


def talk(mesh: ProtocolMesh, row: Row, request: str, stalled: int = 0) -> dict[str, Any]:
    """The answer to a request after which the connection ends, while others of the same caller read nothing."""
    process = mesh.run_in("client", "-c", TALK, "echo-v2", str(row.called), str(stalled), request)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def seen(answer: dict[str, Any]) -> dict[str, Any]:
    """What the app saw of the request."""
    told: dict[str, Any] = json.loads(answer["body"])
    return told


@pytest.mark.parametrize("row", HTTP1, ids=str)
def test_h2_requests_of_old_callers_are_answered_as_they_expect(protocols: ProtocolMesh, row: Row) -> None:
    old = talk(protocols, row, r"GET /old HTTP/1.0\r\n\r\n")
    assert (old["status"].split()[1], seen(old)["request"]) == ("200", "GET /old HTTP/1.1")
    closing = talk(protocols, row, r"GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n")
    assert (closing["status"], "connection: close" in closing["headers"]) == ("http/1.1 200 ok", True)
    head = talk(protocols, row, r"HEAD / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n")
    assert (head["status"], head["body"]) == ("http/1.1 200 ok", "")
    assert any(line.startswith("content-length: ") for line in head["headers"])


@pytest.mark.parametrize("row", HTTP1, ids=str)
def test_h2_headers_arrive_whatever_their_spelling_and_host_stays_host(protocols: ProtocolMesh, row: Row) -> None:
    request = r"GET /x?y=%2F HTTP/1.1\r\nHOST: Any.Example:81\r\nX-Odd_Name: A b\r\ncookie: a=1; b=2\r\n"
    told = seen(talk(protocols, row, request + r"te: trailers\r\nconnection: close\r\n\r\n"))
    assert told["request"] == "GET /x?y=%2F HTTP/1.1"
    expected = {"host": "Any.Example:81", "x-odd_name": "A b", "cookie": "a=1; b=2"}
    assert {name: told["headers"].get(name) for name in expected} == expected


def test_callers_that_do_not_read_hold_nobody_up_who_shares_the_connection(protocols: ProtocolMesh) -> None:
    answer = talk(protocols, HTTP1[0], r"GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n", STALLED)
    assert answer["status"] == "http/1.1 200 ok"


def test_h4_pods_without_sidecar_join_and_leave_a_service_under_load_and_no_request_is_lost(
    protocols: ProtocolMesh,
) -> None:
    """Whoever joins is spoken to in HTTP/1.1 from its first request on, and the connections of the others end well."""
    meshed, both = (
        manifests(world.service("joined", selector, ("http", 80, HTTP1[0].port)))
        for selector in ({"version": "echo-v1"}, {"mixed": "yes"})
    )
    protocols.write("joined.yaml", meshed)
    loads = [protocols.run_in("client", world.ECHO, "load", "http://joined/", "5") for _ in range(3)]
    for text in (both, meshed, both, meshed):
        time.sleep(0.7)
        protocols.write("joined.yaml", text)
    results = [json.loads(load.communicate(timeout=60)[0]) for load in loads]
    protocols.remove("joined.yaml")
    assert [result["errors"] for result in results] == [[], [], []]
    assert {name for result in results for name in result["counts"]} == {"200", "echo-v1", "bare"}


def test_between_sidecars_http_goes_over_http2_where_the_port_says_http(protocols: ProtocolMesh) -> None:
    for row in HTTP1:
        assert seen(talk(protocols, row, r"GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n"))
    process = protocols.run_in("echo-v2", "-c", STATS)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    stats = {stat["name"]: stat["value"] for stat in json.loads(out)["stats"] if "name" in stat}
    carried = {
        row.declared: [
            stats.get(f"http.inbound/{row.port}.downstream_cx_http{version}_total", 0) > 0 for version in (1, 2)
        ]
        for row in HTTP1
    }
    assert carried == {
        "appProtocol http": [False, True],
        "port name http": [False, True],
        "detected": [True, False],
    }
