"""Attacks by callers and by apps, with real sidecars: nobody gets more than a rule gives, and nobody learns a key."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import world
from local.state import state_folder
from world import account, group_ref, manifests, route_group, target

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WAIT = "--wait=0.15"
UPGRADE = r"Connection: Upgrade\r\nUpgrade: {}\r\n"
STEERING = (
    "x-envoy-upstream-alt-stat-name: attacker|x-envoy-internal: true|x-envoy-retry-on: 5xx|x-envoy-max-retries: 9"
)

PUBLIC = manifests(
    route_group("public", {"name": "public", "methods": ["GET"], "pathRegex": "/public"}),
    target("public", "web-v1", [account("client")], [group_ref("public")]),
)
"""The client may GET what begins with /public, and nothing else."""


def request(line: str, *headers: str) -> str:
    """A request as `echo.py raw` takes it."""
    return r"\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", ""])


ADMIN = request("GET /admin")
SPELLINGS = {
    "another path": ADMIN,
    "another method": request("POST /public", "Content-Length: 0"),
    "a method that another header overrides": request("DELETE /public", "X-HTTP-Method-Override: GET"),
    "a method in small letters": request("get /admin"),
    "absolute form": request("GET http://x/admin"),
    "absolute form with dots": request("GET http://x/public/../admin"),
    "dots": request("GET /public/./../admin"),
    "escaped dots": request("GET /public/%2e%2e/admin"),
    "a path parameter": request("GET /public/..;/admin"),
    "an escaped slash": request("GET /public%2f..%2fadmin"),
    "bytes beyond ASCII": request(r"GET /public\xff%2f..%2fadmin"),
    "a null byte": request("GET /public%00/../admin"),
    "a fragment": request("GET /admin#/public"),
    "a query": request("GET /admin?/public"),
    "a path in a header": request("GET /admin", "x-envoy-original-path: /public", "x-original-url: /public"),
    "a pseudo-header": request("GET /admin", ":path: /public"),
    "TRACE": request("TRACE /public"),
    "CONNECT": request("CONNECT web-v1:80") + ADMIN,
    "asterisk form": request("OPTIONS *"),
    "HTTP/1.0": r"GET /admin HTTP/1.0\r\n\r\n",
    "line feeds only": r"GET /public HTTP/1.1\nHost: x\n\nGET /admin HTTP/1.1\nHost: x\n\n",
    "an upgrade to HTTP/2": request("GET /public", UPGRADE.format("h2c") + "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    + ADMIN,
    "an upgrade that the app doesn't take": request("GET /public", UPGRADE.format("websocket") + "X: y") + ADMIN,
    "two lengths": request("GET /public", "Content-Length: 5", "Content-Length: 60") + ADMIN,
    "length and chunks": request("GET /public", "Content-Length: 5", "Transfer-Encoding: chunked") + "0" + ADMIN,
    "unheard-of coding": request("GET /public", "Transfer-Encoding: xchunked", "Content-Length: 60") + ADMIN,
    "a space before the colon": request("GET /public", "Transfer-Encoding : chunked", "Content-Length: 60") + ADMIN,
}


@pytest.mark.parametrize("by_pod_address", [False, True])
def test_a9_a11_no_spelling_of_a_request_reaches_more_than_the_rule_names(mesh: EchoMesh, by_pod_address: bool) -> None:
    """By the pod's address the caller's sidecar looks into nothing, so the server's alone judges (H5)."""
    mesh.write("rule.yaml", PUBLIC)
    host, port = (mesh.pod_address("web-v1"), "8080") if by_pod_address else ("web-v1.test", "80")
    wanted, *heard = mesh.echo("client", "raw", host, port, request("GET /public"), *SPELLINGS.values(), WAIT)
    assert wanted.startswith("HTTP/1.1 200")
    for spelling, answer in zip(SPELLINGS, heard, strict=True):
        reached = set(re.findall(r'"method": "(\w+)", "path": "([^"?]*)', answer))
        assert reached <= {("GET", "/public")}, f"{spelling}: {answer}"
        assert "HTTP/1.1 5" not in answer, f"{spelling}: {answer}"


def test_a2_no_header_says_who_the_caller_is_or_what_its_sidecars_do(mesh: EchoMesh) -> None:
    """x-forwarded-for with one private address would make Envoy take x-envoy-… headers as orders."""
    mesh.write("rule.yaml", PUBLIC)
    forged = "x-forwarded-client-cert: By=x;URI=spiffe://cluster.local/ns/test/sa/web-v1"
    for address in (mesh.pod_address("web-v1"), "web-v1.test"):
        port = "80" if address == "web-v1.test" else "8080"
        asked = request("GET /public", forged, "x-forwarded-for: 10.0.0.1", *STEERING.split("|"))
        (answer,) = mesh.echo("client", "raw", address, port, asked, WAIT)
        headers = json.loads(answer[answer.index("{") :])["headers"]
        assert re.findall(r"URI=([^;]*)", headers["x-forwarded-client-cert"]) == [
            "spiffe://cluster.local/ns/test/sa/client"
        ]
        assert "x-envoy-internal" not in headers
    for pod in ("client", "web-v1"):
        (stats,) = mesh.echo(pod, "raw", "127.0.0.1", "15000", request("GET /stats", "Connection: close"))
        assert "http" in stats
        assert "attacker" not in stats


def own_certificate(uri: str) -> bytes:
    """A key and a certificate for this URI that somebody signed with it, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attacker")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("alpn", ["weft-http", "weft", "h2"])
def test_a2_a_certificate_of_ones_own_opens_nothing(mesh: EchoMesh, alpn: str) -> None:
    mesh.write("rule.yaml", PUBLIC + "\n---\n" + world.allow_tcp("lines", "client"))
    certificate = own_certificate("spiffe://cluster.local/ns/test/sa/client").decode()
    for pod, port, text in (("web-v1", "8080", request("GET /public")), ("lines", "9001", "x")):
        for options in ([], [f"--certificate={certificate}"]):
            words = (mesh.pod_address(pod), port, text, f"--alpn={alpn}", *options, WAIT)
            assert mesh.echo("plain", "raw", *words) == [""]


@pytest.mark.parametrize("caller", ["client", "plain"])
def test_the_sidecars_own_ports_are_no_way_in(mesh: EchoMesh, caller: str) -> None:
    """15000 is Envoy's admin interface, 15001 would be an open proxy; 15021 and 15090 answer their own paths only."""
    address = mesh.pod_address("web-v1")
    texts = [
        request(f"GET {path}") for path in ("/config_dump", "/quitquitquit", "/stats/prometheus/../../config_dump")
    ]
    for port in ("15000", "15001", "15006"):
        assert mesh.echo(caller, "raw", address, port, *texts, WAIT) == ["", "", ""]
    for port in ("15021", "15090"):
        answers = mesh.echo(caller, "raw", address, port, *texts, WAIT)
        assert {answer[:12] for answer in answers} == {"HTTP/1.1 404"}


def test_an_app_that_takes_the_sidecars_source_address_gets_no_further(mesh: EchoMesh) -> None:
    """The redirect rules let 127.0.0.6 through to the pod itself only."""
    for address, port in ((mesh.pod_address("web-v1"), "8080"), (mesh.pod_address("lines"), "9001")):
        assert mesh.echo("client", "raw", address, port, ADMIN, "--source=127.0.0.6", WAIT) == [""]


def test_h3_permissive_mtls_gives_plaintext_callers_no_identity(mesh: EchoMesh) -> None:
    """The port takes plaintext, and TrafficTargets still name identities: nobody without one is let in."""
    base = mesh.folder / "base.yaml"
    written = base.read_text()
    mesh.write("rule.yaml", manifests(
        route_group("all", {"name": "all", "methods": ["*"]}),
        target("all", "web-v1", [account("client"), account("other")], [group_ref("all")]),
    ) + "\n---\n" + world.allow_tcp("lines", "client", "other"))  # fmt: skip
    forged = request("GET /", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/test/sa/client")
    annotated = '"name": "test", "annotations": {"weft.dev/mtls": "permissive"},'
    try:
        mesh.write("base.yaml", re.sub(r'"name": "test",(?=\s+"labels")', annotated, written))
        (answer,) = mesh.echo("plain", "raw", mesh.pod_address("web-v1"), "8080", forged, WAIT)
        assert answer.startswith("HTTP/1.1 403")
        assert mesh.echo("plain", "raw", mesh.pod_address("lines"), "9001", "x", WAIT) == [""]
        assert mesh.status("client", "http://web-v1.test/") == 200
    finally:
        mesh.write("base.yaml", written)


def test_an_app_learns_no_key_and_no_token(mesh: EchoMesh) -> None:
    """Not by files, not by processes, and not from its own sidecar's admin interface, which shows certificates."""
    folder = state_folder(mesh.name)
    script = (
        f"cat {folder}/ca/* {folder}/pods/*/volumes/*/token {folder}/control.sock; cat /var/run/secrets/weft/token;"
        "for process in /proc/[0-9]*; do case $(cat $process/comm) in envoy|python) "
        "cat $process/environ $process/root/run/secrets/weft/token; esac; done"
    )
    assert mesh.run("test/client", "sh", "-c", f"({script}) 2>/dev/null; true").stdout == ""
    (dump,) = mesh.echo("client", "raw", "127.0.0.1", "15000", request("GET /config_dump", "Connection: close"))
    assert '"name": "leaf"' in dump
    assert "PRIVATE KEY" not in dump
    shown = set(re.findall(r'"private_key": {\s*"inline_bytes": "([^"]*)"', dump))
    assert shown == {"W3JlZGFjdGVkXQ=="}, "[redacted], in base64"


def test_a_container_that_runs_as_root_sees_no_key_of_the_mesh(mesh: EchoMesh) -> None:
    script = f"id -u; ls -A {state_folder(mesh.name).parent}; sleep infinity"
    root: dict[str, Any] = world.deployment("root", "other", ["sh", "-c", script], [])
    root["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
    mesh.write("root.yaml", manifests(root))
    mesh.wait_until(lambda: "root" in mesh.ready_apps(), "the pod runs")
    looked = mesh.run("test/root", "sh", "-c", f"id -u; ls -A {state_folder(mesh.name).parent}")
    assert looked.stdout == "0\n"
