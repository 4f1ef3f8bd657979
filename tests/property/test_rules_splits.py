"""Random TrafficSplits: the routes Envoy is sent lead where the written rules say, for requests and for connections.

Where a request goes is worked out twice, from the documents (rules T1 to T10, sentence by sentence) and from Envoy's
route configuration (the first route that matches), with nothing in common but the documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final

from access_rules import Document, match_holds, match_stands
from envoy_judge import Request, header_matches, text_matches
from manifest_world import Understood, understood
from random_rules import random_match
from xds.readable import readable
from xds.resource import EXTENSION, ROUTES

WORLDS: Final = 250
SHOP: Final = Path(__file__).parents[1] / "golden" / "shop.yaml"
SERVICES: Final = {"web": {80, 9000}, "web-v1": {80, 9000}, "web-v2": {80, 9000}, "narrow": {80}}
NARROW: Final = """
apiVersion: v1
kind: Service
metadata: {name: narrow, namespace: shop}
spec: {selector: {version: v2}, ports: [{name: http, port: 80, targetPort: 8081}]}
"""
REQUESTS: Final = tuple(
    Request(method, path, headers)
    for method, path, headers in product(
        ("GET", "PUT"), ("/", "/ab?x=/b", "/b"), ({"host": "ledger"}, {"host": "a:80", "x-user": "bob", "x-b": ""})
    )
)

Shares = Mapping[str, Fraction]
"""Which part goes to which Service; nothing at all: 503, or a closed connection."""


def random_splits(number: int) -> list[Document]:
    """Splits and route groups, the oldest first."""
    rng = Random(number)
    return [_split(rng, name) for name in rng.sample("abcde", rng.randint(1, 3))] + [
        _object("specs", rng.choice(("v1alpha3", "v1alpha4")), "HTTPRouteGroup", name, {"matches": matches})
        for name in "rs"
        if (matches := [random_match(rng) for _ in range(rng.randint(0, 2))])
    ]


def _split(rng: Random, name: str) -> Document:
    root = rng.choice(("web", "web", "web", "web.shop", "web.shop.svc.cluster.local", "web-v1", "web.bank", "gone"))
    backends = rng.choices(("web", "web-v1", "web-v1.shop", "web-v2", "narrow", "gone"), k=rng.randint(0, 3))
    named = [{"service": backend, "weight": rng.choice((0, 1, 2, 500))} for backend in backends]
    spec: Document = {"service": root, "backends": named}
    if rng.random() < 1 / 2:
        groups = rng.choices(("r", "s", "missing"), k=rng.randint(1, 2))
        spec["matches"] = [{"kind": "HTTPRouteGroup", "name": group} for group in groups]
    return _object("split", rng.choice(("v1alpha3", "v1alpha4")), "TrafficSplit", name, spec)


def _object(group: str, version: str, kind: str, name: str, spec: Document) -> Document:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": f"{group}.smi-spec.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def translated(documents: Sequence[Document], folder: Path) -> Understood:
    written = folder / "splits.yaml"
    written.write_text("\n---\n".join([NARROW, *(json.dumps(document) for document in documents)]))
    return understood([SHOP, written])


def by_the_rules(documents: Sequence[Document], root: str, request: Request) -> Shares:
    splits = _on(documents, root)
    for split in splits:  # T9: those with matches first, oldest first
        if any(match_holds(match, request) for match in _matches(documents, split)):  # T8
            return _shares(split, 80)
    plain = [split for split in splits if "matches" not in split["spec"]]
    return _shares(plain[0], 80) if plain else {root: Fraction(1)}  # T9, T12


def connections_by_the_rules(documents: Sequence[Document], root: str) -> Shares | None:
    """The same on TCP port 9000, where `matches` is ignored.

    None where T7 leaves open what is meant: several splits, and a split whose `matches` come to nothing.
    """
    splits = _on(documents, root)
    if len(splits) > 1 or any("matches" in split["spec"] and not _matches(documents, split) for split in splits):
        return None
    return _shares(splits[0], 9000) if splits else {root: Fraction(1)}


def _on(documents: Sequence[Document], root: str) -> list[Document]:
    return [
        document
        for document in documents
        if document["kind"] == "TrafficSplit" and _service(document["spec"]["service"]) == root
    ]


def _service(name: str) -> str | None:
    """T1: the Service of namespace shop that a name means."""
    short, _, rest = name.partition(".")
    return short if rest in {"", "shop", "shop.svc", "shop.svc.cluster.local"} else None


def _matches(documents: Sequence[Document], split: Document) -> list[Document]:
    """What the groups say that the split names, without what nobody can read (T8)."""
    named = {group["name"] for group in split["spec"].get("matches", [])}
    return [
        match
        for document in documents
        if document["kind"] == "HTTPRouteGroup" and document["metadata"]["name"] in named
        for match in document["spec"]["matches"]
        if match_stands(match)
    ]


def _shares(split: Document, port: int) -> Shares:
    weights: dict[str, int] = {}
    for backend in split["spec"]["backends"]:
        service = _service(backend["service"])
        if service and port in SERVICES.get(service, set()):  # T6
            weights[service] = weights.get(service, 0) + backend["weight"]  # T10
    return _parts(weights)  # T2, T3


def _parts(weights: Mapping[str, int]) -> Shares:
    total = sum(weights.values())
    return {service: Fraction(weight, total) for service, weight in weights.items() if weight}


def by_envoy(config: Mapping[str, Any], request: Request) -> Shares:
    (host,) = config["virtual_hosts"]
    assert host["domains"] == ["*"]
    route = next(route for route in host["routes"] if _route_matches(route["match"], request))
    if "direct_response" in route:
        assert route["direct_response"]["status"] == 503
        assert route["name"] in route["direct_response"]["body"]["inline_string"]
        return {}
    return _to(route["route"])


def _route_matches(match: Mapping[str, Any], request: Request) -> bool:
    assert match.keys() <= {"prefix", "safe_regex", "headers"}
    path = request.path.partition("?")[0]
    rest = {"safe_regex": match["safe_regex"]} if "safe_regex" in match else {"prefix": match["prefix"]}
    return text_matches(rest, path) and all(header_matches(header, request) for header in match.get("headers", []))


def _to(action: Mapping[str, Any]) -> Shares:
    if "cluster" in action:
        return {} if action["cluster"] == "refused" else {action["cluster"].split("/")[1]: Fraction(1)}
    return _parts({item["name"].split("/")[1]: item["weight"] for item in action["weighted_clusters"]["clusters"]})


def test_t1_to_t10_requests_and_connections_go_where_the_rules_say(tmp_path: Path) -> None:
    split_up = 0
    for number in range(WORLDS):
        documents = random_splits(number)
        resources = translated(documents, tmp_path).snapshot("shop/storefront").resources
        for root in ("web", "web-v1"):
            config = readable(resources[ROUTES][f"outbound/shop/{root}/80"])
            for request in REQUESTS:
                expected = by_the_rules(documents, root, request)
                assert by_envoy(config, request) == expected, (request, json.dumps(documents, indent=1))
                split_up += len(expected) > 1
            connections = connections_by_the_rules(documents, root)
            if connections is not None:
                proxy = readable(resources[EXTENSION][f"outbound/shop/{root}/9000"])["typed_config"]
                assert _to(proxy) == connections, json.dumps(documents, indent=1)
    assert split_up > WORLDS
