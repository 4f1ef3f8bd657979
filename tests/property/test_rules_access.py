"""Random access rules: what Envoy is sent lets in exactly whom the written rules let in.

Documents go through the whole path (decoding, mesh, translation). `access_rules` says from the documents who may do
what, `envoy_judge` from Envoy's resources, and neither knows of the other or of the code between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Final

from access_rules import Account, Document, Rulebook
from envoy_judge import Judge, Request
from fake_authority import FakeAuthority
from local.plan import planned
from mesh.build import Builder
from mesh.model import PodId
from mesh.settings import MeshSettings
from random_rules import ACCOUNTS, SERVER, SPACES, random_rules
from sources.manifest import read_manifest
from sources.merge import merged
from static_bootstrap import Held, refused_by_envoy
from xds.resource import LISTENER
from xds.snapshot import Snapshot, World
from xds.translate.world import TranslateSettings, Translator

WORLDS: Final = 400
AUTHORITY: Final = FakeAuthority()
PORTS: Final = {8080: "http", 5432: "tcp-database", 9000: "anything"}
HTTP_PORTS: Final = (8080, 9000)
TCP_PORTS: Final = (5432, 9000)
REQUESTS: Final = tuple(
    Request(method, path, headers)
    for method, path, headers in product(
        ("GET", "PUT"),
        ("/a", "/ab", "/b?x=/a", "/x/a"),
        ({"host": "ledger"}, {"host": "ledger:80", "x-user": "bob"}, {"host": "other", "x-user": "eve,bob", "x-b": ""}),
    )
)


@cache
def population(permissive: frozenset[str]) -> tuple[Document, ...]:
    """Every account with a pod, and the server with a Service before its three kinds of port."""
    spaces = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": space,
                "labels": {"weft.dev/inject": "enabled"},
                "annotations": {"weft.dev/access": "permissive"} if space in permissive else {},
            },
        }
        for space in SPACES
    ]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": space, "name": name, "labels": {"app": name}},
            "spec": {
                "serviceAccountName": name,
                "containers": [{"name": "app", "ports": [{"containerPort": port} for port in PORTS]}],
            },
        }
        for space, name in ACCOUNTS
    ]
    ports = [{"name": name, "port": port} for port, name in PORTS.items()]
    spec = {"selector": {"app": "ledger"}, "ports": ports}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "bank", "name": "ledger"}, "spec": spec}
    return (*spaces, *pods, service)


def translated(documents: Sequence[Document], permissive: frozenset[str]) -> World:
    content = "\n---\n".join(json.dumps(document) for document in (*population(permissive), *documents))
    resources = planned(merged([read_manifest("all.yaml", content.encode())], []))
    mesh = Builder(MeshSettings()).build(resources)
    return Translator(TranslateSettings()).translate(mesh, AUTHORITY.bundle)


def permissive_in(number: int) -> frozenset[str]:
    """Hardly ever the server's namespace, in which there is little to compare then."""
    return frozenset({29: ["bank"], 28: ["shop"]}.get(number % 30, []))


@cache
def world(number: int) -> World:
    return translated(random_rules(number), permissive_in(number))


def held_by(made: World, account: Account) -> Snapshot:
    return made.roles[made.proxies[PodId(*account)]]


def uri(account: Account, trust_domain: str = "cluster.local") -> str:
    return f"spiffe://{trust_domain}/ns/{account[0]}/sa/{account[1]}"


def connects(book: Rulebook, caller: Account, port: int) -> bool:
    return book.connects(caller, SERVER, port, may_be_http=port in HTTP_PORTS)


def disagreements(book: Rulebook, made: World) -> Iterator[str]:
    judge = Judge(held_by(made, SERVER))
    for caller in ACCOUNTS:
        for port, request in product(HTTP_PORTS, REQUESTS):
            expected = book.answers(caller, SERVER, port, request)
            if judge.answers(uri(caller), port, request) is not expected:
                yield f"{caller} on {port}, {request}: {'refused' if expected else 'let in'}"
        for port in TCP_PORTS:
            expected = connects(book, caller, port)
            if judge.connects(uri(caller), port) is not expected:
                yield f"{caller} connects to {port}: {'refused' if expected else 'let in'}"


def disagree(documents: Sequence[Document], permissive: frozenset[str]) -> bool:
    book = Rulebook(documents, permissive)
    return next(disagreements(book, translated(documents, permissive)), None) is not None


def smallest(documents: Sequence[Document], permissive: frozenset[str]) -> Sequence[Document]:
    """What is left when each document is taken away without which the two still disagree."""
    for document in documents:
        fewer = [other for other in documents if other is not document]
        if disagree(fewer, permissive):
            return smallest(fewer, permissive)
    return documents


def ways_in(book: Rulebook, caller: Account) -> int:
    """In how many of the ways that are tried the caller may call."""
    by_http = (book.answers(caller, SERVER, port, request) for port, request in product(HTTP_PORTS, REQUESTS))
    return sum(by_http) + sum(connects(book, caller, port) for port in TCP_PORTS)


def test_a1_to_a11_f1_to_f5_envoy_lets_in_whom_the_rules_let_in_and_nobody_else() -> None:
    for number in range(WORLDS):
        documents, permissive = random_rules(number), permissive_in(number)
        found = list(disagreements(Rulebook(documents, permissive), world(number)))
        assert found == [], json.dumps(smallest(documents, permissive), indent=1)


def test_a2_nobody_of_another_trust_domain_is_let_in() -> None:
    for number in range(0, WORLDS, 10):
        judge = Judge(held_by(world(number), SERVER))
        for account, trust_domain in product(ACCOUNTS, ("cluster.local.evil", "evil")):
            stranger = uri(account, trust_domain)
            assert not any(judge.answers(stranger, port, request) for port, request in product(HTTP_PORTS, REQUESTS))
            assert not any(judge.connects(stranger, port) for port in TCP_PORTS)


def test_a16_whoever_may_call_in_some_way_is_told_how_to_get_there() -> None:
    way = {f"outbound/bank/ledger/{port}" for port in PORTS} | {f"pod/bank/ledger/{port}" for port in PORTS}
    for number in range(0, WORLDS, 5):
        book = Rulebook(random_rules(number), permissive_in(number))
        for caller in ACCOUNTS:
            if ways_in(book, caller):
                assert way <= held_by(world(number), caller).resources[LISTENER].keys()


def test_f5_the_order_of_the_documents_changes_nothing() -> None:
    for number in range(0, WORLDS, 10):
        documents = random_rules(number)
        again = translated(documents[::-1], permissive_in(number))
        assert held_by(again, SERVER) == held_by(world(number), SERVER)


def test_f6_envoy_accepts_what_random_rules_come_to(tmp_path: Path) -> None:
    secrets = AUTHORITY.secrets(held_by(world(0), SERVER).identity)
    every = [Held(f"world {number}", held_by(world(number), SERVER), secrets) for number in range(0, WORLDS, 3)]
    assert refused_by_envoy(every, tmp_path) == ""


def test_the_rules_let_in_some_and_refuse_some() -> None:
    """A comparison of two that always refuse would show nothing."""
    tried = len(HTTP_PORTS) * len(REQUESTS) + len(TCP_PORTS)
    enforced = [Rulebook(random_rules(number)) for number in range(0, WORLDS, 6)]
    ways = [ways_in(book, caller) for book in enforced for caller in ACCOUNTS]
    assert sum(found > 0 for found in ways) > len(ways) / 5
    assert sum(0 < found < tried for found in ways) > len(ways) / 10
    assert 0 in ways
