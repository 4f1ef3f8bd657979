"""Paths as rules look at them: what `mesh.paths` says of random paths is what a live Envoy makes of them (rule A9)."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from random import Random
from typing import Any, Final

from bootstrapped import free_port
from mesh.paths import UnclearPathError, canonical
from running_mesh import DEADLINE
from sidecars import envoy_binary

HTTP: Final = "type.googleapis.com/envoy.extensions.filters"
PATHS: Final = 1500
PIECES: Final = (
    "/", "//", "a", ".", "..", "%2e", "%2E%2e", "%2f", "%5C", "\\", "%41", "%00", "%7e", "~", "?x=/../a", '"', "<", "{",
    "|", "^", "`", "%20", "+", ";", "@", ":", "%C3%A9", "b=1", "!", "$", "(", "'", "*", ",", "[", "]", "&", "=", "%",
)  # fmt: skip


def bootstrap(port: int) -> dict[str, Any]:
    """An Envoy that answers with the path it sees, made of it as our sidecars' inbound listeners do."""
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "paths",
        "normalize_path": True,
        "merge_slashes": True,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{
                "match": {"prefix": "/"}, "direct_response": {"status": 200},
                "response_headers_to_add": [{"header": {"key": "x-path", "value": "%REQ(:PATH)%"}}],
            }],
        }]},
    }  # fmt: skip
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chains = [{"filters": [{"name": "http", "typed_config": manager}]}]
    return {"static_resources": {"listeners": [{"name": "in", "address": address, "filter_chains": chains}]}}


def seen(port: int, path: str) -> str | None:
    """The path as Envoy sees it, None where it answers 400."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: paths\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
    status, *lines = head.decode().split("\r\n")
    assert status.split()[1] in {"200", "400"}, status
    return next((line.removeprefix("x-path: ") for line in lines if line.startswith("x-path: ")), None)


def expected(path: str) -> str | None:
    try:
        return canonical(path)
    except UnclearPathError:
        return "unclear"


def test_a9_a_path_is_to_rules_what_envoy_makes_of_it(tmp_path: Path) -> None:
    random, port = Random(9), free_port()
    paths = ["/" + "".join(random.choices(PIECES, k=random.randint(0, 6))) for _ in range(PATHS)]
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(port)))
    words = [str(envoy_binary()), "-c", str(file), "--use-dynamic-base-id", "-l", "critical", "--concurrency", "1"]
    envoy = subprocess.Popen(words)
    try:
        _listening(port, envoy)
        wanted = {path: want for path in paths if (want := expected(path)) != "unclear"}
        assert {path: seen(port, path) for path in wanted} == wanted
        assert len(wanted) > PATHS / 2
        assert None in wanted.values()
    finally:
        envoy.terminate()
        envoy.wait(DEADLINE)


def _listening(port: int, envoy: subprocess.Popen[bytes]) -> None:
    while envoy.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            continue
        return
    raise AssertionError("Envoy ended")
