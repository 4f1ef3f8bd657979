"""Random TrafficTargets and routes in every version, mostly sensible and sometimes not; a number stands for each."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any, Final

from access_rules import Account, Document

SPACES: Final = ("bank", "shop")
NAMES: Final = ("ledger", "teller", "guest")
ACCOUNTS: Final = tuple(product(SPACES, NAMES))
SERVER: Final = ("bank", "ledger")
PORTS: Final = (8080, 5432, 9000)

PATHS: Final = ("/a", "/a$", "/[ab]", "", ".*", "/x|/b", "(?i)/A", "(", "/(?=a)", "a)|(b")
HEADERS: Final = ("bob", "^bob$", "", "^eve", "led", ":80$", "[", "(?!x)")
HEADER_NAMES: Final = ("x-user", "X-User", "Host", "host", "x-b", "x-missing")
METHODS: Final = ("GET", "PUT", "POST", "*")
MATCH_NAMES: Final = ("m", "n", "o")
NO_PORTS: Final = ((70000,), (1,))
SOME_PORTS: Final = ((), (8080,), (9000, 5432), (5432,), (9000,))


def random_rules(number: int) -> list[Document]:
    """One set of rules, in any order."""
    rng = Random(number)
    found = [_target(rng, name) for name in "abcd"[: rng.randint(2, 4)]]
    for space, name in product(SPACES, ("r", "s")):
        made = (_group(rng, space, name), _ports(rng, "TCPRoute", space, name), _ports(rng, "UDPRoute", space, name))
        found += [route for route in made if rng.random() < 0.9]
    rng.shuffle(found)
    return found


def _usually(rng: Random, usual: Any, *others: Any) -> Any:
    """One of the others every twelfth time."""
    return rng.choice(others) if rng.random() < 1 / 12 else usual


def _target(rng: Random, name: str) -> Document:
    version, space = rng.choice(("v1alpha1", "v1alpha2", "v1alpha3")), _usually(rng, "bank", "shop")
    destination = _subject(rng, _usually(rng, SERVER, *ACCOUNTS), space)
    if rng.random() < 1 / 8:
        destination["port"] = rng.choice(PORTS)
    sources = [_subject(rng, rng.choice(ACCOUNTS), space) for _ in range(rng.randint(0, 4))]
    rules = [_reference(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3)))]
    body = {"destination": destination, "sources": sources, "specs" if version == "v1alpha1" else "rules": rules}
    return _object("access", version, "TrafficTarget", (space, name), body if version == "v1alpha1" else {"spec": body})


def _subject(rng: Random, account: Account, space: str) -> Document:
    subject = {"kind": _usually(rng, "ServiceAccount", "Group", "Service"), "name": account[1]}
    if account[0] != space or rng.random() < 1 / 2:
        subject["namespace"] = account[0]
    elif rng.random() < 1 / 4:
        subject["namespace"] = ""
    return subject


def _reference(rng: Random) -> Document:
    kind = _usually(rng, rng.choice(("HTTPRouteGroup", "TCPRoute")), "UDPRoute", "GRPCRoute")
    reference = {"kind": kind, "name": _usually(rng, rng.choice("rs"), "missing")}
    if kind == "HTTPRouteGroup" and rng.random() < 1 / 3:
        reference["matches"] = rng.choices((*MATCH_NAMES, "unknown"), k=rng.randint(0, 2))
    return reference


def _group(rng: Random, space: str, name: str) -> Document:
    version, matches = _version(rng), [random_match(rng) for _ in range(rng.choice((0, 1, 2, 2, 3)))]
    body = {"matches": matches} if version in {"v1alpha1", "v1alpha2"} else {"spec": {"matches": matches}}
    return _object("specs", version, "HTTPRouteGroup", (space, name), body)


def random_match(rng: Random) -> Document:
    """One entry of an HTTPRouteGroup, sometimes with a regex that nobody takes."""
    match: Document = {"name": rng.choice(MATCH_NAMES)}
    if rng.random() < 1 / 2:
        match["pathRegex"] = rng.choice(PATHS)
    if rng.random() < 1 / 2:
        match["methods"] = rng.choices(METHODS, k=rng.randint(0, 2))
    if rng.random() < 1 / 2:
        names = {name.lower(): name for name in rng.choices(HEADER_NAMES, k=rng.randint(0, 2))}
        headers = {name: rng.choice(HEADERS) for name in names.values()}
        match["headers"] = [{name: regex} for name, regex in headers.items()] if rng.random() < 1 / 2 else headers
    return match


def _ports(rng: Random, kind: str, space: str, name: str) -> Document:
    version = "v1alpha4" if kind == "UDPRoute" else _version(rng)
    ports = _usually(rng, rng.choice(SOME_PORTS), *NO_PORTS)
    body = {"spec": {"matches": {"ports": list(ports)}}} if version == "v1alpha4" else {}
    return _object("specs", version, kind, (space, name), body)


def _version(rng: Random) -> str:
    return rng.choice(("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"))


def _object(group: str, version: str, kind: str, named: tuple[str, str], body: Document) -> Document:
    metadata = {"namespace": named[0], "name": named[1]}
    return {"apiVersion": f"{group}.smi-spec.io/{version}", "kind": kind, "metadata": metadata, **body}
