"""Documents of the SMI kinds in any version, as hypothesis draws them: what the API server lets through the schemas."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

GROUPS = {
    "TrafficSplit": "split.smi-spec.io",
    "TrafficTarget": "access.smi-spec.io",
    "HTTPRouteGroup": "specs.smi-spec.io",
    "TCPRoute": "specs.smi-spec.io",
}
VERSIONS = {
    "TrafficSplit": ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"),
    "TrafficTarget": ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"),
    "HTTPRouteGroup": ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"),
    "TCPRoute": ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"),
}
OLD = ("v1alpha1", "v1alpha2")

names = st.sampled_from(["a", "b", "web", "web-v2", "api"])
quantities = st.sampled_from([0, 1, 100, "0", "1", "100", "500m", "1e3", "0.5", "2k", "1000m", "7u", "2Ki", "+3"])
whole = st.sampled_from([0, 1, 50, 100, 1000, 2**53])
ports = st.sampled_from([80, 8080, "8080", 65535])


def _maybe(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _reference(kinds: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    matches = st.lists(names, max_size=2)
    return _maybe({"kind": st.sampled_from(kinds), "name": names}, {"matches": matches})


def _split(version: str) -> st.SearchStrategy[dict[str, Any]]:
    weight = quantities if version == "v1alpha1" else whole
    backends = st.lists(st.fixed_dictionaries({"service": names, "weight": weight}), max_size=4)
    group = _maybe({"kind": st.just("HTTPRouteGroup"), "name": names}, {"apiGroup": st.just("specs.smi-spec.io")})
    optional = {} if version in OLD else {"matches": st.lists(group, max_size=2)}
    spec = _maybe({"service": names, "backends": backends}, optional)
    return st.fixed_dictionaries({"spec": spec})


def _target(version: str) -> st.SearchStrategy[dict[str, Any]]:
    who = {"kind": st.sampled_from(["ServiceAccount", "IdentityBinding"]), "name": names}
    port = {"port": ports}
    destination = _maybe(who, {"namespace": names, **port})
    subject = _maybe(who, {"namespace": names, **(port if version in OLD else {})})
    rules = "specs" if version == "v1alpha1" else "rules"
    lists = {
        "sources": st.lists(subject, max_size=3),
        rules: st.lists(_reference(["HTTPRouteGroup", "TCPRoute", "UDPRoute"]), max_size=3),
    }
    body = _maybe({"destination": destination}, lists)
    return body if version == "v1alpha1" else st.fixed_dictionaries({"spec": body})


def _group(version: str) -> st.SearchStrategy[dict[str, Any]]:
    pair = st.dictionaries(st.sampled_from(["host", "X-User"]), st.sampled_from(["a", "^b$"]), min_size=1, max_size=2)
    headers = {} if version == "v1alpha1" else {"headers": st.one_of(pair, st.lists(pair, max_size=2))}
    paths, methods = st.sampled_from(["/", "/api", ".*"]), st.lists(st.sampled_from(["GET", "POST", "*"]), max_size=2)
    match = _maybe({"name": names}, {"pathRegex": paths, "methods": methods, **headers})
    matches = st.lists(match, max_size=3)
    if version in OLD:
        return _maybe({}, {"matches": matches})
    return _maybe({}, {"spec": _maybe({}, {"matches": matches}), "matches": matches})


def _route(version: str) -> st.SearchStrategy[dict[str, Any]]:
    if version in OLD:
        return st.just({})
    if version == "v1alpha3":
        return _maybe({}, {"spec": st.just({})})
    matches = _maybe({}, {"name": names, "ports": st.lists(ports, max_size=3)})
    return _maybe({}, {"spec": _maybe({}, {"matches": matches}), "matches": matches})


_BODIES = {"TrafficSplit": _split, "TrafficTarget": _target, "HTTPRouteGroup": _group, "TCPRoute": _route}


def documents(kind: str, version: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any document of a kind in a version, with or without labels and annotations of its own."""
    texts = st.dictionaries(st.sampled_from(["team", "owner"]), names, min_size=1, max_size=1)
    metadata = _maybe(
        {"name": names, "namespace": st.just("shop"), "uid": st.just("0-1")}, {"annotations": texts, "labels": texts}
    )
    head = {"apiVersion": st.just(f"{GROUPS[kind]}/{version}"), "kind": st.just(kind), "metadata": metadata}
    return _BODIES[kind](version).flatmap(lambda body: st.fixed_dictionaries(head).map(lambda made: {**made, **body}))


def pairs() -> list[tuple[str, str, str]]:
    """Every kind with every two versions of it."""
    return [(kind, old, new) for kind, known in VERSIONS.items() for old in known for new in known if old != new]
