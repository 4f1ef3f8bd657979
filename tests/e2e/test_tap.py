"""`weft tap` through the mesh: a new user sees requests and refusals with their reasons, and no connection notices."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from typing import Any, Self

import pytest

import world
from echo_mesh import EchoMesh
from running_mesh import WEFT
from xds.told import BY_RULES

CLIENT, OTHER, WEB = (f"spiffe://cluster.local/ns/test/sa/{name}" for name in ("client", "other", "web-v2"))


class Tapped:
    """A running `weft tap -o json`, which has begun to watch."""

    def __init__(self, mesh: EchoMesh, *words: str) -> None:
        self._mesh = mesh
        command = [*WEFT, "tap", *words, "-n", world.NAMESPACE, "--name", mesh.name, "-o", "json"]
        self._process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ended(self) -> int:
        """How the command ended, which it does by itself."""
        return self._process.wait(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def until(self, **wanted: object) -> dict[str, Any]:
        """The next line with these values."""
        seen = []
        try:
            while True:
                line = self._lines.get(timeout=10)
                if all(line[key] == value for key, value in wanted.items()):
                    return line
                seen.append(line)
        except queue.Empty:
            raise AssertionError(f"no line has {wanted}; there were {seen}") from None


def watched(mesh: EchoMesh, pod: str) -> str:
    """What Envoy itself says of the switch."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:15000/runtime').read().decode())"
    found = json.loads(mesh.run(f"test/{pod}", "python3", "-c", script).stdout)
    return str(found["entries"].get("weft.tap", {}).get("final_value", "off"))


def listeners_sent(mesh: EchoMesh) -> dict[str, int]:
    return {each["node"]: each["types"]["Listener"]["pushes"] for each in mesh.proxies()}


@pytest.fixture
def rules(mesh: EchoMesh) -> EchoMesh:
    """Client may `GET /open` of web-v2."""
    mesh.write("tap.yaml", world.manifests(
        world.route_group("opened", {"name": "open", "pathRegex": "/open", "methods": ["GET"]}),
        world.target("client-to-web-v2", "web-v2", [world.account("client")], [world.group_ref("opened", "open")]),
    ))  # fmt: skip
    return mesh


def test_a12_a_new_user_sees_requests_and_refusals_with_their_reasons(rules: EchoMesh) -> None:
    mesh, before = rules, listeners_sent(rules)
    with Tapped(mesh, "ns/test") as tap:
        mesh.wait_until(lambda: watched(mesh, "web-v2") == "100", "the server's sidecar is switched on")
        mesh.wait_until(lambda: watched(mesh, "other") == "100", "the caller's sidecar is switched on")
        assert mesh.status("client", "http://web-v2/open?card=4711") == 200
        served = tap.until(direction="inbound", path="/open")
        assert (served["source"], served["destination"], served["status"]) == (CLIENT, WEB, 200)
        assert (served["method"], served["port"], served["reason"]) == ("GET", 8080, "")
        assert "4711" not in json.dumps(served), "a query may hold secrets"
        assert mesh.status("client", "http://web-v2/closed") == 403
        refused = tap.until(direction="inbound", path="/closed")
        assert (refused["source"], refused["status"], refused["reason"]) == (CLIENT, 403, BY_RULES)
        # Nothing lets `other` in: its own sidecar refuses (rule A16).
        assert mesh.status("other", "http://web-v2/open") == 403
        own = tap.until(direction="outbound", source=OTHER)
        assert (own["status"], own["reason"]) == (403, "no TrafficTarget lets this workload call it")
        mesh.echo("plain", "get", f"http://{mesh.pod_address('web-v2')}:8080/open")
        plain = tap.until(protocol="TCP")
        assert "plaintext" in plain["reason"]
    mesh.wait_until(lambda: watched(mesh, "web-v2") == "off", "the sidecar tells nothing any more")
    assert listeners_sent(mesh) == before, "no listener was sent, so nothing was drained"


def test_a_workload_is_watched_alone_and_its_requests_are_chosen(rules: EchoMesh) -> None:
    mesh = rules
    with Tapped(mesh, "deploy/client", "--status", "4xx", "--path", "/clo", "--max", "1") as tap:
        mesh.wait_until(lambda: watched(mesh, "client") == "100", "the caller's sidecar is switched on")
        assert watched(mesh, "web-v2") == "off"
        for path in ("/open", "/closed"):
            mesh.status("client", f"http://web-v2{path}")
        line = tap.until()
        assert (line["direction"], line["path"], line["status"]) == ("outbound", "/closed", 403)
        assert line["peer"].startswith("test/web-v2/")
        assert tap.ended() == 0


def test_weft_top_puts_the_requests_of_a_workload_together(rules: EchoMesh) -> None:
    mesh = rules
    command = [*WEFT, "top", "deploy/client", "-n", "test", "--name", mesh.name, "--port", "80", "--max", "3"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        mesh.wait_until(lambda: watched(mesh, "client") == "100", "the caller's sidecar is switched on")
        for path in ("/open?card=4711", "/closed", "/open"):
            mesh.status("client", f"http://web-v2{path}")
        printed, _ = process.communicate(timeout=20)
    heading, first, second, note = printed.splitlines()
    assert heading.split()[:5] == ["SOURCE", "DESTINATION", "METHOD", "PATH", "COUNT"]
    assert first.split()[:5] == ["test/client", "test/web-v2:80", "GET", "/open", "2"]
    assert second.split()[:5] == ["test/client", "test/web-v2:80", "GET", "/closed", "1"]
    assert note == "3 requests of 1 pod."


def test_a_target_that_is_not_there_is_an_error_in_words(mesh: EchoMesh) -> None:
    command = [*WEFT, "tap", "deploy/nobody", "-n", "test", "--name", mesh.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "no meshed pod is known for Deployment test/nobody" in done.stderr
