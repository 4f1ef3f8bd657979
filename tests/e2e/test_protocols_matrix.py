"""The matrix of protocols (rule H2): every row of `protocol_rows` under every column, through real sidecars.

A column is one caller and one host; all rows of it are talked to at once, and the tests look at what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

import world
from protocol_mesh import Found, ProtocolMesh
from protocol_rows import BY_NUMBER, DETECTED, ROWS, Row

DETECTION_TIMEOUT = 1.0
"""Seconds a silent connection of unknown protocol waits (`TranslateSettings.detection_timeout`)."""
MANY = 20
"""Draws between two servers: all of them go to one once in half a million runs."""

each_row = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture(scope="module")
def found(protocols: ProtocolMesh) -> Mapping[str, Found]:
    """What was found in each column."""
    protocols.write("split.yaml", world.split("echo", "echo", {"echo-v1": 1, "echo-v2": 1}))
    strict, permissive = protocols.pod_address("echo-v1"), protocols.pod_address("open")
    columns = {
        "allowed": ("client", "echo-v1"),
        "split": ("client", "echo", "--count", str(MANY)),
        "server without sidecar": ("client", "bare"),
        "servers of both kinds": ("client", "mixed", "--count", str(MANY)),
        "denied by the server": ("limited", "echo-v1"),
        "denied by the caller's sidecar": ("stranger", "echo-v1"),
        "pod address": ("client", strict, "--container"),
        "caller without sidecar, strict": ("plain", strict, "--container"),
        "caller without sidecar, permissive": ("plain", permissive, "--container"),
    }
    with ThreadPoolExecutor(3) as pool:
        talks = {name: pool.submit(protocols.talk, *words) for name, words in columns.items()}
        seen = {name: talk.result() for name, talk in talks.items()}
    protocols.write("split.yaml", world.split("echo", "echo", {"echo-v1": 0, "echo-v2": 1}))
    seen["split, all to one"] = protocols.talk("client", "echo", "--count", "4")
    protocols.remove("split.yaml")
    return seen


@each_row
def test_h2_an_allowed_caller_is_served_and_nothing_of_what_was_said_is_lost(
    found: Mapping[str, Found], row: Row
) -> None:
    seen = found["allowed"][str(row)]
    assert (seen["names"], seen["refused"]) == ({"echo-v1": 2}, "")
    _assert_whole(row, seen["facts"], "echo-v1")


@pytest.mark.parametrize("row", [row for row in ROWS if row.speaks in {"http1", "h2c"}], ids=str)
def test_a2_the_app_is_told_who_calls_and_sees_the_version_the_caller_speaks(
    found: Mapping[str, Found], row: Row
) -> None:
    facts = found["allowed"][str(row)]["facts"]
    assert facts["headers"]["x-forwarded-client-cert"].endswith("URI=spiffe://cluster.local/ns/test/sa/client")
    assert facts["request"] == ("HTTP/2" if row.speaks == "h2c" else "POST / HTTP/1.1")


@each_row
def test_t2_t7_a_split_divides_requests_or_connections(found: Mapping[str, Found], row: Row) -> None:
    seen = found["split"][str(row)]
    assert (set(seen["names"]), sum(seen["names"].values())) == ({"echo-v1", "echo-v2"}, MANY)
    assert found["split, all to one"][str(row)]["names"] == {"echo-v2": 4}


@each_row
def test_a12_who_may_do_something_else_is_refused_by_the_server(found: Mapping[str, Found], row: Row) -> None:
    seen = found["denied by the server"][str(row)]
    assert (seen["names"], seen["refused"]) == ({}, _refusal(row))


@each_row
def test_a16_who_may_do_nothing_is_refused_by_its_own_sidecar(found: Mapping[str, Found], row: Row) -> None:
    seen = found["denied by the caller's sidecar"][str(row)]
    assert (seen["names"], seen["refused"]) == ({}, _refusal(row))


@each_row
def test_h3_strict_mtls_refuses_a_caller_without_sidecar(found: Mapping[str, Found], row: Row) -> None:
    seen = found["caller without sidecar, strict"][str(row)]
    assert (seen["names"], seen["refused"]) == ({}, "closed")


@each_row
def test_h3_permissive_mtls_serves_a_caller_without_sidecar(found: Mapping[str, Found], row: Row) -> None:
    seen = found["caller without sidecar, permissive"][str(row)]
    assert (seen["names"], seen["refused"]) == ({"open": 2}, "")
    _assert_whole(row, seen["facts"], "open")
    assert "x-forwarded-client-cert" not in seen["facts"].get("headers", {})


@each_row
def test_h4_a_server_without_sidecar_is_spoken_to_in_plaintext(found: Mapping[str, Found], row: Row) -> None:
    seen = found["server without sidecar"][str(row)]
    assert (seen["names"], seen["refused"]) == ({"bare": 2}, "")
    _assert_whole(row, seen["facts"], "bare")


@each_row
def test_h4_pods_with_and_without_sidecar_share_a_service(found: Mapping[str, Found], row: Row) -> None:
    seen = found["servers of both kinds"][str(row)]
    assert (set(seen["names"]), sum(seen["names"].values())) == ({"echo-v1", "bare"}, MANY)


@each_row
def test_h5_a_pods_own_address_is_as_good_as_its_service(found: Mapping[str, Found], row: Row) -> None:
    seen = found["pod address"][str(row)]
    assert (seen["names"], seen["refused"]) == ({"echo-v1": 2}, "")
    _assert_whole(row, seen["facts"], "echo-v1")


@pytest.mark.parametrize("host", ["echo-v1", "bare", "mixed"])
def test_h2_where_the_server_speaks_first_nobody_waits_if_the_port_says_so(protocols: ProtocolMesh, host: str) -> None:
    found = protocols.talk("client", host, "--count", "1", "--only", "banner")
    waited = {row: seen["facts"]["seconds"] for row, seen in found.items()}
    assert max(seconds for row, seconds in waited.items() if DETECTED not in row) < DETECTION_TIMEOUT, waited


def test_h2_the_matrix_has_every_protocol_declared_in_every_way() -> None:
    ways = {speaks: {row.declared.split()[0] for row in ROWS if row.speaks == speaks} for speaks in _spoken()}
    assert set(ways) == {"http1", "h2c", "grpc", "ws", "tcp", "banner", "tls"}
    assert all(way >= {"appProtocol", "port", DETECTED} for way in ways.values())
    assert BY_NUMBER in {row.declared for row in ROWS}


def _spoken() -> set[str]:
    return {row.speaks for row in ROWS}


def _refusal(row: Row) -> str:
    if row.speaks == "grpc":
        return "PERMISSION_DENIED"
    return "403" if row.is_http else "closed"


def _assert_whole(row: Row, facts: Mapping[str, object], name: str) -> None:
    """What each protocol would lose first, had anything on the way not understood it."""
    expected: dict[str, dict[str, object]] = {
        "http1": {"body": "abcde"},
        "h2c": {"trailers": {"x-end": name}},
        "grpc": {
            "trailer": name,
            "many": [f"{number} x" for number in range(5)],
            "both": ["1", "2", "3"],
            "fail": ["FAILED_PRECONDITION", "not today", "on purpose", "00ff"],
        },
        "ws": {"first": "hello", "unchanged": True, "accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        "tcp": {"back": b"\x00\xfe ping\n".hex()},
        "banner": {"second": [name, "HELO", "any"]},
        "tls": {"sni": "app.example", "same_certificate": True},
    }
    assert {key: facts.get(key) for key in expected[row.speaks]} == expected[row.speaks]
