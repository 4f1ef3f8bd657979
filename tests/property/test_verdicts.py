"""`weft authz` never lies: its answers about random rules are those of what Envoy is sent (rules A1 to A11, H3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Final

from access_rules import Account, Document
from envoy_judge import Judge, Request
from fake_authority import FakeAuthority
from local.plan import planned
from mesh.build import Builder
from mesh.model import Identity, Mesh, PodId
from mesh.settings import MeshSettings
from mesh.verdicts import Call, HttpRequest, judge_call
from random_rules import ACCOUNTS, SERVER, SPACES, random_rules
from sources.manifest import read_manifest
from sources.merge import merged
from xds.snapshot import World
from xds.translate.world import TranslateSettings, Translator

WORLDS: Final = 120
AUTHORITY: Final = FakeAuthority()
PORTS: Final = {8080: "http", 5432: "tcp-database", 9000: "anything"}
MODES: Final[tuple[Document, ...]] = (
    *[{}] * 5,
    {"weft.dev/access": "permissive"},
    {"weft.dev/open-ports": "9000", "weft.dev/mtls": "permissive"},
    {"weft.dev/access": "permissive", "weft.dev/enforced-ports": "8080, 5432"},
)
"""Annotations of the server, one after the other."""
REQUESTS: Final = tuple(
    Request(method, path, headers)
    for method, path, headers in product(
        ("GET", "PUT"),
        ("/a", "/ab", "/b?x=/a", "/x/a", "/a%2fb"),
        ({"host": "ledger"}, {"host": "ledger:80", "x-user": "bob"}, {"host": "other", "x-user": "eve,bob", "x-b": ""}),
    )
)


@cache
def population(annotations: str) -> tuple[Document, ...]:
    """Every account with a pod, and the server with a Service before its three kinds of port."""
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"weft.dev/inject": "enabled"}}}
        for name in SPACES
    ]
    containers = [{"name": "app", "ports": [{"containerPort": port} for port in PORTS]}]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": space, "name": name, "labels": {"app": name},
                "annotations": json.loads(annotations) if (space, name) == SERVER else {},
            },
            "spec": {"serviceAccountName": name, "containers": containers},
        }
        for space, name in ACCOUNTS
    ]  # fmt: skip
    spec = {"selector": {"app": "ledger"}, "ports": [{"name": name, "port": port} for port, name in PORTS.items()]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "bank", "name": "ledger"}, "spec": spec}
    return (*spaces, *pods, service)


def made(number: int) -> tuple[Mesh, World]:
    documents = (*population(json.dumps(MODES[number % len(MODES)])), *random_rules(number))
    content = "\n---\n".join(map(json.dumps, documents))
    mesh = Builder(MeshSettings()).build(planned(merged([read_manifest("all.yaml", content.encode())], [])))
    return mesh, Translator(TranslateSettings()).translate(mesh, AUTHORITY.bundle)


def calls(caller: Account) -> Iterator[Call]:
    identity = Identity("cluster.local", *caller)
    for port, request in product((8080, 9000), REQUESTS):
        yield Call(identity, port, HttpRequest(request.method, request.path, request.headers))
    for port in (5432, 9000):
        yield Call(identity, port)


def judged(judge: Judge, call: Call) -> bool:
    assert call.caller is not None
    if call.request is None:
        return judge.connects(call.caller.uri, call.port)
    request = Request(call.request.method, call.request.path, call.request.headers)
    return judge.answers(call.caller.uri, call.port, request)


def test_a1_to_a11_a_verdict_is_what_envoy_is_told() -> None:
    answers: dict[bool, int] = {True: 0, False: 0}
    for number in range(WORLDS):
        mesh, world = made(number)
        role = mesh.proxies[PodId(*SERVER)]
        judge = Judge(world.roles[role])
        for call in (call for caller in ACCOUNTS for call in calls(caller)):
            verdict = judge_call(mesh.workloads[role], call)
            assert verdict.allowed is judged(judge, call), (number, call, verdict)
            assert bool(verdict.answer) is not verdict.allowed
            answers[verdict.allowed] += 1
    assert min(answers.values()) > sum(answers.values()) / 10


def test_h3_a_verdict_on_plaintext_goes_by_the_chain_that_plaintext_takes() -> None:
    """Only where mTLS and access are permissive is nobody in particular let in."""
    for number in range(len(MODES)):
        mesh, _ = made(number)
        server = mesh.workloads[mesh.proxies[PodId(*SERVER)]]
        let_in = {port for port in (*PORTS, 1) if judge_call(server, Call(None, port, HttpRequest())).allowed}
        assert let_in == ({9000} if MODES[number].get("weft.dev/mtls") else set())
