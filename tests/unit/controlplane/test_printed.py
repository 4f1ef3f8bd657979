"""A control plane's whole life, at its most talkative: nothing that is printed or answered holds a key or a token."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

import world
from ca.tokens import TokenIssuer
from controlplane.cli.main import command_line
from kube.enrolment import INJECTED
from mesh.model import Identity, PodId
from replicas import Proxy, until
from xds import pb
from xds.resource import SECRET
from xds_client import Got

WEFT = (sys.executable, "-P", "-m", "controlplane.cli.main")
PATIENCE = 30.0
POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "client-0", "namespace": world.NAMESPACE, "labels": {"app": "client"},
                 "annotations": {INJECTED: "true"}},
    "spec": {"serviceAccountName": "client", "containers": [{"name": "app", "image": "app"}]},
    "status": {"phase": "Running", "podIP": "10.9.1.1", "podIPs": [{"ip": "10.9.1.1"}]},
}  # fmt: skip
COMMANDS = (
    "proxies", "check", "ca status", "ca rotate", "ca rotate --root", "ca rollback", "ca bundle",
    "ca bundle --format pem", "describe pod client-0 -n test", "authz pod client-0 -n test",
)  # fmt: skip


def forms(pem: bytes) -> set[str]:
    """The ways in which a key might show: PEM and base64 of its DER in any alignment, and its number."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    raw = number.to_bytes(32, "big")
    encoded = {base64.b64encode(bytes(shift) + raw)[4 * (shift > 0) :][:36].decode() for shift in range(3)}
    # The first letter of a shifted one mixes in what stands before the key.
    return {str(number), raw.hex(), repr(raw)[2:-1], *(each[2:] for each in encoded)}


class Process:
    """`weft run` with everything it prints."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, folder / "ca"
        with socket.create_server(("127.0.0.1", 0)) as xds, socket.create_server(("127.0.0.1", 0)) as admin:
            self.xds, self.admin = xds.getsockname()[1], admin.getsockname()[1]
        self.log = folder / "log"
        words = ("run", str(folder / "manifests"), "--ca", str(self.ca), "--log-level", "debug",
                 "--xds-port", str(self.xds), "--admin-port", str(self.admin))  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*WEFT, *words], stdout=log, stderr=log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"

    async def ready(self) -> None:
        await until(lambda: b"serving" in self.log.read_bytes(), "it serves")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "base.yaml").write_text(world.base())
    (tmp_path / "manifests" / "pod.yaml").write_text(json.dumps(POD))
    (tmp_path / "manifests" / "wrong.yaml").write_text('{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "Traff')
    found = Process(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()


async def answers(process: Process) -> list[str]:
    """Every GET route of the admin API, as it is asked about a pod."""
    told: list[str] = []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{process.url}/openapi.json") as answer:
            paths = [path for path, methods in (await answer.json())["paths"].items() if "get" in methods]
        assert {"/config/{namespace}/{pod}", "/ca", "/metrics", "/status"} <= set(paths)
        for path in paths:
            where = re.sub(r"\{(\w+)\}", lambda found: "test" if found[1] == "namespace" else "client-0", path)
            if where == "/tap":
                continue  # never ends
            async with session.get(process.url + where) as answer:
                told.append(await answer.text())
    return told


def command(process: Process, words: str) -> str:
    name, *rest = words.split()
    return CliRunner().invoke(command_line([name]), [name, *rest, "--admin", process.url]).output


async def streams(process: Process) -> tuple[Proxy, bytes, list[str]]:
    """A proxy that stays, the key of the leaf it got, and tokens that were shown: a good one and others."""
    identity = Identity("cluster.local", world.NAMESPACE, "client")
    issuer = TokenIssuer.open(process.ca, "cluster.local")
    good = issuer.issue(identity, PodId("test", "client-0"), timedelta(hours=1))
    bad = [
        issuer.issue(identity, None, timedelta(hours=1), audience="other"),
        good[:-4] + "AAAA",
        "plain-nonsense-token",
    ]
    root = (process.ca / "root.pem").read_bytes()
    roots = root[root.index(b"-----BEGIN CERT") :] if root.index(b"-----BEGIN CERT") else root
    proxies = [Proxy("test/client-0", token, roots.split(b"-----BEGIN PRIVATE")[0]) for token in (good, *bad)]
    heard: list[bytes] = []
    take = proxies[0].model.receive

    def receive(data: bytes) -> Got:
        heard.append(data)
        return take(data)

    proxies[0].model.receive = receive  # type: ignore[method-assign]
    for proxy in proxies:
        proxy.connect(process.xds)
    await until(lambda: any(map(leaf_keys, heard)), "the leaf is there")
    await until(lambda: all(proxy.ending for proxy in proxies[1:]), "the others are refused")
    for proxy in proxies[1:]:
        await proxy.close()
    return proxies[0], next(key for data in heard for key in leaf_keys(data)), [good, *bad]


def leaf_keys(data: bytes) -> list[bytes]:
    """The private keys in a response."""
    secrets = [each.resource for each in pb.DeltaDiscoveryResponse.FromString(data).resources]
    found = [pb.Secret.FromString(each.value) for each in secrets if each.type_url == SECRET]
    return [each.tls_certificate.private_key.inline_bytes for each in found if each.HasField("tls_certificate")]


async def test_nothing_that_is_printed_or_answered_holds_a_key_or_a_token(process: Process) -> None:
    await process.ready()
    proxy, leaf, tokens = await streams(process)
    keys = [leaf, *(path.read_bytes() for path in process.ca.glob("*.pem"))]
    printed = await answers(process)
    said = {words: await asyncio.to_thread(command, process, words) for words in COMMANDS}
    assert "test/client-0" in said["proxies"]
    assert "root" in said["ca status"]
    printed += said.values()
    keys += [path.read_bytes() for path in process.ca.glob("*.pem")]
    await proxy.close()
    process.process.terminate()
    assert await asyncio.to_thread(process.process.wait, PATIENCE) == 0
    printed.append(process.log.read_text())
    words = (*WEFT, "run", str(process.folder / "manifests"), "--ca", str(broken(process.ca)))
    # A key that was edited into nonsense is told of without its bytes.
    begun = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False)
    assert begun.returncode == 1
    printed.append((begun.stdout + begun.stderr).decode())
    text = "\n".join(printed)
    private = {form for pem in keys for part in privates(pem) for form in forms(part)}
    assert len(private) >= 4 * 6
    shown = [form for form in private | {part for token in tokens for part in token.split(".")[1:]} if form in text]
    assert shown == []
    assert "PRIVATE KEY" not in text
    assert "plain-nonsense-token" not in text
    assert json.dumps("refused")[1:-1] in text, "refusals are told"


def test_a_key_would_be_found_in_base64_however_it_is_cut() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    der = key.private_bytes(serialization.Encoding.DER, pkcs8, plain)
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + der).decode()
        assert any(form in encoded for form in forms(pem))


def privates(pem: bytes) -> list[bytes]:
    return re.findall(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", pem, re.DOTALL)


def broken(ca: Path) -> Path:
    path = ca / "root.pem"
    path.write_bytes(path.read_bytes()[:-80])
    return ca
